"""Ibis takes as long to write the SQL of a small shop's tables as DuckDB to run it: here it writes equal SQL once.

Production code compiles each expression once in its process, so that a cache would be of no use there.
"""

from __future__ import annotations

import functools
import sys
from collections import Counter
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import ibis.expr.operations as ops
import ibis.expr.types as ir
from ibis.backends.duckdb import Backend

from crossrec_cli.data import interactions
from crossrec_cli.data.duck import DuckEngine

LATEST = 5000
"""Expressions whose SQL is remembered."""
NOW = datetime.now(UTC)
_seen = Counter[object]()
"""How often the engine kept a table from each line, and how often each table was given another name by ``view``."""


class _Began(datetime):
    """The time is in the expressions; it is the same for all tests of a process."""

    @classmethod
    def now(cls, tz=None):
        return NOW


def install() -> None:
    """Make expressions of different engines equal where they say the same, and remember their SQL."""
    Backend.db_identity = "in memory"
    interactions.datetime = _Began
    _name_by_line()
    written = Backend.compile

    @functools.lru_cache(LATEST)
    def sql(engine: Backend, op: ops.Relation) -> str:
        return written(engine, op.to_expr())

    Backend.compile = lambda self, table, **_: sql(self, table.op())


def _name_by_line() -> None:
    """Name kept tables by the line that keeps them instead of counting: one table more does not rename all others."""
    begin, keep, refer = DuckEngine.__init__, DuckEngine.keep, ops.relations.Reference.__init__

    def begun(self, *arguments) -> None:
        _seen.clear()
        begin(self, *arguments)

    def kept(self, table: ir.Table, reading: str) -> ir.Table:
        caller = sys._getframe(1)
        line = f"{Path(caller.f_code.co_filename).stem}_{caller.f_lineno}"
        self._names = chain([f"{line}_{_nth(line)}"], self._names)
        return keep(self, table, reading)

    def referred(self, parent: ops.Relation, identifier: int | None) -> None:
        refer(self, parent, hash((parent, _nth(parent))) if identifier is None else identifier)

    DuckEngine.__init__, DuckEngine.keep, ops.relations.Reference.__init__ = begun, kept, referred


def _nth(what: object) -> int:
    _seen[what] += 1
    return _seen[what]
