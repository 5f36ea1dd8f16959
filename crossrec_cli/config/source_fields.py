"""Config fields of the raw files and their columns: meaning, unit, bound, default."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from crossrec_cli.config.field_types import (
    FilePath,
    Section,
    Template,
    TimeFormat,
)


class InteractionColumns(Section):
    """Which columns of the file mean what."""

    user_id: str
    item_id: str
    timestamp: str | None = None
    order: str | None = None
    """An order within one user and category, where no time is known. Beside a timestamp, with ``split.ties: order``, it
    orders what a user did at one time."""
    event: str | None = None
    quantity: str | None = None
    """How many; below zero it is a return."""
    rating: str | None = None

    @model_validator(mode="after")
    def _some_clock(self) -> InteractionColumns:
        if self.timestamp is None and self.order is None:
            raise ValueError("needs 'timestamp' or 'order'")
        return self

    @property
    def orders_ties(self) -> bool:
        """Whether ``order`` is there for what has the same timestamp alone."""
        return self.timestamp is not None and self.order is not None


class ItemColumns(Section):
    """Which columns of the file mean what."""

    item_id: str
    category: str | None = None
    """A name, a list from wide to narrow, or a path such as ``Food > Fruit`` or ``Food|Fruit``. A shop that has none
    recommends its whole catalogue: ``domains.target.category: "*"``."""
    brand: str | None = None
    price: str | None = None
    language: str | None = None


class UserColumns(Section):
    """Which columns of the file mean what."""

    user_id: str


class Csv(Section):
    """How a text file with delimiters is written, where its name does not say it."""

    delimiter: Annotated[str, Field(min_length=1, max_length=4)] = ","
    quote: Annotated[str, Field(max_length=1)] = '"'
    """Doubled inside a quoted value; empty where quotes mean nothing."""
    encoding: Literal["utf-8", "windows-1252", "latin-1", "utf-16"] = "utf-8"
    names: tuple[str, ...] = ()
    """The columns of a file without a header."""


class Source(Section):
    """Files of one form."""

    path: FilePath
    """Parquet, CSV, TSV, JSON lines or RecBole's atomic files; a glob, a folder of Parquet parts, or an address that
    the engine can read; ``.gz`` and ``.zst`` for the text forms."""
    csv: Csv | None = None


class Event(Section):
    """What one word in the event column is worth."""

    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """How much it counts in a user's interest and in training, beside the others."""
    at_least: float | None = None
    """Ratings below this are left out."""
    returns: bool = False
    """It takes an earlier purchase back."""


class Interactions(Source):
    """Who bought what, when."""

    columns: InteractionColumns
    timestamp_format: TimeFormat | None = None
    """How a time is written, as in strptime: ``%d.%m.%Y %H:%M``. None: ISO 8601, numbers since 1970, and what the
    column as a whole leaves no doubt about."""
    events: dict[str, Event] = Field(default_factory=dict)
    """Words of the event column; those not named are left out. None named: all count 1. Without an event column every
    row is a ``rating`` where there is a rating column, else a ``purchase``."""

    @model_validator(mode="after")
    def _format_is_used(self) -> Interactions:
        if self.timestamp_format is not None and self.columns.timestamp is None:
            raise ValueError("timestamp_format needs columns.timestamp")
        return self

    @model_validator(mode="after")
    def _events_occur(self) -> Interactions:
        only = "rating" if self.columns.rating else "purchase"
        if self.columns.event is None and (unheard := set(self.events) - {only}):
            raise ValueError(
                f"events: without columns.event every row is a {only!r}, so {sorted(unheard)} never occurs"
            )
        if self.columns.rating is None and any(event.at_least is not None for event in self.events.values()):
            raise ValueError("events: at_least needs columns.rating")
        return self


class Items(Source):
    """What is for sale."""

    columns: ItemColumns
    text: Template
    """What the language model reads; ``{column}`` is replaced, and an empty one drops its punctuation."""
    exclude: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Ids of what is no product, such as ``POST`` or ``"TEST*"``, with ``*`` for any characters and ``?`` for one: rows
    with them are left out, of the interactions too."""


class Users(Source):
    """What is known of the users beside their purchases."""

    columns: UserColumns
    tags: tuple[str, ...] = ()
    """Columns whose values say something of the user; each distinct value is one tag."""


class Platform(Section):
    """A shop or app with its own ids."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]
    interactions: Interactions
    items: Items
    users: Users | None = None


class LinkEnd(Section):
    """One side of a mapping table."""

    platform: str
    id: str
    """The column with that platform's id."""


class Links(Source):
    """A mapping table: in each row, the two ids mean the same. Two columns of one platform join its devices."""

    left: LinkEnd
    right: LinkEnd


class ItemMatch(Section):
    """Items of different platforms whose texts share their rare words."""

    propose: Annotated[float, Field(gt=0, le=1)] = 0.6
    """Pairs from this confidence on are written to item_links.parquet."""
    apply: Annotated[float, Field(gt=0, le=1)] | None = None
    """Pairs from this confidence on become one item; null: none does."""
