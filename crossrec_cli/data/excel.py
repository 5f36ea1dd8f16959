"""Excel files as Parquet: the first sheet, whose first row names the columns.

Excel has numbers, times and text, and marks ids as numbers. A column keeps the kind of its cells where they are all of
one; else it is text, in which whole numbers have no decimals and times are ISO 8601.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from crossrec_cli.data.ids import EXACT
from crossrec_cli.data.raw_files import header_names, is_address
from crossrec_cli.errors import InputError, UnavailableError

if TYPE_CHECKING:
    from python_calamine import CalamineSheet

ROWS_TOGETHER = 65_536
WHOLE = pa.int64()
Cell = object
"""A number, a boolean, a time, text, or "" where the cell is empty or holds an error such as #N/A."""


def write_as_parquet(path: str, copy: Path) -> None:
    """Write the first sheet of an Excel file as Parquet; an empty row is a row of nulls, unless it is among the last.

    Raises:
        InputError: if it cannot be read, or has no header.
        UnavailableError: if the package that reads it is missing.
    """
    sheet = _first_sheet(path)
    names = header_names(path, [_as_text(cell) or "" for cell in next(sheet.iter_rows(), ())])
    rows, kinds = 0, [set[pa.DataType]() for _ in names]
    for number, row in enumerate(_rows(sheet), 1):
        for kinds_of_column, cell in zip(kinds, row, strict=True):
            if cell != "":
                kinds_of_column.add(_kind(cell))
                rows = number
    types = [_common(kinds_of_column) for kinds_of_column in kinds]
    schema = pa.schema(zip(names, types, strict=True))
    with pq.ParquetWriter(copy, schema) as writer:
        body = islice(_rows(sheet), rows)
        while part := list(islice(body, ROWS_TOGETHER)):
            columns = zip(*part, strict=True)
            arrays = [pa.array(_converted(cells, kind), kind) for cells, kind in zip(columns, types, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def _first_sheet(path: str) -> CalamineSheet:
    if not find_spec("python_calamine"):
        raise UnavailableError.without("python-calamine", "excel", path)
    from python_calamine import CalamineError, CalamineWorkbook  # noqa: PLC0415

    if is_address(path):
        raise InputError(f"{path}: Excel files are read only from this machine")
    try:
        return CalamineWorkbook.from_path(path).get_sheet_by_index(0)
    except (CalamineError, OSError) as error:
        raise InputError(f"{path}: cannot be read as Excel: {str(error).splitlines()[0]}") from None


def _rows(sheet: CalamineSheet) -> Iterator[Sequence[Cell]]:
    """The rows below the header."""
    return islice(sheet.iter_rows(), 1, None)


def _kind(cell: Cell) -> pa.DataType:
    if isinstance(cell, float):
        return WHOLE if cell.is_integer() and abs(cell) < EXACT else pa.float64()
    return pa.timestamp("us") if isinstance(cell, date) else pa.string()


def _common(kinds: set[pa.DataType]) -> pa.DataType:
    """The type of a column, from those of its cells."""
    if kinds == {WHOLE, pa.float64()}:
        return pa.float64()
    return next(iter(kinds)) if len(kinds) == 1 else pa.string()


def _converted(cells: Iterable[Cell], kind: pa.DataType) -> list[Cell]:
    if pa.types.is_string(kind):
        return [_as_text(cell) for cell in cells]
    days = (datetime.combine(cell, time.min) if type(cell) is date else cell for cell in cells)
    return [None if cell == "" else cell for cell in days]


def _as_text(cell: Cell) -> str | None:
    if isinstance(cell, datetime):
        return cell.isoformat(sep=" ")
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and _kind(cell) == WHOLE:
        return str(int(cell))
    return None if cell == "" else str(cell)
