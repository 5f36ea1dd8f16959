"""Config fields of lists, searches and the server: meaning, unit, bound, default."""

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
    """The least and the highest price of an item, in the currency of the items file."""

    min: Annotated[float, Field(ge=0)] | None = None
    max: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _some_price_fits(self) -> PriceRange:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min:g}) is above max ({self.max:g}): no price fits")
        return self


class Rules(Section):
    """Rules of the shop for its lists. Each is off unless it is set."""

    rebuy_after_days: Annotated[float, Field(gt=0)] | None = None
    """An item that a user bought longer ago than this may be recommended again; days before the newest time in the
    data. With ``exclude_seen`` only, it would never be."""
    in_stock: FilePath | None = None
    """A Parquet or CSV file with ``item_id``, like the other files here. Only its items are recommended."""
    allow: FilePath | None = None
    """The same as ``in_stock``; an item must be in both files."""
    block: FilePath | None = None
    """Items that are never recommended."""
    price: PriceRange = PriceRange()
    """Both ends are included. If either is set, items without a price are not recommended."""
    per_category: Count | None = None
    """At most so many items of a category in a list. The level of the category path is the widest one at which the
    target's items differ."""
    per_brand: Count | None = None
    """At most so many items of a brand in a list."""
    min_score: Annotated[float, Field(ge=0, le=1)] | None = None
    """The least probability of a recommended item."""
    diversity: Annotated[float, Field(ge=0, le=1)] | None = None
    """The weight of an item's text being different from those above it, compared with the user's interest."""
    boosts: FilePath | None = None
    """A file with ``item_id`` and ``factor`` above 0: the odds of these items are multiplied by it for the ranking. The
    score in the list, which ``min_score`` is compared with, stays the probability."""
    new_items: Count | None = None
    """A list has at least so many items that nobody bought in training, as far as there are any."""


class Database(Section):
    """A table of a database that has an ADBC driver."""

    uri: Annotated[str, Field(pattern=r"^[a-z]+://.")]
    """``postgresql://user@host/database``, ``sqlite:///file.db``, or another database's whose driver is installed as
    the package ``adbc-driver-NAME``. Passwords are better left to the driver: ``PGPASSWORD``, ``~/.pgpass``."""
    table: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")] = "recommendations"
    """Its rows are replaced in one transaction. If there is none of this name, it is made."""
    vectors: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,55}$")] | None = None
    """Postgres only: in the same transaction, the users' and the items' vectors go into two tables, this name with
    ``_items`` and with ``_users``, so that SQL ranks. Their columns are of pgvector's types where it is installed."""

    @model_validator(mode="after")
    def _vectors_go_to_postgres(self) -> Database:
        if self.vectors and self.uri.partition("://")[0] not in ("postgres", "postgresql"):
            raise ValueError("vectors needs a postgresql:// uri")
        return self


class Recommend(Section):
    """The users who get lists, and what the lists have."""

    k: Count = 10
    users: OneOrMany = ("all",)
    """``all``, or user ids."""
    events: FilePath | None = None
    """A Parquet or CSV file with ``user_id`` and ``item_id``: what happened since the data were read, oldest first if
    it has no ``timestamp``. It changes the lists at once, and new users in it get lists too. ``event``, ``quantity``
    and ``rating`` count as in the interactions."""
    exclude_seen: bool = True
    exclude_disliked: bool = True
    """Items that the user disliked are not recommended either; see ``events`` of the interactions."""
    also: tuple[Literal["csv", "jsonl"], ...] = ()
    """Write the lists also as CSV or JSON lines, next to Parquet."""
    languages: tuple[Annotated[str, Field(pattern=r"^[a-z]{2,3}$")], ...] = ()
    """Lists hold only items in these languages, such as ``[de, en]``, and items whose language is not known, as it is
    for texts that are too short to tell; empty: all. The language is the items file's, or detected from the text."""
    to: Database | None = None
    """A table that gets the lists after each ``recommend`` and ``run``; needs the extra ``database``."""
    reasons: Annotated[int, Field(ge=0, le=100)] = 0
    """The number of history items named for each entry of a list, those that raise its score most; 0: no reasons. For
    the scorer ``neural`` with a sequence, the history is read again without each of its items, which takes longer than
    ranking; for all others the parts are exact."""
    rules: Rules = Rules()

    @model_validator(mode="after")
    def _rules_fit(self) -> Recommend:
        if self.rules.rebuy_after_days and not self.exclude_seen:
            raise ValueError("rules.rebuy_after_days ends 'exclude_seen: true', so it needs it")
        if (self.rules.new_items or 0) > self.k:
            raise ValueError(
                f"rules.new_items ({self.rules.new_items}) is more than the length of a list, k ({self.k})"
            )
        return self


class Search(Section):
    """Search: text and interest in one ranking."""

    k: Count = 10
    queries: FilePath | None = None
    """A Parquet or CSV file of ``query``, ``item_id`` bought after it, and optionally ``user_id``: the weights of text
    and interest are tuned on it. Training should not have these purchases."""


class Serve(Section):
    """The server: experiments with its lists, and sessions. It changes no artifact."""

    log: FilePath | None = None
    """A directory where ``crossrec serve`` logs every list that it answers ``/recommend`` with, and what ``/feedback``
    says of it; servers may share it. ``crossrec feedback`` writes it as Parquet. At most 1 GiB, of the newest."""
    explore: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The probability that a list is shuffled below its first item; all orders of the others are then equally likely.
    The log has each item's propensity, so that other rankings can be estimated from it."""
    variant: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """What the log calls the lists of this server, for ``crossrec ab``; null: the model's id."""
    session_half_life_minutes: Annotated[float, Field(gt=0)] | None = None
    """After so many minutes an event, stored or in the ``history`` of a request, counts half; null: events count the
    same until newer data have them. Those without a time count as of now. The data's own interactions do not change."""

    @model_validator(mode="after")
    def _exploration_is_logged(self) -> Serve:
        if self.explore and not self.log:
            raise ValueError("explore shuffles lists to learn from them, so it needs 'log', a directory")
        return self
