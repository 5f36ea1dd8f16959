"""Users' events since the data were read: they outlive the process, and several processes share them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from crossrec_cli.serving.sqlite_file import SqliteFile

MAX_BYTES = 2**28
DROPPED = 10
"""Where the file is too large, the oldest one in so many events is dropped."""
TABLES = """
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT NOT NULL, item TEXT NOT NULL, time REAL NOT NULL,
    disliked INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS events_of_user ON events (user, number);
CREATE TABLE IF NOT EXISTS data (hash TEXT NOT NULL);
"""


class UserEvent(NamedTuple):
    """What a user did with an item."""

    user: str
    item: str
    time: float | None = None
    """In seconds since 1970; None: now."""
    disliked: bool = False


class Events(SqliteFile):
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
        super().__init__(path, TABLES, "keep events")
        self.maximum, self.max_bytes = maximum, max_bytes

    def add(self, events: Sequence[UserEvent]) -> None:
        """Add events, oldest first, all or none.

        Raises:
            UnavailableError: if they cannot be stored.
        """
        now = time.time()
        rows = [event if event.time is not None else event._replace(time=now) for event in events]
        with self._writing() as database:
            database.executemany("INSERT INTO events (user, item, time, disliked) VALUES (?, ?, ?, ?)", rows)
            newest = database.execute("SELECT max(number) FROM events").fetchone()[0] or 0
            database.execute("DELETE FROM events WHERE number <= ?", (newest - self.maximum,))
            if self._bytes() > self.max_bytes:
                oldest = database.execute("SELECT coalesce(min(number), 0) FROM events").fetchone()[0]
                last = oldest + (newest - oldest) // DROPPED
                database.execute("DELETE FROM events WHERE number <= ?", (last,))

    def of(self, user: str) -> list[str]:
        """A user's items, oldest first."""
        return [event.item for event in self.all_of(user)]

    def all_of(self, user: str) -> list[UserEvent]:
        """A user's events, oldest first."""
        rows = self._read("SELECT item, time, disliked FROM events WHERE user = ? ORDER BY time, number", user)
        return [UserEvent(user, item, at, bool(disliked)) for item, at, disliked in rows]

    def follow(self, data: str, is_known: Callable[[str, Sequence[UserEvent]], Sequence[bool]]) -> None:
        """Drop the events that the data have, when the data are new. The others keep their order.

        Args:
            data: the hash of the data.
            is_known: from a user and the user's events, which of them to drop. It may be slow: it is called without
                the lock.

        Raises:
            UnavailableError: if the file cannot be written.
        """
        if self._read("SELECT hash FROM data") == [(data,)]:
            return
        for (user,) in self._read("SELECT DISTINCT user FROM events"):
            stored = self._read("SELECT number, item, time, disliked FROM events WHERE user = ?", user)
            known = is_known(user, [UserEvent(user, item, at, bool(disliked)) for _, item, at, disliked in stored])
            dropped = [(number,) for (number, *_), drop in zip(stored, known, strict=True) if drop]
            with self._writing() as database:
                database.executemany("DELETE FROM events WHERE number = ?", dropped)
        with self._writing() as database:
            database.execute("DELETE FROM data")
            database.execute("INSERT INTO data VALUES (?)", (data,))

    def __len__(self) -> int:
        return int(self._read("SELECT count(*) FROM events")[0][0])
