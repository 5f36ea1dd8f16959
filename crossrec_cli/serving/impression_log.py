"""The lists that users were shown, and the feedback on them."""

from __future__ import annotations

import json
import re
import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import schemas
from crossrec_cli.artifacts.files import IMPRESSION_LOG
from crossrec_cli.errors import InputError, UnavailableError
from crossrec_cli.serving.exploration import ShownItem
from crossrec_cli.serving.sqlite_file import SqliteFile

MAX_BYTES = 2**30
DROPPED = 20
"""Where the file is too large, a new list replaces so many of the oldest: no request waits long for it."""
LISTS_READ = 5_000
"""Lists that are read at once."""
TABLES = """
CREATE TABLE IF NOT EXISTS lists (
    number INTEGER PRIMARY KEY AUTOINCREMENT, token TEXT NOT NULL, time INTEGER NOT NULL, user TEXT,
    variant TEXT NOT NULL, k INTEGER NOT NULL, items TEXT NOT NULL, propensities TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS feedback (
    list INTEGER NOT NULL, item TEXT NOT NULL, kind TEXT NOT NULL, PRIMARY KEY (list, item, kind)
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS feedback_goes_with_its_list AFTER DELETE ON lists BEGIN
    DELETE FROM feedback WHERE list = old.number;
END;
"""
NUMBER = re.compile("[1-9][0-9]{0,17}")
Reward = Literal["click", "purchase"]


class Feedback(NamedTuple):
    """What a user did with an item of a list."""

    impression: str
    """The id of the list."""
    item: str
    kind: Reward


class FeedbackCounts(NamedTuple):
    """What became of some feedback."""

    taken: int
    unknown_impressions: int
    """How many name a list that is not in the log."""
    unknown_items: int
    """How many name an item that is not in the list."""


class LogCounts(NamedTuple):
    """What is in the log."""

    lists: int
    dropped: int
    """How many older lists are no longer in it, since it would be too large."""
    clicks: int
    purchases: int


class _LoggedList(NamedTuple):
    """A row of the table ``lists``."""

    number: int
    token: str
    microseconds: int
    """Since 1970."""
    user: str | None
    variant: str
    k: int
    items: str
    """A JSON list, like the propensities."""
    propensities: str

    def rows(self, rewarded: set[tuple[int, str, str]]) -> Iterator[dict[str, Any]]:
        """Rows of ``schemas.IMPRESSIONS``; ``rewarded`` are rows of the table ``feedback``."""
        of_list = {
            c.IMPRESSION: f"{self.number}-{self.token}",
            c.TIMESTAMP: self.microseconds,
            c.VARIANT: self.variant,
            c.USER_ID: self.user,
            c.K: self.k,
        }
        shown = list(zip(json.loads(self.items), json.loads(self.propensities), strict=True))
        if not shown:
            yield of_list
        for rank, (item, propensity) in enumerate(shown, 1):
            rewards = {kind: int((self.number, item, kind) in rewarded) for kind in (c.CLICK, c.PURCHASE)}
            yield of_list | {c.RANK: rank, c.ITEM_ID: item, c.PROPENSITY: propensity} | rewards


