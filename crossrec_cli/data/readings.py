"""How a file's ids, numbers and times are written. All cells of a column are read by the same rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import ibis
import ibis.expr.types as ir

from crossrec_cli.data.cells import (
    EXCEL_DAYS,
    ISO,
    decimal_comma,
    decimal_evidence,
    exact_bits,
    identifier,
    inexact,
    iso_moment,
    moment,
    number,
)
from crossrec_cli.data.engine import Engine
from crossrec_cli.data.ledger import Ledger
from crossrec_cli.data.raw_files import EXCEL
from crossrec_cli.data.times import CLEAR, DAY_FIRST, MONTH_FIRST, shape_of
from crossrec_cli.errors import InputError

SURE = 0.9
"""The share of a column's numbers that must be days of Excel for them to be read as such."""
Read = Callable[[ir.Column], ir.Value]
Kind = Literal["id", "number", "time"]


@dataclass(frozen=True)
class Origin:
    """The table of some columns, for messages."""

    label: str
    """Platform and table, such as ``shop items``."""
    path: str
    key: str
    """The config key of the table."""
    time_format: str | None = None


@dataclass(frozen=True)
class Reading:
    """How to read a column."""

    read: Read
    name: str = ""
    """What was chosen, if there was a choice."""


def read_cells(
    engine: Engine, rows: ir.Table, names: Mapping[str, str], kinds: Mapping[str, Kind], origin: Origin, ledger: Ledger
) -> dict[str, ir.Value]:
    """Expressions that read a table's columns. One query over all cells decides how.

    Args:
        engine: the engine.
        rows: the file's rows.
        names: the file's column for each of ours.
        kinds: the type of each of ours; those without a column are skipped.
        origin: the table, for messages.
        ledger: records what was chosen if there was a choice.

    Returns:
        An expression over ``rows`` for each of ours that has a column.

    Raises:
        InputError: if ids are floats that are not exactly integers, or times are ambiguous.
    """
    cells = {ours: rows[names[ours]] for ours in kinds if ours in names}
    queries = {ours: _evidence(column, kinds[ours], origin) for ours, column in cells.items()}
    named = {f"{ours} {name}": value for ours, query in queries.items() for name, value in query.items()}
    seen = engine.fetch(rows.aggregate(**named)).to_pylist()[0] if named else {}
    read = {}
    for ours, column in cells.items():
        facts = {name: seen[f"{ours} {name}"] for name in queries[ours]}
        reading = _READINGS[kinds[ours]](column, facts, origin)
        chosen = (origin.label, ours, reading.name)
        if reading.name and chosen not in ledger.readings:  # order lines are read a second time for their items
            ledger.readings.append(chosen)
        read[ours] = reading.read(column)
    return read


def _evidence(cells: ir.Column, kind: Kind, origin: Origin) -> dict[str, ir.Scalar]:
    """Aggregates over all cells that decide how to read them."""
    if kind == "id" and cells.type().is_floating():
        return {"inexact": cells.min(where=inexact(cells))}
    if kind == "number" and cells.type().is_string():
        return decimal_evidence(cells)
    if kind != "time" or origin.time_format is not None:
        return {}
    if cells.type().is_numeric():
        return _excel_evidence(cells)
    if cells.type().is_string():
        over_12, rest = r"(1[3-9]|2\d|3[01])", r"[/-]\d{4}\b"
        tests = {
            "day_first": rf"^\s*{over_12}[/-]\d{{1,2}}{rest}",
            "month_first": rf"^\s*\d{{1,2}}[/-]{over_12}{rest}",
            "either": rf"^\s*\d{{1,2}}[/-]\d{{1,2}}{rest}",
        }
        found = {name: cells.min(where=cells.re_search(pattern)) for name, pattern in tests.items()}
        iso = cells.re_search(ISO)
        return found | _excel_evidence(cells) | {"other": (~iso).any(), "iso": iso.any()}
    return {}


def _excel_evidence(column: ir.Column) -> dict[str, ir.IntegerScalar]:
    """How many cells are numbers, and how many of these are in ``EXCEL_DAYS``."""
    value = column
    if column.type().is_string():
        value = column.re_search(r"^\s*\d+([.,]\d+)?\s*$").ifelse(column.replace(",", "."), ibis.null("string"))
    value = value.try_cast("float64")
    return {"numbers": value.count(), "excel_days": value.between(*EXCEL_DAYS).sum()}


def _id(column: ir.Column, facts: dict[str, Any], origin: Origin) -> Reading:
    if (value := facts.get("inexact")) is not None:
        raise InputError(
            f"{origin.path}: column '{column.get_name()}' of {origin.key} has the float {value!r}; as an id a float "
            f"must be a whole number below 2^{exact_bits(column)}, or different ids become equal: write ids as text or "
            "as int64"
        )
    return Reading(identifier)


def _number(column: ir.Column, facts: dict[str, Any], origin: Origin) -> Reading:
    if not facts:
        return Reading(number)
    counts = {name: count or 0 for name, count in facts.items()}
    comma = decimal_comma(**counts)
    chosen = "decimal comma" if comma else "decimal point"
    return Reading(partial(number, comma=comma), chosen if comma or counts["point"] or counts["either_point"] else "")


def _time(column: ir.Column, facts: dict[str, Any], origin: Origin) -> Reading:
    if origin.time_format is not None:
        return Reading(partial(moment, shapes=[shape_of(origin.time_format)], only=True), origin.time_format)
    excel_days = facts.get("excel_days") or 0
    as_days = excel_days > 0 and excel_days >= SURE * facts["numbers"]
    read, name = (partial(moment, excel_days=True), "Excel's days") if as_days else (moment, "")
    if facts.get("either") is None:
        return Reading(read if facts.get("other", True) else iso_moment, name)
    if facts["iso"] and Path(origin.path).suffix.lower() in EXCEL:
        raise InputError(
            f"{origin.path}: column '{column.get_name()}' holds dates, and the text '{facts['either']}': Excel may "
            "have read the day of the others as their month; import it into Excel as text, or with its date format"
        )
    day, month = facts["day_first"], facts["month_first"]
    if (day is None) == (month is None):
        why = (
            f"'{facts['either']}', and no value shows whether the day or the month comes first"
            if day is None
            else f"'{day}', where the day comes first, and '{month}', where the month does"
        )
        advice = f"set {origin.key}.timestamp_format to {_either_format(facts['either'])}"
        raise InputError(f"{origin.path}: column '{column.get_name()}' holds {why}; {advice}")
    first = MONTH_FIRST if day is None else DAY_FIRST
    return Reading(partial(read, shapes=[*CLEAR, first]), name or ("month first" if day is None else "day first"))


def _either_format(value: str) -> str:
    """The two formats of a date such as 01/02/2024 14:05, for a message."""
    date = "%d-%m-%Y" if "-" in value else "%d/%m/%Y"
    clock = {0: "", 1: " %H:%M"}.get(value.count(":"), " %H:%M:%S")
    if clock and value.rstrip()[-1] in "mM":
        clock = f"{clock.replace('H', 'I')} %p"
    return (
        f"'{date}{clock}' if the day comes first, '{date[3:5]}{date[2]}{date[:2]}{date[5:]}{clock}' if the month does"
    )


def set_format(origin: Origin) -> str:
    """Advice about times that cannot be read."""
    return f"set {origin.key}.timestamp_format to its format, such as '%d.%m.%Y %H:%M'"


_READINGS = {"id": _id, "number": _number, "time": _time}
