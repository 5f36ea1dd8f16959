"""Lists as text: CSV and JSON lines."""

from __future__ import annotations

import io
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from crossrec_cli.runtime.json_text import json_text

CSV: Final = "csv"
JSONL: Final = "jsonl"

FORMULA = r"^[=+\-@\t\r]"
"""Texts that a spreadsheet runs as a formula, unless they are plain numbers (OWASP, CSV injection)."""
NUMBER = r"^[+-]?[0-9.]+$"


def csv_lines(rows: pa.Table, header: bool) -> str:
    """Rows as CSV, text in quotes. Texts that a spreadsheet would run get an apostrophe; list columns are skipped."""
    flat = {
        name: _guarded(rows[name]) if pa.types.is_string(rows[name].type) else rows[name]
        for name in rows.column_names
        if not pa.types.is_list(rows[name].type)
    }
    text = io.BytesIO()
    pyarrow.csv.write_csv(pa.table(flat), text, pyarrow.csv.WriteOptions(include_header=header))
    return text.getvalue().decode()


def json_lines(rows: pa.Table) -> str:
    """Rows as JSON, one a line."""
    return "".join(f"{json_text(row)}\n" for row in rows.to_pylist())


def _guarded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    is_formula = pc.and_(pc.match_substring_regex(column, FORMULA), pc.invert(pc.match_substring_regex(column, NUMBER)))
    return pc.if_else(is_formula, pc.binary_join_element_wise("'", column, ""), column)