class ImpressionLog(SqliteFile):
    """The newest lists; older ones are dropped. Safe to use from several threads and processes."""

    def __init__(self, directory: Path, max_bytes: int = MAX_BYTES) -> None:
        """Open or make the log.

        Args:
            directory: of ``serve.log``; it is made if it is missing.
            max_bytes: how large the log may become.

        Raises:
            UnavailableError: if it cannot be used.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UnavailableError(f"serve.log: {directory}: {error.strerror or error}") from None
        super().__init__(directory / IMPRESSION_LOG, TABLES, "keep impressions")
        self.max_bytes = max_bytes

    @classmethod
    def existing(cls, directory: Path) -> ImpressionLog:
        """The log that a server has written.

        Raises:
            InputError: if there is none, or it is damaged.
        """
        if not (directory / IMPRESSION_LOG).is_file():
            raise InputError(f"{directory}: no {IMPRESSION_LOG}; name the directory of serve.log")
        try:
            return cls(directory)
        except UnavailableError as error:
            raise InputError(str(error)) from None

    def add(self, user: str | None, variant: str, k: int, shown: Sequence[ShownItem]) -> str:
        """Add a list.

        Args:
            user: who sees it; None: somebody without an id.
            variant: the name of what made it.
            k: how many items were asked for.
            shown: its items, best first.

        Returns:
            Its id, which cannot be guessed.

        Raises:
            UnavailableError: if it cannot be stored.
        """
        token = secrets.token_hex(8)
        items = json.dumps([item.row[c.ITEM_ID] for item in shown], ensure_ascii=False)
        propensities = json.dumps([item.propensity for item in shown])
        row = (token, time.time_ns() // 1_000, user, variant, k, items, propensities)
        with self._writing() as database:
            number = database.execute(
                "INSERT INTO lists (token, time, user, variant, k, items, propensities) VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            ).lastrowid
            if self._bytes() > self.max_bytes:
                last = database.execute("SELECT min(number) FROM lists").fetchone()[0] + DROPPED - 1
                database.execute("DELETE FROM lists WHERE number <= ? AND number < ?", (last, number))
        return f"{number}-{token}"

    def take(self, feedback: Sequence[Feedback]) -> FeedbackCounts:
        """Add feedback on lists of the log, all or none; the same once more changes nothing.

        Raises:
            UnavailableError: if it cannot be stored.
        """
        rewards, unknown_impressions = list[tuple[int, str, str]](), 0
        with self._writing() as database:
            items = {impression: _items(database, impression) for impression in {one.impression for one in feedback}}
            for impression, item, kind in feedback:
                listed = items[impression]
                if listed is None:
                    unknown_impressions += 1
                elif item in listed:
                    rewards.append((_number(impression), item, kind))
            database.executemany("INSERT INTO feedback VALUES (?, ?, ?) ON CONFLICT DO NOTHING", rewards)
        return FeedbackCounts(len(rewards), unknown_impressions, len(feedback) - len(rewards) - unknown_impressions)

    def counts(self) -> LogCounts:
        """How much is in the log.

        Raises:
            UnavailableError: if it cannot be read.
        """
        ((lists, oldest),) = self._read("SELECT count(*), coalesce(min(number), 1) FROM lists")
        kinds: dict[str, int] = dict(self._read("SELECT kind, count(*) FROM feedback GROUP BY kind"))
        return LogCounts(lists, oldest - 1, kinds.get(c.CLICK, 0), kinds.get(c.PURCHASE, 0))

    def tables(self) -> Iterator[pa.Table]:
        """Rows of ``schemas.IMPRESSIONS``, some lists at a time, oldest first; with the feedback so far.

        Raises:
            UnavailableError: if the log cannot be read.
        """
        query, last = f"SELECT * FROM lists WHERE number > ? ORDER BY number LIMIT {LISTS_READ}", 0
        while lists := [_LoggedList(*row) for row in self._read(query, last)]:
            first, last = lists[0].number, lists[-1].number
            rewarded = set(self._read("SELECT * FROM feedback WHERE list BETWEEN ? AND ?", first, last))
            rows = chain.from_iterable(one.rows(rewarded) for one in lists)
            yield pa.Table.from_pylist(list(rows), schemas.IMPRESSIONS)


def _number(impression: str) -> int:
    """The list's number, from 1; 0 for what cannot be an id."""
    number = impression.partition("-")[0]
    return int(number) if NUMBER.fullmatch(number) else 0


def _items(database: sqlite3.Connection, impression: str) -> list[str] | None:
    """The items of a list; None for one that is not in the log."""
    row = database.execute("SELECT token, items FROM lists WHERE number = ?", (_number(impression),)).fetchone()
    if row is None or row[0] != impression.partition("-")[2]:
        return None
    items: list[str] = json.loads(row[1])
    return items
