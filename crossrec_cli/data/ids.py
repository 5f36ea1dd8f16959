"""``cells.identifier`` for single ids: of the command line, of the config, of requests."""

from __future__ import annotations

from collections.abc import Iterable

import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc

from crossrec_cli.data.cells import CONTROL, FLOAT, SPACE, identifier
from crossrec_cli.data.engine import Engine
from crossrec_cli.errors import InputError

EXACT = 2**53
"""From here on a float64 stands for several whole numbers."""


def as_id(value: str | float) -> str:
    """An id as the tables hold it: without space around it, 1.0 as 1.

    Raises:
        ValueError: if it can be no id, and why.
    """
    if isinstance(value, float):
        if not value.is_integer() or abs(value) >= EXACT:
            raise ValueError(f"{value!r} is not exactly one whole number; write ids as text or as whole numbers")
        value = int(value)
    try:
        text = _stripped(pa.array([str(value)], pa.string()))[0].as_py()
    except UnicodeEncodeError:
        raise ValueError(f"{value!r} is not valid text") from None
    if text is None:
        raise ValueError(f"{value!r} holds control characters" if str(value).strip() else "is empty")
    return str(text)


def as_ids(values: Iterable[str], where: str) -> pa.Array:
    """Several ids.

    Raises:
        InputError: if one can be none; ``where`` says where it stands.
    """
    values = list(values)
    try:
        found = _stripped(pa.array(values, pa.string()))
        if found.null_count:
            as_id(values[found.is_null().index(True).as_py()])
    except UnicodeEncodeError:
        raise InputError(f"{where}: holds what is not valid text") from None
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    return found


def _stripped(texts: pa.Array) -> pa.Array:
    """Without space around them; null where nothing else is there, or control characters are within."""
    stripped = pc.replace_substring_regex(texts, rf"^{SPACE}+|{SPACE}+$", "")
    stripped = pc.replace_substring_regex(stripped, FLOAT, r"\1")
    unusable = pc.or_(pc.equal(stripped, ""), pc.match_substring_regex(stripped, CONTROL))
    return pc.if_else(unusable, pa.scalar(None, pa.string()), stripped)


def joined(engine: Engine, rows: ir.Table, name: str, reading: str) -> int:
    """How many of a column's ids are another's but for the space around them, so that ``identifier`` makes them one.

    Args:
        engine: the engine.
        rows: those of a file.
        name: the column.
        reading: the file, for messages.
    """
    column = rows[name]
    if not column.type().is_string():
        return 0
    both = rows.select(form=column, id=identifier(column))
    padded = engine.keep(both.filter(both["form"] != both["id"]).distinct(), reading)
    count = engine.count(padded)
    if count:
        plain = rows.select(id=column).distinct().semi_join(padded, "id")
        count += engine.count(plain) - engine.count(padded.select("id").distinct())
    engine.drop(padded)
    return count
