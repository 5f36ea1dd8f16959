"""Users' events since the data were read, in SQLite: they outlive the process, and several processes share them."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crossrec_cli.errors import UnavailableError

MAX_BYTES = 2**28
WAIT_SECONDS = 2
"""How long another process may be writing."""
DROPPED = 10
"""Where the file is too large, the oldest one in so many events is dropped."""
TABLES = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT NOT NULL, item TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS events_of_user ON events (user, number);
CREATE TABLE IF NOT EXISTS data (hash TEXT NOT NULL);
"""


class Events:
    """The newest events; older ones are dropped. Safe to use from several threads and processes."""

    def __init__(self, maximum: int, path: Path | None = None, max_bytes: int = MAX_BYTES) -> None:
        """Open or make the file.

        Args:
            maximum: how many events are kept.
            path: of the file; None: they are kept in memory.
            max_bytes: how large the file may become.

        Raises:
            UnavailableError: if the file cannot be used.
        """
        self.path, self.maximum, self.max_bytes = path, maximum, max_bytes
        self._lock, self._reading = threading.Lock(), threading.Lock()
        with self._named():
            self._database = self._reader = self._connected()
            self._database.executescript(TABLES)
            if path:  # what is read does not wait for what is written
                self._reader = self._connected()

    def add(self, events: Sequence[tuple[str, str]]) -> None:
        """Add pairs of a user and an item, oldest first, all or none.

        Raises:
            UnavailableError: if they cannot be stored.
        """
        with self._named(), self._lock, self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany("INSERT INTO events (user, item) VALUES (?, ?)", events)
            newest = self._database.execute("SELECT max(number) FROM events").fetchone()[0] or 0
            self._database.execute("DELETE FROM events WHERE number <= ?", (newest - self.maximum,))
            if self._bytes() > self.max_bytes:
                oldest = self._database.execute("SELECT coalesce(min(number), 0) FROM events").fetchone()[0]
                last = oldest + (newest - oldest) // DROPPED
                self._database.execute("DELETE FROM events WHERE number <= ?", (last,))

    def of(self, user: str) -> list[str]:
        """A user's items, oldest first."""
        return [item for (item,) in self._read("SELECT item FROM events WHERE user = ? ORDER BY number", user)]

    def follow(self, data: str, is_known: Callable[[str, Sequence[str]], Sequence[bool]]) -> None:
        """Drop the events that the data have, when the data are new. The others keep their order.

        Args:
            data: the hash of the data.
            is_known: from a user and the user's items, which of the items' events to drop. It may be slow: it is called
                without the lock.

        Raises:
            UnavailableError: if the file cannot be written.
        """
        if self._read("SELECT hash FROM data") == [(data,)]:
            return
        for (user,) in self._read("SELECT DISTINCT user FROM events"):
            stored = self._read("SELECT number, item FROM events WHERE user = ?", user)
            known = is_known(user, [item for _, item in stored])
            dropped = [(number,) for (number, _), drop in zip(stored, known, strict=True) if drop]
            with self._named(), self._lock, self._database:
                self._database.executemany("DELETE FROM events WHERE number = ?", dropped)
        with self._named(), self._lock, self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute("DELETE FROM data")
            self._database.execute("INSERT INTO data VALUES (?)", (data,))

    def _read(self, query: str, *values: str) -> list[tuple[Any, ...]]:
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
            raise UnavailableError(f"{self.path}: cannot keep events: {error}") from None

    def _bytes(self) -> int:
        """Of the file's pages that are in use."""
        sizes = (f"PRAGMA {name}" for name in ("page_count", "freelist_count", "page_size"))
        pages, free, size = (self._database.execute(pragma).fetchone()[0] for pragma in sizes)
        return int((pages - free) * size)

    def __len__(self) -> int:
        return int(self._read("SELECT count(*) FROM events")[0][0])
