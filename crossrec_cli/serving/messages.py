"""What requests and answers hold."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from crossrec_cli.data.ids import as_id
from crossrec_cli.serving.impression_log import Reward

MAX_LISTED = 100
"""Items in a list, and tags in a request."""
MAX_GIVEN = 1_000
"""Events or history items in one request."""

_TEXT = Annotated[
    str,
    Field(
        min_length=1,
        max_length=256,
        pattern=r"^[^\x00-\x1f\x7f]*[^\s\ufeff\x00-\x1f\x7f][^\x00-\x1f\x7f]*$",
    ),
]
_NUMBER = Annotated[int, Field(ge=-(2**63), lt=2**63)]


def _id(value: Any) -> Any:
    """An id in the form of the tables; JSON's 1 is the id "1"."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    try:
        return as_id(value)
    except ValueError:  # its message has the client's value, which is not sent back
        raise ValueError("not an id: it is empty, not a whole number, or has control characters") from None


Id = Annotated[str, Field(max_length=256), BeforeValidator(_id, json_schema_input_type=_TEXT | _NUMBER)]
Tag = Annotated[str, Field(min_length=1, max_length=256)]
Length = Annotated[
    int,
    Field(strict=True, ge=1, le=MAX_LISTED),
    BeforeValidator(lambda value: int(value) if isinstance(value, float) and value.is_integer() else value),
]
"""JSON's 5.0 is accepted as a whole number, true is not."""
Time = Annotated[datetime | None, Field(description="When it happened, in UTC unless it has an offset; default: now.")]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Body(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(extra="forbid")


class NewEvent(Body):
    """An interaction of a user with an item."""

    user_id: Id
    item_id: Id
    timestamp: Time = None
    disliked: Annotated[bool, Field(strict=True, description="It speaks against the item, as 'not interested'.")] = (
        False
    )


class NewEvents(Body):
    """New interactions, oldest first."""

    events: list[NewEvent] = Field(max_length=MAX_GIVEN)


class HistoryItem(Body):
    """An item of a history with its time; its id alone does as well."""

    item_id: Id
    timestamp: Time = None


class User(Body):
    """A user. Without an id, or with one that is not in the data, only history and tags describe the user."""

    user_id: Id | None = Field(default=None, description="Without it the user is anonymous.")
    history: list[
        Annotated[
            HistoryItem,
            BeforeValidator(
                lambda value: value if isinstance(value, dict | HistoryItem) else {"item_id": value},
                json_schema_input_type=HistoryItem | _TEXT | _NUMBER,
            ),
        ]
    ] = Field(default=[], max_length=MAX_GIVEN, description="Further items, oldest first; they are not stored.")
    tags: list[Tag] = Field(default=[], max_length=MAX_LISTED, description="Tags of a user who is not in the data.")


class ListQuery(User):
    """The request for a list."""

    k: Length | None = Field(default=None, description="How many items; default: recommend.k.")


class ReasonQuery(User):
    """The request to explain why an item is, or is not, in a list."""

    item_id: Id


class ItemQuery(Body):
    """The request for similar items."""

    item_id: Id
    k: Length | None = Field(default=None, description="How many items; default: recommend.k.")


class NewReward(Body):
    """What a user did with an item of a list."""

    impression: Annotated[str, Field(min_length=1, max_length=64, description="``shown_as`` of the list.")]
    item_id: Id
    kind: Reward


class NewFeedback(Body):
    """What users did with items of lists."""

    feedback: list[NewReward] = Field(max_length=MAX_GIVEN)


class Query(Body):
    """A product search."""

    query: Annotated[str, Field(min_length=1, max_length=1_000)]
    user_id: Id | None = None
    k: Length | None = Field(default=None, description="How many items; default: search.k.")


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


def seconds(time: datetime | None) -> float | None:
    """A time in seconds since 1970."""
    if time is None:
        return None
    return ((time if time.tzinfo else time.replace(tzinfo=UTC)) - EPOCH).total_seconds()
