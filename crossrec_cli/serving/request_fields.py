"""Kinds of values in requests: ids, tags, lengths of lists, times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from crossrec_cli.data.ids import as_id

MAX_LISTED = 100
"""Items in a list, and tags in a request."""
MAX_GIVEN = 1_000
"""Events or history items in one request."""

TEXT = Annotated[
    str,
    Field(
        min_length=1,
        max_length=256,
        pattern=r"^[^\x00-\x1f\x7f]*[^\s\ufeff\x00-\x1f\x7f][^\x00-\x1f\x7f]*$",
    ),
]
NUMBER = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""An id may be a text or a number; ``Id`` turns both into the form of the tables."""


def _id(value: Any) -> Any:
    """An id in the form of the tables; JSON's 1 is the id "1"."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    try:
        return as_id(value)
    except ValueError:  # its message has the client's value, which is not sent back
        raise ValueError("not an id: it is empty, not a whole number, or has control characters") from None


Id = Annotated[str, Field(max_length=256), BeforeValidator(_id, json_schema_input_type=TEXT | NUMBER)]
Tag = Annotated[str, Field(min_length=1, max_length=256)]
Length = Annotated[
    int,
    Field(strict=True, ge=1, le=MAX_LISTED),
    BeforeValidator(lambda value: int(value) if isinstance(value, float) and value.is_integer() else value),
]
"""JSON's 5.0 is accepted as a whole number, true is not."""
Time = Annotated[datetime | None, Field(description="When it happened, in UTC unless it has an offset; default: now.")]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def seconds(time: datetime | None) -> float | None:
    """A time in seconds since 1970."""
    if time is None:
        return None
    return ((time if time.tzinfo else time.replace(tzinfo=UTC)) - EPOCH).total_seconds()
