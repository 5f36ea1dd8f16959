"""The engine for one machine: DuckDB in this process, spilling to disk beyond its memory limit."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from glob import escape
from itertools import chain, count
from pathlib import Path
from typing import Any

import duckdb
import ibis
import ibis.expr.datatypes as dt
import ibis.expr.operations as ops
import ibis.expr.types as ir
import pyarrow as pa
from ibis.backends.duckdb import Backend

from crossrec_cli.config.schema import Runtime
from crossrec_cli.data.engine import FILE, Engine
from crossrec_cli.data.raw_files import (
    BROKEN,
    SOURCE_ROW,
    RawFiles,
    check_names,
    header_names,
    is_address,
    open_text,
    other_encoding,
    same_header,
)
from crossrec_cli.errors import ConfigError, InputError

LONGEST_LINE = 2**26
"""Bytes; DuckDB's own bound for CSV is two million."""

COPIED_AT_ONCE = 2**20
"""Characters."""
REWRITTEN = r"CREATE MACRO rewritten(text, pattern, form) AS regexp_replace(text, pattern, replace(form, '$', '\'))"
"""DuckDB writes groups as \\1, Spark as $1."""


@contextmanager
def connect(scratch: Path, runtime: Runtime) -> Iterator[Engine]:
    """A DuckDB in memory; it spills to ``scratch`` beyond its limit."""
    settings: dict[str, str | int] = {"temp_directory": str(scratch)}
    if runtime.num_threads:
        settings["threads"] = runtime.num_threads
    if runtime.memory_limit:
        settings["memory_limit"] = runtime.memory_limit
    try:
        connection = ibis.duckdb.connect(":memory:", **settings)
    except duckdb.Error as error:
        raise ConfigError([f"runtime: DuckDB does not accept it: {_cause(error)}"]) from None
    connection.raw_sql("SET TimeZone = 'UTC'")  # not this machine's: times without a zone are UTC everywhere
    connection.raw_sql(REWRITTEN)
    try:
        yield DuckEngine(connection, scratch)
    except duckdb.OutOfMemoryException:
        limit = f"runtime.memory_limit: {runtime.memory_limit} is too little for these tables"
        raise ConfigError([limit if runtime.memory_limit else "out of memory; set runtime.memory_limit"]) from None
    finally:
        connection.disconnect()
        shutil.rmtree(scratch, ignore_errors=True)


