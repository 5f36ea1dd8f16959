"""The interface of the table engines.

All table work is written once, as Ibis expressions. ``duck.py`` runs them in this process, ``spark.py`` on Spark.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import ibis.expr.operations as ops
import ibis.expr.types as ir
import pyarrow as pa

from crossrec_cli.config.schema import Runtime
from crossrec_cli.config.source_fields import Source
from crossrec_cli.data.excel import write_as_parquet
from crossrec_cli.data.raw_files import RawFiles, check_complete, file_form, find, input_files

FILE = 2**40
"""More than the rows of any file: ``SOURCE_ROW`` is the file's number times this, plus the row."""


class Engine(ABC):
    """Reads, computes and writes tables that may be larger than memory."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._copies: dict[str, str] = {}
        """The Parquet copy of each Excel file that was read."""
        self.read_files: list[str] = []
        """Every file that was read; its index is its number in ``SOURCE_ROW``."""
        self._kept: set[str] = set()

    def read(self, source: Source, limit: int | None = None) -> ir.Table:
        """The rows of the files, with ``SOURCE_ROW``. Cells of text files stay text, since 00123 may be an id.

        Raises:
            InputError: if the files cannot be read, or have no column.
        """
        files = self._resolve(find(source))
        if limit is None:
            check_complete(files.paths)
        offset = len(self.read_files) * FILE
        self.read_files += files.paths
        if files.form == "excel":
            files = replace(files, form="parquet", paths=[self._copy(path) for path in files.paths])
        return self._scan(files, offset, limit)

    def _copy(self, path: str) -> str:
        if path not in self._copies:
            self._scratch.mkdir(parents=True, exist_ok=True)
            copy = self._scratch.absolute() / f"excel_{len(self._copies)}.parquet"
            write_as_parquet(path, copy)
            self._copies[path] = str(copy)
        return self._copies[path]

    def _resolve(self, files: RawFiles) -> RawFiles:
        """With what only the engine can find out about files on a network."""
        return files

    @abstractmethod
    def _scan(self, files: RawFiles, offset: int, limit: int | None) -> ir.Table:
        """The files' columns and ``SOURCE_ROW``, counted from ``offset``."""

    @abstractmethod
    def keep(self, table: ir.Table, reading: str) -> ir.Table:
        """Compute a table once and keep it, out of core where it is large.

        Raises:
            InputError: if a file cannot be read; ``reading`` names it in the message.
        """

    def read_once(self, table: ir.Table, source: Source) -> ir.Table:
        """A table that is used twice. Text files are parsed once and kept; Parquet files are faster to read again."""
        form, _ = file_form(input_files(source.path)[0], source.csv)
        return table if form == "parquet" else self.keep(table, source.path)

    def count(self, table: ir.Table) -> int:
        """The number of rows."""
        return int(self.fetch(table.aggregate(n=table.count()))["n"][0].as_py())

    def drop(self, table: ir.Table) -> None:
        """Delete every kept table that this one reads; nothing else may need them."""
        names = self._kept & {node.name for node in table.op().find(ops.DatabaseTable)}
        for name in sorted(names):
            self._drop(name)
        self._kept -= names

    @abstractmethod
    def _drop(self, name: str) -> None:
        """Delete one kept table."""

    @abstractmethod
    def fetch(self, table: ir.Table) -> pa.Table:
        """Load a small table into this process."""

    @abstractmethod
    def write(self, table: ir.Table, path: Path, schema: pa.Schema) -> None:
        """Stream a table into one Parquet file, in the table's order, with exactly the schema's columns and types."""


@contextmanager
def connect(kind: str, scratch: Path, runtime: Runtime) -> Iterator[Engine]:
    """The engine of a stage; its temporary files are in ``scratch``, which is removed afterwards.

    Raises:
        UnavailableError: if the engine is not installed.
    """
    module = {"duckdb": "duck", "spark": "spark"}[kind]
    opened: AbstractContextManager[Engine] = import_module(f"crossrec_cli.data.{module}").connect(scratch, runtime)
    with opened as engine:
        yield engine


def file_and_row(engine: Engine, rows: Sequence[int]) -> list[tuple[str, int]]:
    """File and row of each ``SOURCE_ROW``."""
    return [(engine.read_files[row // FILE], row % FILE) for row in rows]
