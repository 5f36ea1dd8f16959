"""Config fields of the tables and their cleaning: meaning, unit, bound, default."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from crossrec_cli.config.field_types import Count, Moment, Section, at_least_one
from crossrec_cli.config.identity_fields import Identity
from crossrec_cli.config.source_fields import Platform, Source

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
