"""JSON for other programs. Charts instead refuse values that are no numbers (report/render.py)."""

from __future__ import annotations

import json


def json_text(value: object, indent: int | None = None, ensure_ascii: bool = True) -> str:
    """A value as strict JSON, which has no NaN and no infinity (RFC 8259): undefined figures become null.

    Args:
        value: of dictionaries, lists, texts, numbers and None.
        indent: spaces a level; None: all in one line.
        ensure_ascii: write all other characters as escapes, for any terminal.
    """
    from pydantic_core import to_jsonable_python  # noqa: PLC0415  takes a moment to import, and --help does not need it

    plain = to_jsonable_python(value, inf_nan_mode="null")
    return json.dumps(plain, indent=indent, ensure_ascii=ensure_ascii, allow_nan=False)
