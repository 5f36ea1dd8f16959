"""The engine for one machine: DuckDB in this process, spilling to disk beyond its memory limit."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from itertools import count
from pathlib import Path

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow as pa
from ibis.backends.duckdb import Backend

from crossrec_cli.config.schema import Runtime
from crossrec_cli.data.engine import FILE, SOURCE_ROW, Engine, Files, is_address
from crossrec_cli.errors import ConfigError, InputError

LONGEST_LINE = 2**26
"""Bytes; DuckDB's own bound for CSV is two million."""


@contextmanager
def connect(scratch: Path, runtime: Runtime) -> Iterator[Engine]:
    """A DuckDB in memory; what exceeds its limit lies in ``scratch``."""
    settings: dict[str, str | int] = {"temp_directory": str(scratch)}
    if runtime.num_threads:
        settings["threads"] = runtime.num_threads
    if runtime.memory_limit:
        settings["memory_limit"] = runtime.memory_limit
    try:
        connection = ibis.duckdb.connect(":memory:", **settings)
    except duckdb.Error as error:
        raise ConfigError([f"runtime: DuckDB does not take it: {_cause(error)}"]) from None
    connection.raw_sql("SET TimeZone = 'UTC'")  # not this machine's: times without a zone are UTC everywhere
    try:
        yield DuckEngine(connection)
    except duckdb.OutOfMemoryException:
        limit = f"runtime.memory_limit: {runtime.memory_limit} is too little for these tables"
        raise ConfigError([limit if runtime.memory_limit else "out of memory; set runtime.memory_limit"]) from None
    finally:
        connection.disconnect()
        shutil.rmtree(scratch, ignore_errors=True)


class DuckEngine(Engine):
    """Tables live in memory as far as the limit allows; a database file would be a sixth slower at any limit."""

    def __init__(self, connection: Backend) -> None:
        super().__init__()
        self.connection = connection
        self._names = (f"table_{number}" for number in count())

    def _scan(self, files: Files, offset: int, limit: int | None) -> ir.Table:
        bound = "" if limit is None else f" LIMIT {limit}"
        name = next(self._names)
        try:
            self.connection.raw_sql(f"CREATE VIEW {name} AS {_query(files, offset)}{bound}")
        except duckdb.Error as error:
            raise _unreadable(", ".join(files.paths[:1]), error) from None
        return self.connection.table(name)

    def keep(self, table: ir.Table, reading: str) -> ir.Table:
        """As ``Engine.keep``."""
        name = next(self._names)
        self.connection._run_pre_execute_hooks(table)
        try:
            # Ibis itself would create the table and then insert, in one thread and half as fast.
            self.connection.raw_sql(f"CREATE TABLE {name} AS {self.connection.compile(table)}")
        except (duckdb.OutOfMemoryException, duckdb.InterruptException):
            raise
        except duckdb.Error as error:
            raise _unreadable(reading, error) from None
        return self.connection.table(name)

    def drop(self, table: ir.Table) -> None:
        """As ``Engine.drop``."""
        self.connection.raw_sql(f"DROP TABLE {table.get_name()}")

    def fetch(self, table: ir.Table) -> pa.Table:
        """As ``Engine.fetch``."""
        return self.connection.to_pyarrow(table)

    def write(self, table: ir.Table, path: Path, schema: pa.Schema) -> None:
        """As ``Engine.write``."""
        columns = table.select(*schema.names).cast(ibis.Schema.from_pyarrow(schema))
        self.connection.to_parquet(columns, path, compression="zstd")


def _query(files: Files, offset: int) -> str:
    """Parquet files know their rows' numbers; those of text files are counted on the way, a file at a time."""
    if files.form == "parquet":
        rows = f"{offset} + file_index * {FILE} + file_row_number + 1"
        return (
            f"SELECT *, ({rows})::BIGINT AS {SOURCE_ROW} FROM read_parquet({_list(files.paths)}, union_by_name = true)"
        )
    row = "row_number() OVER ()"
    return " UNION ALL ".join(
        f"SELECT *, ({offset + number * FILE} + {row})::BIGINT AS {SOURCE_ROW} FROM {_reader(files, path)}"
        for number, path in enumerate(files.paths)
    )


def _reader(files: Files, path: str) -> str:
    """The table function that reads a text file; of an address DuckDB finds the columns by itself."""
    columns = "columns = {" + ", ".join(f"{_text(name)}: 'VARCHAR'" for name in files.columns) + "}, "
    if files.form == "json":
        given = columns if files.columns else ""
        return f"read_json({_list([path])}, {given}format = 'newline_delimited', maximum_object_size = {LONGEST_LINE})"
    given = f"{columns}auto_detect = false" if files.columns else "all_varchar = true"
    layout = files.csv
    return (
        f"read_csv({_list([path])}, {given}, header = {files.has_header}, delim = {_text(layout.delimiter)}, "
        f"quote = {_text(layout.quote)}, escape = {_text(layout.quote)}, encoding = {_text(layout.encoding)}, "
        f"max_line_size = {LONGEST_LINE}, strict_mode = true)"
    )


def _list(paths: list[str]) -> str:
    """SQL for the paths, brackets and stars in a file's name taken literally."""
    return "[" + ", ".join(_text(path if is_address(path) else escape(path)) for path in paths) + "]"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _unreadable(reading: str, error: duckdb.Error) -> InputError:
    if "httpfs" in str(error):
        return InputError(
            f'{reading}: DuckDB needs its extension httpfs for this address: run "INSTALL httpfs" in '
            "DuckDB once, on a machine that reaches its extensions"
        )
    return InputError(f"{reading}: cannot be read: {_cause(error)}")


def _cause(error: duckdb.Error) -> str:
    """DuckDB's own words on one line, without the offending line itself, which may be megabytes long."""
    noise = ("Original Line", "Possible", "Candidate", "LINE", "  ")
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith(noise)]
    return ". ".join(lines[:2])[:300]
