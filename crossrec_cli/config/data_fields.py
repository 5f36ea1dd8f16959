"""Config fields of tables, cleaning, domains and split: meaning, unit, bound, default."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from crossrec_cli.config.field_types import (
    Count,
    Moment,
    OneOrMany,
    OpenFraction,
    Section,
    at_least_one,
)
from crossrec_cli.config.source_fields import ItemMatch, Links, Platform, Source


class Identity(Section):
    """Which ids of different platforms or devices mean the same person or item."""

    users: tuple[Links, ...] = ()
    items: tuple[Links, ...] = ()
    conflicts: Literal["apart", "merge", "fail"] = "apart"
    """What to do if links would join two ids of one platform, and no table joins ids of that platform: join none of
    them (``apart``), join all of them (``merge``), or stop (``fail``)."""
    match_items: ItemMatch | None = None


DropOrFail = Literal["drop", "fail"]
DropOrKeep = Literal["drop", "keep"]
AnyAction = Literal["drop", "keep", "fail"]


class Clean(Section):
    """What happens to faulty rows and texts. Every rule counts its rows."""

    max_rejected: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Stop if more than this share of a file's rows is unusable: the rules below, from missing_ids to unknown_items."""
    missing_ids: DropOrFail = "drop"
    unreadable: DropOrFail = "drop"
    """Times, quantities and ratings that cannot be read, and times that are missing or too early."""
    earliest: Moment = datetime(1990, 1, 1)
    """An earlier value is no time, but a year, or a small number of another kind."""
    future: AnyAction = "drop"
    latest: Moment | None = None
    """A later time is in the future; null: one day from now."""
    unknown_events: DropOrFail = "drop"
    """Words that ``events`` does not name."""
    unknown_items: DropOrFail = "drop"
    """Interactions with items that are not in the items file."""
    duplicates: DropOrKeep = "drop"
    """Rows with the same user, item, time, event, quantity and rating."""
    near_duplicates: Annotated[int, Field(ge=0, lt=2**31)] = 5
    """Seconds in which the same event on the same item counts as a double click, and is dropped; 0: off."""
    returns: Literal["cancel", "dislike", "drop", "keep"] = "cancel"
    """``cancel``: a user who gave back as many as they bought never bought; ``dislike``: the same, and the return is a
    dislike; ``drop``: only the return is dropped; ``keep``: a return is an interaction like others."""
    bots: Count | None = 1000
    """Users with more interactions than this on one day are removed; null: off."""
    markup: bool = True
    """Remove HTML tags and entities from texts."""
    control_characters: bool = True
    """Remove control characters from texts, and repeated white space."""
    nfkc: bool = True
    """Write texts in Unicode's compatibility form: ﬁ becomes fi; scripts and emoji stay."""
    items_without_text: DropOrKeep = "drop"


class MinInteractions(Section):
    """Users and items with fewer interactions are removed, until all that stay have enough.

    By default every user gets a list, and it can have every item for sale. With ``item`` above 0, items that training
    does not have are removed too: they would be recommended only if somebody buys them later.
    """

    user: Annotated[int, Field(ge=0, lt=2**31)] = 1
    item: Annotated[int, Field(ge=0, lt=2**31)] = 0


class Data(Section):
    """The raw files and how they are cleaned."""

    engine: Literal["duckdb", "spark"] = "duckdb"
    """``duckdb`` runs in this process and spills to disk; ``spark`` is for data that is too large for one machine."""
    platforms: Annotated[tuple[Platform, ...], AfterValidator(at_least_one)]
    identity: Identity = Identity()
    clean: Clean = Clean()
    repeats: Literal["strongest", "first", "last", "sum", "keep"] = "strongest"
    """Which of a user's interactions with one item are kept: the one with the largest weight (the earliest of them),
    the first, the last, the first with the sum of all weights times quantities, or all of them."""
    half_life_days: Annotated[float, Field(gt=0)] | None = None
    """Weights halve for each so many days before the newest interaction; null: off."""
    detect_language: bool = True
    """Detect each item's language from its text, if the items file does not have it."""
    min_interactions: MinInteractions = MinInteractions()

    @model_validator(mode="after")
    def _platforms_agree(self) -> Data:
        names = [platform.name for platform in self.platforms]
        if len(set(names)) < len(names):
            raise ValueError("two platforms have the same name")
        if len({platform.interactions.columns.timestamp is None for platform in self.platforms}) > 1:
            raise ValueError("either every platform has a timestamp or every platform has an order")
        if self.half_life_days and self.platforms[0].interactions.columns.timestamp is None:
            raise ValueError("half_life_days needs interactions with a timestamp, not an order")
        for links in (*self.identity.users, *self.identity.items):
            for end in (links.left, links.right):
                if end.platform not in names:
                    raise ValueError(f"identity names the platform {end.platform!r}; there are {', '.join(names)}")
        return self

    @property
    def sources(self) -> list[Source]:
        """All files that are read."""
        parts = [part for shop in self.platforms for part in (shop.interactions, shop.items, shop.users) if part]
        categories = [Source(path=shop.items.categories) for shop in self.platforms if shop.items.categories]
        return [*parts, *categories, *self.identity.users, *self.identity.items]