class DuckEngine(Engine):
    """Tables are in memory up to the limit; a database file would be a sixth slower at any limit."""

    def __init__(self, connection: Backend, scratch: Path) -> None:
        super().__init__(scratch)
        self.connection = connection
        self._names = (f"table_{number}" for number in count())
        self._views: dict[str, str] = {}
        """Name and path of the views, which read their file each time."""
        self._sizes: dict[str, int] = {}
        """How many rows each kept table has."""

    def _scan(self, files: RawFiles, offset: int, limit: int | None) -> ir.Table:
        bound = "" if limit is None else f" LIMIT {limit}"
        name = next(self._names)
        self._views[name] = files.folder or files.paths[0]
        if files.form == "csv" and files.csv.encoding == "windows-1252":
            files = self._in_utf_8(files, name)
        try:
            self.connection.raw_sql(f"CREATE VIEW {name} AS {_query(files, offset)}{bound}")
        except duckdb.Error as error:
            raise self._explained(error, name) from None
        table = self._table(name)
        if files.form == "parquet":
            _check_names(files.paths[0], table.columns)
        return table

    def _resolve(self, files: RawFiles) -> RawFiles:
        """As ``Engine._resolve``: addresses with stars become files, and DuckDB looks up the columns of text forms."""
        if not is_address(files.paths[0]):
            return files
        address = files.paths[0]
        try:
            files_found = self.connection.raw_sql(f"SELECT file FROM glob({_text(address)}) ORDER BY file").fetchall()
            paths = [path for (path,) in files_found]
            headers = [] if files.form == "parquet" or files.columns else [self._columns(files, path) for path in paths]
        except duckdb.Error as error:
            raise self._explained(error, "", address) from None
        if not paths:
            raise InputError(f"{address}: no such file")
        if not headers:
            return replace(files, paths=paths)
        if files.form == "json":
            return replace(files, paths=paths, columns=check_names(address, list(dict.fromkeys(chain(*headers)))))
        headers = [header_names(path, header) for path, header in zip(paths, headers, strict=True)]
        return replace(files, paths=paths, columns=same_header(paths, headers))

    def _in_utf_8(self, files: RawFiles, name: str) -> RawFiles:
        """Copies of files in an encoding that DuckDB does not know without an extension."""
        self._scratch.mkdir(parents=True, exist_ok=True)
        copies = []
        for number, path in enumerate(files.paths):
            if is_address(path):
                raise InputError(f"{path}: DuckDB reads {files.csv.encoding} only from files on this machine")
            copy = self._scratch / f"{name}_{number}.csv"
            try:
                with (
                    open_text(path, files.csv.encoding) as text,
                    copy.open("w", encoding="utf-8", newline="") as written,
                ):
                    shutil.copyfileobj(text, written, COPIED_AT_ONCE)
            except UnicodeError as error:
                raise InputError(f"{path}: is not windows-1252: {error}; {other_encoding('windows-1252')}") from None
            except BROKEN as error:
                raise InputError(f"{path}: cannot be read: {error}") from None
            copies.append(str(copy))
        return replace(files, paths=copies, csv=files.csv.model_copy(update={"encoding": "utf-8"}))

    def _columns(self, files: RawFiles, path: str) -> list[str]:
        return [name for name, *_ in self.connection.raw_sql(f"DESCRIBE FROM {_reader(files, path)}").fetchall()]

    def _explained(self, error: duckdb.Error, query: str, what: str = "") -> Exception:
        """DuckDB's error as an InputError: about the file in its message, else about the files that the query reads.

        Errors that are faults of crossrec itself are returned unchanged.
        """
        if isinstance(error, duckdb.OutOfMemoryException | duckdb.InterruptException):
            return error
        named = max((path for path in self.read_files if path in str(error)), key=len, default="")
        views = [path for name, path in self._views.items() if re.search(rf"\b{name}\b", query)]
        where = named or ", ".join(views) or what
        return _unreadable(where, error) if where else error

    def keep(self, table: ir.Table, reading: str) -> ir.Table:
        """As ``Engine.keep``."""
        name = next(self._names)
        # Ibis itself would create the table and then insert, in one thread, which takes twice as long.
        ((self._sizes[name],),) = self._answer(f"CREATE TABLE {name} AS", table, reading=reading)
        self._kept.add(name)
        return self._table(name)

    def _answer(self, before: str, table: ir.Table, after: str = "", reading: str = "") -> list[tuple[Any, ...]]:
        """What DuckDB answers to a statement: a table's SQL, and what stands before and after it."""
        query = self._compiled(table)
        try:
            rows: list[tuple[Any, ...]] = self.connection.con.execute(f"{before} {query} {after}").fetchall()
        except duckdb.Error as error:
            raise self._explained(error, query, reading) from None
        return rows

    def _compiled(self, table: ir.Table) -> str:
        """A table's SQL. The functions and tables of this process that it uses are registered."""
        if table.op().find((ops.ScalarUDF, ops.InMemoryTable)):  # seldom; Ibis would search four times
            self.connection._run_pre_execute_hooks(table)
        query: str = self.connection.compile(table)
        return query

    def _table(self, name: str) -> ir.Table:
        """As Ibis's own ``table``, which would ask DuckDB for the types by a query."""
        found = self.connection.con.table(name)
        types = {column: _type(str(kind)) for column, kind in zip(found.columns, found.types, strict=True)}
        return ops.DatabaseTable(name, ibis.schema(types), self.connection).to_expr()

    def count(self, table: ir.Table) -> int:
        """As ``Engine.count``; DuckDB said it when the table was kept."""
        size = self._sizes.get(table.op().name) if isinstance(table.op(), ops.DatabaseTable) else None
        if size is None:
            ((size,),) = self._answer("SELECT count(*) FROM (", table, ")")
        return size

    def _drop(self, name: str) -> None:
        self.connection.raw_sql(f"DROP TABLE {name}")

    def fetch(self, table: ir.Table) -> pa.Table:
        """As ``Engine.fetch``."""
        query = self._compiled(table)
        try:
            return self.connection.con.sql(query).to_arrow_table().cast(table.schema().to_pyarrow())
        except duckdb.Error as error:
            raise self._explained(error, query) from None

    def write(self, table: ir.Table, path: Path, schema: pa.Schema) -> None:
        """As ``Engine.write``."""
        columns = table.select(*schema.names).cast(ibis.Schema.from_pyarrow(schema))
        self._answer(
            "COPY (", columns, f") TO {_text(str(path))} (FORMAT parquet, COMPRESSION zstd, PARQUET_VERSION v2)"
        )


