"""What functions read out of cells: a table of cells and readings, evaluated by DuckDB in one query."""

from __future__ import annotations

import functools

import ibis
import pyarrow as pa

from crossrec_cli.data.duck import REWRITTEN

LIST = pa.list_(pa.string())


@functools.cache
def _connection():
    connection = ibis.duckdb.connect()
    connection.raw_sql("SET TimeZone = 'UTC'")
    connection.raw_sql(REWRITTEN)
    return connection


def read(function, cells, kind=None, *more):
    """What a function makes of each cell: ``read(values.number, cells)``."""
    table = ibis.memtable(pa.table({"n": range(len(cells)), "cell": pa.array(cells, kind or pa.string())}))
    found = table.select("n", found=function(table["cell"], *more)).order_by("n")
    return _connection().to_pyarrow(found)["found"].to_pylist()


def check(function, expected, kind=None, *more):
    found = read(function, list(expected), kind, *more)
    assert dict(zip(expected, found, strict=True)) == expected
