"""What requests hold."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from crossrec_cli.serving.impression_log import Reward
from crossrec_cli.serving.request_fields import MAX_GIVEN, MAX_LISTED, NUMBER, TEXT, Id, Length, Tag, Time


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
                json_schema_input_type=HistoryItem | TEXT | NUMBER,
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
