"""What a search found, as people read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crossrec_cli.artifacts import tables as t
from crossrec_cli.artifacts.store import Artifact
from crossrec_cli.config.schema import Config
from crossrec_cli.console import Console, visible
from crossrec_cli.errors import ConfigError
from crossrec_cli.pipeline.current import inputs_of
from crossrec_cli.stages import FOUND, SEARCH
from crossrec_cli.verdict.words import figure

NAME_WIDTH = 38
"""With the figures beside it, what 80 columns hold."""


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
    from crossrec_cli.stages.searcher import Searcher, read_queries  # noqa: PLC0415  torch takes a moment to import

    if asked.query is None and asked.queries is None:
        return {}
    many = read_queries(asked.queries) if asked.queries else ([], [])
    searcher = Searcher.load(config, inputs_of(config, SEARCH), artifact.path)
    if asked.query is not None:
        table = searcher.search(asked.query, asked.user, k=config.search.k)
        _one_list(console, asked, table)
        return {"results": table.drop_columns([t.QUERY, t.USER_ID]).to_pylist()}
    places = searcher.known_users(many[1])
    if unknown := {user for user, place in zip(many[1], places, strict=True) if user is not None and place < 0}:
        console.warn(f"--queries: {len(unknown):,} users are not in the data; each is answered as somebody unknown")
    with console.progress("searching", len(many[0]), "queries") as advance:
        table = searcher.search_all(*many, config.search.k, advance)
    return {"path": str(_written(console, config.run_path / FOUND, table)), "queries": len(many[0])}


def _one_list(console: Console, asked: Asked, table: pa.Table) -> None:
    priced = table[t.PRICE].null_count < table.num_rows
    rows = [
        [
            f"{row[t.RANK]:>3}. {_cut(visible(row[t.TEXT] or row[t.ITEM_ID]))}",
            *([f"{row[t.PRICE]:,.2f}" if row[t.PRICE] is not None else ""] if priced else []),
            figure(row[t.RELEVANCE], 2),
            "" if row[t.INTEREST] is None else f"{row[t.INTEREST]:.4f}",
            figure(row[t.SCORE], 2),
        ]
        for row in table.to_pylist()
    ]
    whom = "" if asked.user is None else f", for {visible(asked.user)}"
    names = ["item", *(["price"] if priced else []), "relevance", "interest", "score"]
    console.table(f"“{_cut(visible(asked.query or ''))}”{whom}", names, rows, wanted=True)


def _cut(name: str) -> str:
    return name if len(name) <= NAME_WIDTH else f"{name[: NAME_WIDTH - 1]}…"


def _written(console: Console, path: Path, table: pa.Table) -> Path:
    draft = path.with_suffix(".draft")
    pq.write_table(table, draft, compression="zstd")
    draft.replace(path)
    console.remark(f"All lists: {path}")
    return path