class Domain(Section):
    """A set of categories."""

    category: OneOrMany
    """Category names or paths, each with all below it. In the source, ``"*"`` means all items that are not in the
    target, also those without a category. In the target, it means the whole catalogue, and the source is then the
    same items."""


class Domains(Section):
    """The categories to learn from, and the categories to recommend."""

    source: Domain = Domain(category=("*",))
    target: Domain

    @property
    def same(self) -> bool:
        """Whether the target is the whole catalogue, so that source and target are the same items."""
        return "*" in self.target.category

    @model_validator(mode="after")
    def _disjoint(self) -> Domains:
        if self.same:
            if len(self.target.category) > 1 or self.source.category != ("*",):
                raise ValueError(
                    "a target of '*' is the whole catalogue: name no other category, and none in the source"
                )
            return self
        if shared := set(self.source.category) & set(self.target.category):
            raise ValueError(f"{sorted(shared)} is both source and target")
        return self


class Split(Section):
    """What is held out. Nothing at or after a user's held-out interaction is trained on, except with ``given``."""

    strategy: Literal["leave_last_out", "time", "cold_users", "cold_items", "given"] = "leave_last_out"
    """``leave_last_out``: each user's last target interaction is the test, the one before it validation.
    ``time``: target interactions from ``valid_from`` on are validation, from ``test_from`` on test.
    ``cold_users``: all target interactions of a share of the target's users.
    ``cold_items``: all interactions with a share of the target's items.
    ``given``: a column of the interactions decides for each row. If training or validation then has later rows than
    the held-out ones, that is a warning with their number, and no error."""
    column: Annotated[str, Field(min_length=1)] | None = None
    """With ``given``: the column that holds ``train``, ``valid`` (or ``validation``) or ``test``; an empty cell is
    ``train``. Only rows marked train are trained on. A user's target rows marked test are predicted from all rows of
    the user before the first of them, and those marked valid from all rows before the first of those."""
    ties: Literal["strict", "order"] = "strict"
    """Which rows of the same time are history of a held-out purchase. ``strict``: none, and the last item of a basket
    is drawn at random. ``order``: those before it by ``columns.order``, or else in the file."""
    valid_from: Moment | OpenFraction | None = None
    """A date, or the share of all interactions that are before it."""
    test_from: Moment | OpenFraction | None = None
    share: Annotated[float, Field(gt=0, le=0.4)] | None = None
    """The share of the target's users or items for the test; validation gets as many."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """For the choice of cold-start users or items, and for the order of a user's rows of the same time."""

    @model_validator(mode="after")
    def _fields_fit(self) -> Split:
        times, cold = (self.valid_from, self.test_from), self.strategy.startswith("cold")
        if (self.strategy == "given") == (self.column is None):
            raise ValueError("column goes with 'strategy: given', which needs it")
        if self.strategy != "time" and times != (None, None):
            raise ValueError("valid_from and test_from go with 'strategy: time'")
        if cold == (self.share is None):
            raise ValueError("share goes with 'strategy: cold_users' and 'strategy: cold_items', and they need it")
        if self.strategy == "time":
            self._check_times()
        return self

    def _check_times(self) -> None:
        valid, test = self.valid_from, self.test_from
        if valid is None or test is None:
            raise ValueError("'strategy: time' needs valid_from and test_from")
        if isinstance(valid, float) != isinstance(test, float):
            raise ValueError("valid_from and test_from are either both dates or both shares")
        if not valid < test:  # type: ignore[operator]
            raise ValueError("valid_from must be before test_from")
