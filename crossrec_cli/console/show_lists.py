"""Lists as people and other programs read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import RECOMMEND, RECOMMENDATIONS
from crossrec_cli.artifacts.store import CURRENT, Artifact
from crossrec_cli.config.schema import Config
from crossrec_cli.console.terminal import Console, Format, visible
from crossrec_cli.data.extra_files import read_file
from crossrec_cli.data.ids import as_ids
from crossrec_cli.errors import ConfigError, InputError
from crossrec_cli.ranking.list_text import csv_lines

if TYPE_CHECKING:  # torch takes a moment to import
    from crossrec_cli.ranking.recommender import Recommender

STDIN = Path("-")
WHO = pa.schema([pa.field(c.USER_ID, pa.string(), nullable=False)])


@dataclass(frozen=True)
class Asked:
    """Whose lists are wanted."""

    users: Sequence[str] = ()
    file: Path | None = None
    """More users: Parquet or CSV with user_id; ``-``: an id a line from standard input."""
    why_not: str | None = None
    """An item that is missing from the list of the one user."""

    def __post_init__(self) -> None:
        """See that it fits together.

        Raises:
            ConfigError: if it does not.
        """
        if self.why_not is not None and (len(self.users) != 1 or self.file):
            raise ConfigError(["--why-not needs one --user"])

    def __bool__(self) -> bool:
        return bool(self.users or self.file)

    def ids(self, stdin: Iterable[str]) -> pa.Array:
        """The users named by ``--users``."""
        if self.file is None:
            return pa.array([], pa.string())
        if self.file == STDIN:
            return as_ids((line for line in stdin if line.strip()), "--users -")
        return read_file(self.file, "--users", WHO)[c.USER_ID].combine_chunks()


def of_run(console: Console, artifact: Artifact, form: Format) -> dict[str, Any]:
    """Print the lists of one user of each kind; as CSV, all lists.

    Returns:
        The lists printed, by user id.
    """
    path = artifact.file(RECOMMENDATIONS)
    if form == Format.CSV:
        with pq.ParquetFile(path) as file:
            _print_csv(console, (pa.Table.from_batches([batch]) for batch in file.iter_batches()))
        return {}
    table = parquet.read_table(path)
    found = {}
    for kind, user in artifact.manifest.summary["examples"].items():
        found[user] = table.filter(pc.equal(table[c.USER_ID], user))
        _print_list(console, user, found[user], kind)
    console.remark(f"All lists: {path.parent.parent / CURRENT / path.name}")
    return {user: rows.drop_columns([c.USER_ID]).to_pylist() for user, rows in found.items()}


def listed(
    console: Console, config: Config, inputs: Mapping[str, Path], asked: Asked, form: Format, stdin: Iterable[str]
) -> dict[str, Any]:
    """Print the lists of the users asked for, which are made now; nothing is written.

    Returns:
        The document for ``--json``.

    Raises:
        InputError: if there is no such user, or one has no list.
    """
    from crossrec_cli.ranking.recommender import Recommender  # noqa: PLC0415  torch takes a moment to import

    more = asked.ids(stdin)
    console.begin(RECOMMEND)
    maker = Recommender(config, inputs, console)
    named = maker.users(asked.users, "--user")
    names = pc.take(maker.world.users[c.USER_ID], named).to_pylist()
    if asked.why_not is not None:
        (rows,) = maker.lists(named)
        (item,) = as_ids([asked.why_not], "--why-not").to_pylist()
        return {"why_not": _why_not(console, maker, rows, names[0], item)}
    known = parquet.places(pa.chunked_array([more]), maker.world.users[c.USER_ID])
    if unknown := int((known < 0).sum()):
        console.warn(f"--users {asked.file}: {unknown:,} of {len(more):,} users are not in the data")
    users = [*named.tolist(), *known[known >= 0].tolist()]
    if form == Format.CSV:
        _print_csv(console, _made(console, maker, users))
        return {}
    document: dict[str, Any] = {}
    left = set(names)
    for rows in _made(console, maker, users):
        for user in pc.unique(rows[c.USER_ID]).to_pylist():
            found = rows.filter(pc.equal(rows[c.USER_ID], user))
            _print_list(console, user, found)
            left.discard(user)
            if console.as_json:
                document[user] = found.drop_columns([c.USER_ID]).to_pylist()
    if left:
        raise InputError(f"--user {min(left)}: has no list: owning all there is, or left nothing by recommend.rules")
    return {"lists": document}


def _made(console: Console, maker: Recommender, users: Sequence[int]) -> Iterator[pa.Table]:
    """The users' lists, some users at a time."""
    with console.progress("ranking", len(users), "users") as advance:
        yield from maker.lists(np.array(users, np.int64), advance)


def _why_not(console: Console, maker: Recommender, rows: pa.Table, user: str, item: str) -> dict[str, str]:
    """Say in one line what keeps an item out of a user's list."""
    from crossrec_cli.ranking.why_not import why_not as reason_of  # noqa: PLC0415  torch takes a moment to import

    reason = reason_of(maker, rows, user, item)
    console.result(Text(f"{visible(item)} for {visible(user)}: {visible(reason)}"), wanted=True)
    return {c.USER_ID: user, c.ITEM_ID: item, "reason": reason}


def _print_csv(console: Console, parts: Iterable[pa.Table]) -> None:
    for number, rows in enumerate(parts):
        console.text(csv_lines(rows, header=number == 0))


def _print_list(console: Console, user: str, rows: pa.Table, kind: str | None = None) -> None:
    """A user's list; ``kind`` says what sort of user this is an example of."""
    if kind:
        console.remark(f"Somebody who {kind}:")
    console.result(Text(f"User {visible(user)}:", style="bold"), wanted=kind is None)
    priced = rows[c.PRICE].null_count < rows.num_rows
    width = max(map(cell_len, map(visible, rows[c.ITEM_ID].to_pylist())), default=0)
    for row in rows.to_pylist():
        price = f"{'' if row[c.PRICE] is None else f'{row[c.PRICE]:.2f}':>8}  " if priced else ""
        item = set_cell_size(visible(row[c.ITEM_ID]), width)
        line = f"{row[c.RANK]:>4}. {row[c.SCORE]:.4f}  {price}{item}  {visible(row[c.TEXT] or '')}".rstrip()
        console.result(console.fit(Text(line)), wanted=kind is None)
        if row.get(c.REASONS):
            reasons = Text(f"      {visible(row[c.BECAUSE])}", style="dim")
            console.result(console.fit(reasons), wanted=kind is None)
    console.result(Text(), wanted=kind is None)
