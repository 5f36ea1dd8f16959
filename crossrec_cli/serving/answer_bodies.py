"""What answers hold."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Problem(BaseModel):
    """An error, in one line."""

    detail: str


class Answer(BaseModel):
    """The items of a list or a search, best first."""

    items: list[dict[str, Any]]
    model: str
    """The id of the finetune artifact that computed the answer."""


class Understood(BaseModel):
    """How much of a request is unknown, since it is not in the data."""

    user_id: str | None
    unknown_history: int
    """Number of history items that are not in the data."""
    unknown_tags: int


class ListAnswer(Answer, Understood):
    """A user's list."""

    known: bool
    """Whether the user is in the data."""
    shown_as: str | None
    """The id of the list in the log, for ``/feedback``; null where it is not logged."""


class Taken(BaseModel):
    """The result of adding events."""

    taken: int
    unknown_items: int
    """How many of them have an item that is not in the data; these have no effect."""


class FeedbackTaken(BaseModel):
    """The result of adding feedback."""

    taken: int
    unknown_impressions: int
    """How many name a list that is not in the log; these have no effect."""
    unknown_items: int
    """How many name an item that is not in the list; these have no effect."""


class Health(BaseModel):
    """The model that is served, and its size."""

    model: str
    users: int
    items: int
    events: int
    search: bool


class ReasonAnswer(Understood):
    """Why an item is, or is not, in a user's list, and its reasons as in ``recommendations.parquet``."""

    model_config = ConfigDict(extra="allow")

    item_id: str
    score: float
    place: str
    """Its rank in the list, or what keeps it out."""
    because: str
    model: str
