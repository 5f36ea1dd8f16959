"""The table engine: DuckDB in this process, reached through Ibis, spilling to disk beyond its memory limit."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape, glob
from pathlib import Path

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow as pa
from ibis.backends.duckdb import Backend

from crossrec_cli.config.schema import Runtime
from crossrec_cli.errors import ConfigError, InputError

COMPRESSED = (".gz", ".zst")
DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")


@contextmanager
def connect(scratch: Path, runtime: Runtime) -> Iterator[Backend]:
    """A DuckDB for one stage; its temporary files lie in ``scratch``, which is removed afterwards."""
    settings: dict[str, str | int] = {"temp_directory": str(scratch)}
    if runtime.num_threads:
        settings["threads"] = runtime.num_threads
    if runtime.memory_limit:
        settings["memory_limit"] = runtime.memory_limit
    try:
        connection = ibis.duckdb.connect(":memory:", **settings)
    except duckdb.Error as error:
        raise ConfigError([f"runtime: DuckDB does not take it: {_first_line(error)}"]) from None
    connection.raw_sql("SET TimeZone = 'UTC'")  # not this machine's: times without a zone are UTC everywhere
    try:
        yield connection
    except duckdb.OutOfMemoryException:
        limit = f"runtime.memory_limit: {runtime.memory_limit} is too little for these tables"
        raise ConfigError([limit if runtime.memory_limit else "out of memory; set runtime.memory_limit"]) from None
    finally:
        connection.disconnect()
        shutil.rmtree(scratch, ignore_errors=True)


def input_files(pattern: str) -> list[Path]:
    """The files that a path or glob names, sorted.

    Raises:
        InputError: if there is none.
    """
    if Path(pattern).is_file():
        return [Path(pattern)]  # even if its name holds brackets
    files = sorted(Path(name) for name in glob(pattern, recursive=True) if Path(name).is_file())  # noqa: PTH207  Path.glob takes no absolute pattern
    if not files:
        raise InputError(f"{Path(pattern).absolute()}: no such file")
    return files


def read(connection: Backend, pattern: str) -> ir.Table:
    """Files of one form as one table. CSV columns stay text: ``00123`` is an id, not 123.

    Raises:
        InputError: if they cannot be read, or hold no column.
    """
    files = input_files(pattern)
    form = _form(files[0])
    if any(_form(file) != form for file in files):
        raise InputError(f"{pattern}: names files of different forms")
    if empty := next((file for file in files if not file.stat().st_size), None):
        raise InputError(f"{empty}: is empty")
    paths = [escape(str(file)) for file in files]
    try:
        if form == ".parquet":
            return connection.read_parquet(paths, union_by_name=True)
        if form in DELIMITERS:
            return connection.read_csv(paths, all_varchar=True, header=True, delim=DELIMITERS[form])
        return connection.read_json(paths, format="newline_delimited")
    except duckdb.Error as error:
        raise InputError(f"{pattern}: cannot be read: {_first_line(error)}") from None


def materialize(connection: Backend, name: str, table: ir.Table, reading: str) -> ir.Table:
    """Compute a table once and keep it, out of core where it is large.

    Args:
        connection: the engine.
        name: what the table is called inside the engine.
        table: the expression.
        reading: what the user calls the data, for the error.

    Raises:
        InputError: if a file turns out to be unreadable on the way.
    """
    try:
        return connection.create_table(name, table, temp=True)
    except (duckdb.OutOfMemoryException, duckdb.InterruptException):
        raise
    except duckdb.Error as error:
        raise InputError(f"{reading}: cannot be read: {_first_line(error)}") from None


def write(connection: Backend, table: ir.Table, path: Path, schema: pa.Schema) -> None:
    """Stream a table into a Parquet file, in its order, with exactly the schema's columns and types."""
    columns = table.select(*schema.names).cast(ibis.Schema.from_pyarrow(schema))
    connection.to_parquet(columns, path, compression="zstd")


def _form(file: Path) -> str:
    name = file.with_suffix("") if file.suffix in COMPRESSED else file
    if name.suffix in {".parquet", *DELIMITERS, *JSON_LINES}:
        return name.suffix
    known = ", ".join([".parquet", *DELIMITERS, *JSON_LINES])
    raise InputError(f"{file}: unknown kind of file; known are {known}, the text forms also with .gz or .zst")


def _first_line(error: duckdb.Error) -> str:
    return str(error).splitlines()[0]
