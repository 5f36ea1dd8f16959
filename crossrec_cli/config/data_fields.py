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
    """When links would join two ids of one platform that no table of that platform joins: leave all of them
    unjoined, join them all the same, or stop."""
    match_items: ItemMatch | None = None


DropOrFail = Literal["drop", "fail"]
DropOrKeep = Literal["drop", "keep"]
AnyAction = Literal["drop", "keep", "fail"]


class Clean(Section):
    """What happens to rows and texts that are not as they should be. Every rule counts what it meets."""

    max_rejected: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Stop when more than this share of a file's rows is unusable: the first rules below, down to unknown_items."""
    missing_ids: DropOrFail = "drop"
    unreadable: DropOrFail = "drop"
    """Times, quantities and ratings that are there and cannot be read, and times that are missing or too early."""
    earliest: Moment = datetime(1990, 1, 1)
    """What comes before is no time: a year, or the number by which a spreadsheet knows a day."""
    future: AnyAction = "drop"
    latest: Moment | None = None
    """What comes later is the future; null: a day from now."""
    unknown_events: DropOrFail = "drop"
    """Words that ``events`` does not name."""
    unknown_items: DropOrFail = "drop"
    """Interactions with items that are not in the items file."""
    duplicates: DropOrKeep = "drop"
    """Rows alike in user, item, time, event, quantity and rating."""
    near_duplicates: Annotated[int, Field(ge=0, lt=2**31)] = 5
    """Seconds after an event within which the same one on the same item is dropped as a double click; 0: none."""
    returns: Literal["cancel", "drop", "keep"] = "cancel"
    """``cancel``: who gave back as many as they bought never bought; ``drop``: the return alone goes; ``keep``: a
    return is an interaction like others."""
    bots: Count | None = 1000
    """Users with more interactions than this on some day are left out; null: nobody is a bot."""
    markup: bool = True
    """Take HTML tags and entities out of texts."""
    control_characters: bool = True
    """Take control characters out of texts, and squeeze white space."""
    nfkc: bool = True
    """Write texts in Unicode's compatibility form, so that ﬁ is fi; scripts and emoji stay."""
    items_without_text: DropOrKeep = "drop"


class MinInteractions(Section):
    """Users and items with fewer are left out, repeated until none is left to leave out.

    By default everybody gets a list and everything for sale can be in it. With ``item`` above 0 items that training
    does not have at all go as well, or they could be recommended only if somebody buys them later.
    """

    user: Annotated[int, Field(ge=0, lt=2**31)] = 1
    item: Annotated[int, Field(ge=0, lt=2**31)] = 0


class Data(Section):
    """The raw files and how they are cleaned."""

    engine: Literal["duckdb", "spark"] = "duckdb"
    """``duckdb`` runs in this process and spills to disk; ``spark`` is for data that has outgrown one machine."""
    platforms: Annotated[tuple[Platform, ...], AfterValidator(at_least_one)]
    identity: Identity = Identity()
    clean: Clean = Clean()
    repeats: Literal["strongest", "first", "last", "sum", "keep"] = "strongest"
    """What a user's several interactions with one item become: the one with the largest weight (the earliest of
    them), the first, the last, the first with all weights times quantities added up, or all of them."""
    half_life_days: Annotated[float, Field(gt=0)] | None = None
    """Weights halve with every so many days before the newest interaction; null: they do not."""
    detect_language: bool = True
    """Tell each item's language from its text where the items file does not."""
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
        """Everything that is read."""
        parts = [part for shop in self.platforms for part in (shop.interactions, shop.items, shop.users) if part]
        return [*parts, *self.identity.users, *self.identity.items]


class Domain(Section):
    """A set of categories."""

    category: OneOrMany
    """Category names or paths, each with all below it. In the source ``"*"`` is all that is not in the target, items
    without a category among it; in the target it is the whole catalogue, and then the source is the same items."""


class Domains(Section):
    """The categories that teach, and the categories to recommend."""

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
                    "a target of '*' is the whole catalogue: name no other category, of the source neither"
                )
            return self
        if shared := set(self.source.category) & set(self.target.category):
            raise ValueError(f"{sorted(shared)} is both source and target")
        return self


class Split(Section):
    """What is held out. Nothing at or after a user's held-out interaction trains, unless ``given`` says so."""

    strategy: Literal["leave_last_out", "time", "cold_users", "cold_items", "given"] = "leave_last_out"
    """``leave_last_out``: each user's last target interaction is the test, the one before it validation.
    ``time``: target interactions from ``valid_from`` on are validation, from ``test_from`` on test.
    ``cold_users``: a share of the target's users, whose whole target history is hidden.
    ``cold_items``: a share of the target's items, which nobody buys in training.
    ``given``: a column of the interactions says it of each row. What lets training or validation see what comes later
    is then no error, but a warning with its count."""
    column: Annotated[str, Field(min_length=1)] | None = None
    """With ``given``: the column that holds ``train``, ``valid`` (or ``validation``) or ``test``; an empty cell is
    ``train``. Only rows marked train are trained on. A user's target rows marked test are to be found from everything
    of the user before the first of them, and those marked valid from everything before the first of those."""
    ties: Literal["strict", "order"] = "strict"
    """What of the same time is history of a held-out purchase. ``strict``: nothing, and which item of a basket is the
    last is drawn. ``order``: what comes before it by ``columns.order``, or else in the file."""
    valid_from: Moment | OpenFraction | None = None
    """A date, or the share of all interactions that lies before it."""
    test_from: Moment | OpenFraction | None = None
    share: Annotated[float, Field(gt=0, le=0.4)] | None = None
    """Of the target's users or items: so many for the test, and as many for validation."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Of the choice of cold users or items, and of the order of what somebody did at one time."""

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
