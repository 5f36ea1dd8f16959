"""Config fields of lists and searches: meaning, unit, bound, default."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from crossrec_cli.config.field_types import (
    Count,
    FilePath,
    OneOrMany,
    Section,
)


class PriceRange(Section):
    """From and up to what an item may cost, in the currency of the items file."""

    min: Annotated[float, Field(ge=0)] | None = None
    max: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _some_price_fits(self) -> PriceRange:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min:g}) is above max ({self.max:g}): no price fits")
        return self


class Rules(Section):
    """What a shop wants of its lists, beyond what users want. All of it is off unless given."""

    rebuy_after_days: Annotated[float, Field(gt=0)] | None = None
    """What a user bought longer ago than this, counted from the newest time in the data, may be shown again, where
    ``exclude_seen`` alone would never show it again."""
    in_stock: FilePath | None = None
    """This and the other files are Parquet or CSV, with ``item_id``. No list holds anything that this one lacks."""
    allow: FilePath | None = None
    """The same: nothing else is recommended."""
    block: FilePath | None = None
    """Items that are never recommended."""
    price: PriceRange = PriceRange()
    """Both ends may be had. Items without a price are left out where either is given: they may cost anything."""
    per_category: Count | None = None
    """At most so many items of a category in a list: of the widest level of the path at which the target's items
    differ, as in a target that is one category the widest of all would end every list there."""
    per_brand: Count | None = None
    """At most so many items of a brand in a list."""
    min_score: Annotated[float, Field(ge=0, le=1)] | None = None
    """The least probability that an item is shown with."""
    diversity: Annotated[float, Field(ge=0, le=1)] | None = None
    """How much it counts that an item's text is unlike those above it, beside how much the user wants it."""
    boosts: FilePath | None = None
    """A file with ``item_id`` and ``factor`` above 0: for the ranking the odds of these items are multiplied by it. The
    score that is shown, and that ``min_score`` is held against, stays the probability."""
    new_items: Count | None = None
    """So many places of a list are kept for items that nobody had in training, if it does not hold as many anyway."""


class Recommend(Section):
    """What is recommended to whom."""

    k: Count = 10
    users: OneOrMany = ("all",)
    """``all``, or user ids."""
    events: FilePath | None = None
    """A Parquet or CSV file with ``user_id`` and ``item_id``: what happened since the data were read, oldest first
    where it has no ``timestamp``. It changes the lists at once, and users in it who were never seen get one too.
    ``event``, ``quantity`` and ``rating`` count as in the interactions."""
    exclude_seen: bool = True
    also: tuple[Literal["csv", "jsonl"], ...] = ()
    """Write the lists as CSV or JSON lines as well, beside Parquet."""
    reasons: Annotated[int, Field(ge=0, le=100)] = 0
    """So many history items are named for each entry of a list, those that carried it; 0: no reasons. What ``neural``
    adds in a sequence is found by reading the history once more without each of its items, which takes longer than
    ranking; all else is exact."""
    rules: Rules = Rules()

    @model_validator(mode="after")
    def _rules_fit(self) -> Recommend:
        if self.rules.rebuy_after_days and not self.exclude_seen:
            raise ValueError("rules.rebuy_after_days says when 'exclude_seen: true' ends; with false it never begins")
        if (self.rules.new_items or 0) > self.k:
            raise ValueError(f"rules.new_items ({self.rules.new_items}) is more than a list has places, k ({self.k})")
        return self


class Search(Section):
    """What a search finds: text and interest in one ranking."""

    k: Count = 10
    queries: FilePath | None = None
    """A Parquet or CSV file of ``query`` and ``item_id``, what was bought after it, and optionally ``user_id``: the
    weights of text and interest are tuned on it. They should be purchases that training does not have."""
