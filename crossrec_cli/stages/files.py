"""Small files that people hand in beside the data: newer events, another system's lists, what users thought."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from crossrec_cli.errors import InputError

_KINDS = {"int64": "whole number", "double": "number", "string": "text"}


def read_file(path: Path, key: str, schema: pa.Schema, optional: pa.Schema | None = None) -> pa.Table:
    """Columns of a Parquet or CSV file.

    Args:
        path: the file; ``.parquet``, or else CSV with a header.
        key: the config key that names it, for messages.
        schema: which columns, and as what; only a nullable one may be empty in places.
        optional: more columns, which may be missing.

    Raises:
        InputError: if it cannot be read, lacks a column, leaves one empty, or holds what is not of that type.
    """
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path)
        else:
            as_text = pa.csv.ConvertOptions(
                column_types=dict.fromkeys([*schema.names, *(optional or schema).names], pa.string()),
                strings_can_be_null=True,
            )
            table = pa.csv.read_csv(path, convert_options=as_text)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{key}: {path}: cannot be read: {str(error).splitlines()[0]}") from None
    schema = pa.schema([*schema, *(field for field in optional or () if field.name in table.column_names)])
    for field in schema:
        if field.name not in table.column_names:
            there = ", ".join(table.column_names)
            raise InputError(f"{key}: {path}: no column '{field.name}'; there is {there}")
        if table[field.name].null_count and not field.nullable:
            row = table[field.name].is_null().to_numpy().argmax() + 1
            raise InputError(f"{key}: {path}, row {row}: no {field.name}")
    return pa.table({field.name: _cast(table[field.name], field, f"{key}: {path}") for field in schema}, schema=schema)


def _cast(column: pa.ChunkedArray, field: pa.Field, where: str) -> pa.ChunkedArray:
    try:
        return column.cast(field.type)
    except pa.ArrowInvalid:
        for row, value in enumerate(column):
            try:
                value.cast(field.type)
            except pa.ArrowInvalid:
                told = f"{field.name} {value.as_py()!r} is no {_KINDS.get(str(field.type), field.type)}"
                raise InputError(f"{where}, row {row + 1}: {told}") from None
        raise
