"""The base of all config sections, and types of values."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from string import Formatter
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


class Section(BaseModel):
    """A part of the config: immutable, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _one_or_many(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def at_least_one(value: tuple[Any, ...]) -> tuple[Any, ...]:
    """The entries; there must be at least one."""
    if not value:  # not Field(min_length=1): pydantic would also report a list with one wrong entry as too short
        raise ValueError("needs at least one entry")
    return value


def distinct(value: tuple[Any, ...]) -> tuple[Any, ...]:
    """The entries; none may be there twice."""
    if len(set(value)) < len(value):
        raise ValueError("has an entry twice")
    return value


def _template(value: str) -> str:
    fields = template_fields(value)  # raises ValueError on an unbalanced brace
    if not fields:
        raise ValueError("names no column; write columns in braces, as in '{brand} {title}'")
    literals = [literal for literal, *_ in Formatter().parse(value)]
    plain = "".join(literals) + "".join(f"{{{field}}}" for field in fields)
    if not all(fields) or sorted(plain) != sorted(value):
        raise ValueError("takes only plain column names in braces")
    return value


def template_fields(template: str) -> list[str]:
    """The column names in a text template, in order of appearance."""
    return [field for _, field, _, _ in Formatter().parse(template) if field is not None]


def _moment(value: Any) -> Any:
    """ISO 8601 text, also of a date only, as a time in UTC without a zone, as the tables have it."""
    if not isinstance(value, str):
        return value
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        raise ValueError(f"{value!r} is not a date or time in ISO 8601, such as 2024-05-01") from None


DIRECTIVE = re.compile(r"%(.?)", re.DOTALL)
"""In a time format: the letter after each percent sign."""
DIRECTIVES = "YymdbBaAHIMSfpz%"
"""The directives of ``strptime`` that a time format may have."""


def _time_format(value: str) -> str:
    names = DIRECTIVE.findall(value)
    if unknown := [name for name in names if not name or name not in DIRECTIVES]:
        allowed = " ".join(f"%{name}" for name in DIRECTIVES)
        raise ValueError(f"has %{unknown[0]}; it takes strptime's {allowed}")
    for meaning, letters in (("year", "Yy"), ("month", "mbB"), ("day", "d")):
        if sum(name in letters for name in names) != 1:
            raise ValueError(f"needs the {meaning} once, as {' or '.join(f'%{letter}' for letter in letters)}")
    if twice := next((name for name in names if name != "%" and names.count(name) > 1), None):
        raise ValueError(f"has %{twice} twice")
    if {"H", "I"} <= set(names) or ("I" in names) != ("p" in names):
        raise ValueError("takes either %H or %I with %p")
    return value


OneOrMany = Annotated[
    tuple[str, ...],
    BeforeValidator(_one_or_many, json_schema_input_type=str | tuple[str, ...]),
    AfterValidator(at_least_one),
]
Template = Annotated[str, AfterValidator(_template)]
Moment = Annotated[datetime, BeforeValidator(_moment, json_schema_input_type=str)]
TimeFormat = Annotated[str, AfterValidator(_time_format)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
BaselineName = Literal[
    "popularity",
    "tag_popularity",
    "text",
    "words",
    "text_knn",
    "item_knn",
    "ease_target",
    "ease",
    "ease_weighted",
    "ease_text",
    "ials",
]
BASELINES: tuple[BaselineName, ...] = tuple(name for name in get_args(BaselineName) if name != "ials")
"""The baselines that need no extra."""
ScorerName = Literal["text", "words", "attributes", "popularity", "neighbours", "linear", "neural"]
SCORERS: tuple[ScorerName, ...] = get_args(ScorerName)
FilePath = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]*$")]
