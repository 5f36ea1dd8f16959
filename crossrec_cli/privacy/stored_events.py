"""The events of some people in what ``crossrec serve`` keeps in SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from crossrec_cli.errors import UnavailableError
from crossrec_cli.privacy.people import People
from crossrec_cli.privacy.person_rows import PersonRows

USER = "user"
"""The column with the id, in every table that has one."""
WAIT_SECONDS = 10
"""How long a server may be writing."""


def events_in(file: Path, people: People) -> PersonRows | None:
    """How many rows of people a file has; None if it has none.

    Raises:
        UnavailableError: if it cannot be read.
    """
    if not file.is_file():
        return None
    with _opened(file, "ro") as database:
        counts: list[tuple[str, int]] = []
        for table in _tables(database):
            query = f'SELECT {USER}, count(*) FROM "{table}" WHERE {_THEIRS} GROUP BY {USER}'
            counts += database.execute(query, (json.dumps(people.ids),)).fetchall()
    rows = sum(count for _, count in counts)
    return PersonRows(file, rows, frozenset(user for user, _ in counts)) if rows else None


def delete_events(file: Path, people: People) -> None:
    """Delete the rows of people, and what is left of them in free pages and in the write-ahead log.

    A server may have the file open.

    Raises:
        UnavailableError: if the file cannot be changed.
    """
    with _opened(file, "rw") as database:
        for table in _tables(database):
            database.execute(f'DELETE FROM "{table}" WHERE {_THEIRS}', (json.dumps(people.ids),))
        database.execute("VACUUM")
        (busy, *_) = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise sqlite3.OperationalError("a server is using it")


_THEIRS = f"{USER} IN (SELECT value FROM json_each(?))"


def _tables(database: sqlite3.Connection) -> list[str]:
    """The tables that have users."""
    query = (
        "SELECT m.name FROM sqlite_master AS m, pragma_table_info(m.name) AS p WHERE m.type = 'table' AND p.name = ?"
    )
    return [name for (name,) in database.execute(query, (USER,))]


@contextmanager
def _opened(file: Path, mode: str) -> Iterator[sqlite3.Connection]:
    try:
        address = f"{file.absolute().as_uri()}?mode={mode}"
        with closing(sqlite3.connect(address, timeout=WAIT_SECONDS, isolation_level=None, uri=True)) as database:
            yield database
    except sqlite3.Error as error:
        raise UnavailableError(f"{file}: cannot forget events: {error}") from None