@cache
def _type(name: str) -> dt.DataType:
    """Ibis's type for DuckDB's."""
    return Backend.compiler.type_mapper.from_string(name)


def _query(files: RawFiles, offset: int) -> str:
    """Parquet files have row numbers; the rows of text files are counted while reading, a file at a time."""
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


def _reader(files: RawFiles, path: str) -> str:
    """The table function that reads a text file."""
    columns = "columns = {" + ", ".join(f"{_text(name)}: 'VARCHAR'" for name in files.columns) + "}, "
    if files.form == "json":
        given = f"{columns}records = true" if files.columns else "auto_detect = true"
        return (
            f"read_json({_list([path])}, {given}, format = 'newline_delimited', maximum_object_size = {LONGEST_LINE})"
        )
    given = f"{columns}auto_detect = false" if files.columns else "all_varchar = true"
    layout = files.csv
    return (
        f"read_csv({_list([path])}, {given}, header = {files.has_header}, delim = {_text(layout.delimiter)}, "
        f"quote = {_text(layout.quote)}, escape = {_text(layout.quote)}, encoding = {_text(layout.encoding)}, "
        f"max_line_size = {LONGEST_LINE}, strict_mode = true)"
    )


def _check_names(path: str, names: Sequence[str]) -> None:
    """A Parquet file's columns must not have the names that DuckDB uses for row numbers."""
    check_names(path, names[:-1])
    if taken := {name.lower() for name in names[:-1]} & {"file_row_number", "file_index"}:
        raise InputError(f"{path}: has a column '{min(taken)}', a name that DuckDB needs for itself; rename it")


def _list(paths: list[str]) -> str:
    """SQL for the paths; brackets and stars in a file's name are escaped."""
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
    """DuckDB's message on one line, without its advice and the faulty line, which may be megabytes long."""
    message = str(error).partition("\n\nLINE ")[0].strip()
    if line := re.match(r".*CSV Error on Line: (\d+)\n", message):
        lines = [one.strip() for one in message.rpartition("\n  file = ")[0].splitlines()]
        why = next((one for one in reversed(lines) if one and not one.startswith(("Possible ", "* "))), "")
        quotes = "; if quotes have no meaning there, set csv.quote to ''" if "quote" in why else ""
        encoding = f"; {other_encoding('utf-8' if 'utf-8' in why else '')}" if "encoded" in why else ""
        return f"line {line[1]}: {why[:300].rstrip('.')}{quotes}{encoding}"
    if "state machine" in message:
        return "its lines end in different ways or inside a cell, or a quote is neither closed nor doubled"
    message = re.sub(r" in file \".*?\"|^[A-Za-z ]+ Error: |\s*Try .*", "", message.splitlines()[0] if message else "")
    return re.sub(r"at byte \d+ in line", "near line", message)[:300]  # DuckDB's number is one too high there
