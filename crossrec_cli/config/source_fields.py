"""Config fields of the raw files and their columns: meaning, unit, bound, default."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from crossrec_cli.config.field_types import FilePath, Section, Template, TimeFormat


class InteractionColumns(Section):
    """The file's column for each of ours."""

    user_id: str
    item_id: str
    timestamp: str | None = None
    order: str | None = None
    """An order within one user and category, if no time is known. Next to a timestamp, with ``split.ties: order``, it
    orders a user's rows of the same time."""
    event: str | None = None
    quantity: str | None = None
    """The number of pieces; below zero: a return."""
    rating: str | None = None

    @model_validator(mode="after")
    def _some_clock(self) -> InteractionColumns:
        if self.timestamp is None and self.order is None:
            raise ValueError("needs 'timestamp' or 'order'")
        return self

    @property
    def orders_ties(self) -> bool:
        """Whether ``order`` only decides between equal timestamps."""
        return self.timestamp is not None and self.order is not None


class ItemColumns(Section):
    """The file's column for each of ours."""

    item_id: str
    category: str | None = None
    """A name, a list from wide to narrow, or a path such as ``Food > Fruit`` or ``Food|Fruit``. A shop without
    categories recommends its whole catalogue: ``domains.target.category: "*"``."""
    brand: str | None = None
    price: str | None = None
    language: str | None = None


class UserColumns(Section):
    """The file's column for each of ours."""

    user_id: str


class Csv(Section):
    """The format of a text file with delimiters, if the file's name does not give it."""

    delimiter: Annotated[str, Field(min_length=1, max_length=4)] = ","
    quote: Annotated[str, Field(max_length=1)] = '"'
    """Doubled inside a quoted value; empty if quotes have no meaning."""
    encoding: Literal["utf-8", "windows-1252", "latin-1", "utf-16"] = "utf-8"
    names: tuple[str, ...] = ()
    """The columns of a file without a header."""


class Source(Section):
    """Files of one format."""

    path: FilePath
    """Parquet, CSV, TSV, JSON lines, RecBole's atomic files or ``.xlsx`` (its first sheet; needs the extra ``excel``);
    a glob, a folder of Parquet parts, or an address that the engine can read. Text files may be compressed: ``.gz`` and
    ``.zst``."""
    csv: Csv | None = None


class Event(Section):
    """How one word of the event column counts."""

    weight: Annotated[float, Field(ge=-1000, le=1000)] = 1.0
    """How much it counts in a user's history and in training, relative to the others. Below 0: a dislike. The item is
    not recommended to the user again, and what resembles it less; nothing is trained on it."""
    at_least: float | None = None
    """Rows with a lower rating are removed."""
    disliked_up_to: float | None = None
    """Rows with this rating or a lower one are dislikes, with the same weight below 0."""
    returns: bool = False
    """It takes an earlier purchase back."""

    @field_validator("weight")
    @classmethod
    def _counts(cls, weight: float) -> float:
        if not weight:
            raise ValueError("must not be 0; leave the event out, and its rows are removed")
        return weight

    @model_validator(mode="after")
    def _one_meaning(self) -> Event:
        if self.returns and (self.weight < 0 or self.disliked_up_to is not None):
            raise ValueError("returns: data.clean.returns says what a return is; give no weight below 0 with it")
        if self.weight < 0 and self.disliked_up_to is not None:
            raise ValueError("disliked_up_to: all rows are dislikes already, as the weight is below 0")
        return self

    @property
    def dislikes(self) -> bool:
        """Whether its rows can be dislikes."""
        return self.weight < 0 or self.disliked_up_to is not None


class Interactions(Source):
    """The file of interactions: who bought what, and when."""

    columns: InteractionColumns
    timestamp_format: TimeFormat | None = None
    """The format of times, as in strptime: ``%d.%m.%Y %H:%M``. null: ISO 8601, numbers since 1970, and formats that are
    unambiguous for the column as a whole."""
    events: dict[str, Event] = Field(default_factory=dict)
    """Words of the event column; rows with other words are removed. Empty: all rows count 1. Without an event column
    every row is a ``rating`` if there is a rating column, else a ``purchase``."""

    @model_validator(mode="after")
    def _format_is_used(self) -> Interactions:
        if self.timestamp_format is not None and self.columns.timestamp is None:
            raise ValueError("timestamp_format needs columns.timestamp")
        return self

    @model_validator(mode="after")
    def _events_occur(self) -> Interactions:
        only = "rating" if self.columns.rating else "purchase"
        if self.columns.event is None and (unused := set(self.events) - {only}):
            raise ValueError(f"events: without columns.event every row is a {only!r}, so {sorted(unused)} never occurs")
        for name in ("at_least", "disliked_up_to"):
            if self.columns.rating is None and any(getattr(event, name) is not None for event in self.events.values()):
                raise ValueError(f"events: {name} needs columns.rating")
        return self


class Items(Source):
    """The file of items."""

    columns: ItemColumns
    text: Template
    """The text for the language model; ``{column}`` is replaced. An empty one is removed with the punctuation after
    it."""
    categories: FilePath | None = None
    """A file with ``item_id`` and ``category``, instead of a column of this file: ``crossrec init --categories`` writes
    one. An item that is not in it has no category."""
    exclude: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Ids that are no products, such as ``POST`` or ``"TEST*"``, with ``*`` for any characters and ``?`` for one. Rows
    with them are removed, also from the interactions."""

    @model_validator(mode="after")
    def _one_source_of_categories(self) -> Items:
        if self.categories is not None and self.columns.category is not None:
            raise ValueError("either 'categories' or 'columns.category', not both")
        return self

    @property
    def has_categories(self) -> bool:
        """Whether items have categories."""
        return self.categories is not None or self.columns.category is not None


class Users(Source):
    """The file of users."""

    columns: UserColumns
    tags: tuple[str, ...] = ()
    """Columns that describe the user; each distinct value is one tag."""


class Platform(Section):
    """A shop or app with its own ids."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]
    interactions: Interactions
    items: Items
    users: Users | None = None
