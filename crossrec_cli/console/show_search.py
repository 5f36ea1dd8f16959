"""What a search found, as people read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts.files import FOUND, SEARCH
from crossrec_cli.artifacts.store import Artifact
from crossrec_cli.config.schema import Config
from crossrec_cli.console.terminal import Console, visible
from crossrec_cli.errors import ConfigError
from crossrec_cli.pipeline.current import inputs_of
from crossrec_cli.report.formatting import figure

ITEM = "item"


@dataclass(frozen=True)
class Asked:
    """What is looked for: one query, or a file of them, or nothing, which makes the index alone."""

    query: str | None = None
    user: str | None = None
    queries: Path | None = None

    def __post_init__(self) -> None:
        if self.query is not None and self.queries:
            raise ConfigError(["a query and --queries were given; leave one of them out"])
        if self.user is not None and self.query is None:
            raise ConfigError(["--user needs a query; a file of --queries names users itself, as user_id"])
        if self.query is not None and not self.query.strip():
            raise ConfigError(["the query is empty"])


def found(console: Console, config: Config, artifact: Artifact, asked: Asked) -> dict[str, Any]:
    """Answer what was asked: one query as a table, a file of them as a file.

    Returns:
        The same for ``--json``.

    Raises:
        InputError: if there is no such user, or the file cannot be read.
    """
    from crossrec_cli.ranking.searcher import Searcher, read_queries  # noqa: PLC0415  torch takes a moment to import

    if asked.query is None and asked.queries is None:
        return {}
    many = read_queries(asked.queries) if asked.queries else ([], [])
    searcher = Searcher.load(config, inputs_of(config, SEARCH), artifact.path)
    if asked.query is not None:
        table = searcher.search(asked.query, asked.user, k=config.search.k)
        _one_list(console, asked, table)
        return {"results": table.drop_columns([c.QUERY, c.USER_ID]).to_pylist()}
    places = searcher.known_users(many[1])
    if unknown := {user for user, place in zip(many[1], places, strict=True) if user is not None and place < 0}:
        console.warn(f"--queries: {len(unknown):,} users are not in the data; each is answered as somebody unknown")
    with console.progress("searching", len(many[0]), "queries") as advance:
        table = searcher.search_all(*many, config.search.k, advance)
    return {"path": str(_written(console, config.run_path / FOUND, table)), "queries": len(many[0])}


def _one_list(console: Console, asked: Asked, table: pa.Table) -> None:
    user = "" if asked.user is None else f", for {visible(asked.user)}"
    console.result(console.fit(Text(f"“{visible(asked.query or '')}”{user}", style="bold")), wanted=True)
    if not table.num_rows:
        console.result(Text("nothing found: no item has a word of it or comes near it in meaning"), wanted=True)
        return
    items = [visible(item) for item in table[c.ITEM_ID].to_pylist()]
    width = max(map(cell_len, [ITEM, *items]))
    priced = table[c.PRICE].null_count < table.num_rows
    heads = f"{c.SCORE:>11} {c.RELEVANCE:>9} {c.INTEREST:>8} {c.PRICE if priced else '':>8}"
    console.result(Text(f"{heads.rstrip()}  {ITEM}", style="cyan"), wanted=True)
    for row, item in zip(table.to_pylist(), items, strict=True):
        interest = "" if row[c.INTEREST] is None else f"{row[c.INTEREST]:.4f}"
        price = "" if row[c.PRICE] is None else f"{row[c.PRICE]:,.2f}"
        figures = f"{figure(row[c.SCORE], 2):>6} {figure(row[c.RELEVANCE], 2):>9} {interest:>8}"
        figures += f" {price:>8}" if priced else ""
        line = f"{row[c.RANK]:>3}. {figures}  {set_cell_size(item, width)}  {visible(row[c.TEXT] or '')}"
        console.result(console.fit(Text(line.rstrip())), wanted=True)


def _written(console: Console, path: Path, table: pa.Table) -> Path:
    draft = path.with_suffix(".draft")
    pq.write_table(table, draft, compression="zstd")
    draft.replace(path)
    console.remark(f"All lists: {path}")
    return path
