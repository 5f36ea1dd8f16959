"""A SQLite database that outlives the process, and that several threads and processes share."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crossrec_cli.errors import UnavailableError

WAIT_SECONDS = 2
"""How long another process may be writing."""
SETTINGS = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
"""
"""A reader waits for no writer, and a commit not for the disk: a killed process loses nothing, a power cut the latest
rows."""


class SqliteFile:
    """The base of what the server stores: a connection that writes, and one that reads."""

    def __init__(self, path: Path | None, tables: str, purpose: str) -> None:
        """Open or make the file.

        Args:
            path: of the file; None: in memory.
            tables: SQL that makes the tables which are missing.
            purpose: what it is for, in messages of its errors: "cannot …".

        Raises:
            UnavailableError: if the file cannot be used.
        """
        self.path, self._purpose = path, purpose
        self._lock, self._reading = threading.Lock(), threading.Lock()
        with self._named():
            self._database = self._reader = self._connected()
            self._database.executescript(SETTINGS + tables)
            if path:  # what is read does not wait for what is written
                self._reader = self._connected()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is stored, or nothing.

        Raises:
            UnavailableError: if it cannot be stored.
        """
        with self._named(), self._lock, self._database:
            self._database.execute("BEGIN IMMEDIATE")
            yield self._database

    def _read(self, query: str, *values: str | int) -> list[tuple[Any, ...]]:
        with self._named(), self._reading if self.path else self._lock:
            return self._reader.execute(query, values).fetchall()

    def _connected(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self.path or ":memory:", timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False
        )

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise UnavailableError(f"{self.path}: cannot {self._purpose}: {error}") from None

    def _bytes(self) -> int:
        """Of the file's pages that are in use."""
        sizes = (f"PRAGMA {name}" for name in ("page_count", "freelist_count", "page_size"))
        pages, free, size = (self._database.execute(pragma).fetchone()[0] for pragma in sizes)
        return int((pages - free) * size)
