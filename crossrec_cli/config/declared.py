"""A config with some of its fields alone: what is not declared cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from crossrec_cli.config.field_types import Section

S = TypeVar("S", bound=Section)


def covers(fields: Sequence[str], key: str) -> bool:
    """Whether a dotted key, with its index where it is in a list, is one of the fields or in one of the sections."""
    return any(key == field or key.startswith((f"{field}.", f"{field}[")) for field in fields)


def only(section: S, fields: Sequence[str], path: str = "") -> S:
    """A copy that has only the named fields; reading another one raises ``AttributeError``.

    Args:
        section: the whole config, or a section of it.
        fields: fields or sections, dotted.
        path: of the section, with a dot behind it; nothing for the whole config.
    """
    kept = section.model_copy()
    for name in type(section).model_fields:
        key, value = f"{path}{name}", getattr(section, name)
        if covers(fields, key):
            continue
        if isinstance(value, Section) and any(field.startswith(f"{key}.") for field in fields):
            kept.__dict__[name] = only(value, fields, f"{key}.")
        else:
            del kept.__dict__[name]
    return kept
