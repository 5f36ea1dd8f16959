"""Small files next to the data: newer events, rules, queries, another system's lists."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.config.schema import Runtime
from crossrec_cli.config.source_fields import Csv, Source
from crossrec_cli.data.ids import as_id
from crossrec_cli.data.raw_files import COMPRESSED, DELIMITERS, EXCEL, JSON_LINES, SOURCE_ROW
from crossrec_cli.errors import InputError

if TYPE_CHECKING:  # Ibis takes a moment to import, which commands without such a file can do without
    import ibis.expr.types as ir

    from crossrec_cli.data.engine import Engine

_KINDS = {"int64": "whole number", "double": "number", "string": "text"}
IDS = (c.USER_ID, c.ITEM_ID)


def read_file(path: Path, key: str, schema: pa.Schema, optional: pa.Schema | None = None) -> pa.Table:
    """Columns of a file, read as in preprocess: ids by ``identifier``, and the cell ``NA`` is a word.

    Args:
        path: the file: Parquet, CSV, TSV, JSON lines or Excel.
        key: the config key or option that names it, for messages.
        schema: the columns and their types; only a nullable one may have empty cells.
        optional: more columns, which may be missing.

    Raises:
        InputError: if it cannot be read, a column is missing, or a cell is empty or of another type.
    """
    from crossrec_cli.data.cells import identifier  # noqa: PLC0415  Ibis

    where = f"{key}: {path}"
    with opened(path, key) as (tables, _, raw):
        schema = pa.schema([*schema, *(field for field in optional or () if field.name in raw.columns)])
        require(raw, schema.names, where)
        columns = {name: identifier(raw[name]) if name in IDS else raw[name] for name in schema.names}
        table = tables.fetch(raw.select(SOURCE_ROW, **columns).order_by(SOURCE_ROW))
    for field in schema:
        if table[field.name].null_count and not field.nullable:
            row = table[field.name].is_null().to_numpy().argmax() + 1
            raise InputError(f"{where}, row {row}: no {field.name}")
    return pa.table({field.name: _cast(table[field.name], field, where) for field in schema}, schema=schema)


@contextmanager
def opened(path: Path, key: str) -> Iterator[tuple[Engine, Source, ir.Table]]:
    """The engine, the file, and its rows as ``Engine.read`` returns them; all ids are checked.

    Raises:
        InputError: if it cannot be read, now or later, or an id is none; the message begins with ``key``.
    """
    from crossrec_cli.data import engine  # noqa: PLC0415  Ibis

    form = path.with_suffix("").suffix if path.suffix in COMPRESSED else path.suffix
    is_known = form in (".parquet", *DELIMITERS, *JSON_LINES) or form.lower() in EXCEL
    source = Source(path=str(path), csv=None if is_known else Csv())
    with tempfile.TemporaryDirectory() as folder:
        try:
            with engine.connect("duckdb", Path(folder) / "scratch", Runtime()) as tables:
                raw = tables.read(source)
                for name in IDS:
                    if name in raw.columns:
                        _check_ids(tables, raw, name, path)
                yield tables, source, raw
        except InputError as error:
            message = str(error)
            raise InputError(message if message.startswith(f"{key}: ") else f"{key}: {message}") from None


def require(raw: ir.Table, names: Iterable[str], where: str) -> None:
    """Check that a file has some columns.

    Raises:
        InputError: if one is missing.
    """
    if missing := next((name for name in names if name not in raw.columns), None):
        names = ", ".join(name for name in raw.columns if name != SOURCE_ROW)
        raise InputError(f"{where}: no column '{missing}'; there is {names}")


def _check_ids(tables: Engine, raw: ir.Table, name: str, path: Path) -> None:
    """Check that each cell is empty or an id: a faulty one must not count as empty, or as another id.

    Raises:
        InputError: for the first faulty cell.
    """
    from crossrec_cli.data.cells import identifier, words  # noqa: PLC0415  Ibis
    from crossrec_cli.data.engine import FILE  # noqa: PLC0415

    column = raw[name]
    if column.type().is_floating():
        exact = 2.0 ** {2: 11, 4: 24, 8: 53}[column.type().nbytes]
        inexact = (column != column.floor()) | (column.abs() >= exact)
        wrong = raw.filter(column.notnull() & ~column.isnan() & inexact)
    elif column.type().is_string():
        wrong = raw.filter(words(column).notnull() & identifier(column).isnull())
    else:
        return
    for row in tables.fetch(wrong.order_by(SOURCE_ROW).limit(1)).to_pylist():
        try:
            why = f"{row[name]!r} is not exactly one whole number; write ids as text or as whole numbers"
            as_id(row[name])
        except ValueError as error:
            why = str(error)
        raise InputError(f"{path}, row {row[SOURCE_ROW] % FILE}: {name} {why}")


def _cast(column: pa.ChunkedArray, field: pa.Field, where: str) -> pa.ChunkedArray:
    try:
        return column.cast(field.type)
    except pa.ArrowInvalid:
        for row, value in enumerate(column):
            try:
                value.cast(field.type)
            except pa.ArrowInvalid:
                problem = f"{field.name} {value.as_py()!r} is no {_KINDS.get(str(field.type), field.type)}"
                raise InputError(f"{where}, row {row + 1}: {problem}") from None
        raise
