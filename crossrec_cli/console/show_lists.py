"""Lists on the terminal, and as CSV and JSON for other programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import RECOMMENDATIONS
from crossrec_cli.artifacts.store import CURRENT, Artifact
from crossrec_cli.config.list_fields import Database
from crossrec_cli.console.terminal import Console, Format, visible
from crossrec_cli.ranking.list_text import csv_lines


def of_run(console: Console, artifact: Artifact, list_format: Format) -> dict[str, Any]:
    """Print the list of one example user of each kind, not with ``--quiet``; as CSV, all lists.

    Returns:
        The lists of the examples, by user id, for ``--json``.
    """
    path = artifact.file(RECOMMENDATIONS)
    if list_format == Format.CSV:
        with pq.ParquetFile(path) as file:
            as_csv(console, (pa.Table.from_batches([batch]) for batch in file.iter_batches()))
        return {}
    if console.quiet and not console.as_json:
        return {}
    examples, lists = artifact.manifest.summary["examples"], {}
    table = parquet.read_rows(path, c.USER_ID, list(examples.values()))
    for kind, user in examples.items():
        lists[user] = table.filter(pc.equal(table[c.USER_ID], user))
        _print_list(console, user, lists[user], kind)
    console.remark(f"All lists: {path.parent.parent / CURRENT / path.name}")
    return {user: rows.drop_columns([c.USER_ID]).to_pylist() for user, rows in lists.items()}


def published(console: Console, database: Database, tables: dict[str, int]) -> dict[str, Any]:
    """Print which tables of a database have the lists and vectors.

    Returns:
        The same for ``--json``.
    """
    for table, rows in tables.items():
        console.say(f"{rows:,} rows are in the table {table} of {database.uri}")
    return {"table": database.table, "rows": tables[database.table], "tables": tables}


def listed(console: Console, parts: Iterable[pa.Table]) -> tuple[dict[str, Any], set[str]]:
    """Print lists, one after another.

    Args:
        console: prints them.
        parts: rows of ``schemas.RECOMMENDATIONS``; no list is split between two parts.

    Returns:
        The lists by user id, empty without ``--json``, and the ids of all users with a list.
    """
    document: dict[str, Any] = {}
    users: set[str] = set()
    for rows in parts:
        for user in pc.unique(rows[c.USER_ID]).to_pylist():
            of_user = rows.filter(pc.equal(rows[c.USER_ID], user))
            _print_list(console, user, of_user)
            users.add(user)
            if console.as_json:
                document[user] = of_user.drop_columns([c.USER_ID]).to_pylist()
    return document, users


def why_not(console: Console, reason: Mapping[str, str]) -> None:
    """Print in one line why an item is not in a user's list."""
    user, item = visible(reason[c.USER_ID]), visible(reason[c.ITEM_ID])
    console.result(Text(f"{item} for {user}: {visible(reason['reason'])}"), always=True)


def as_csv(console: Console, parts: Iterable[pa.Table]) -> None:
    """Print lists as CSV with one header."""
    for number, rows in enumerate(parts):
        console.text(csv_lines(rows, header=number == 0))


def _print_list(console: Console, user: str, rows: pa.Table, kind: str | None = None) -> None:
    """Print a user's list; ``kind`` is set for an example user, such as ``bought nothing yet``."""
    if kind:
        console.remark(f"Example of a user who {kind}:")
    title = f"User {visible(user)}:" if user else "Somebody without an id:"
    console.result(Text(title, style="bold"), always=kind is None)
    priced = rows[c.PRICE].null_count < rows.num_rows
    width = max(map(cell_len, map(visible, rows[c.ITEM_ID].to_pylist())), default=0)
    for row in rows.to_pylist():
        price = f"{'' if row[c.PRICE] is None else f'{row[c.PRICE]:.2f}':>8}  " if priced else ""
        item = set_cell_size(visible(row[c.ITEM_ID]), width)
        line = f"{row[c.RANK]:>4}. {row[c.SCORE]:.4f}  {price}{item}  {visible(row[c.TEXT] or '')}".rstrip()
        console.result(console.fit(Text(line)), always=kind is None)
        if row.get(c.REASONS):
            reasons = Text(f"      {visible(row[c.BECAUSE])}", style="dim")
            console.result(console.fit(reasons), always=kind is None)
    console.result(Text(), always=kind is None)
