"""The results of ``crossrec search`` on the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from crossrec_cli.artifacts import columns as c
from crossrec_cli.console.terminal import Console, visible
from crossrec_cli.report.formatting import figure

ITEM = "item"


def written(console: Console, path: Path, queries: int) -> dict[str, Any]:
    """Print where the results of a file of queries are.

    Returns:
        The same for ``--json``.
    """
    console.remark(f"All results: {path}")
    return {"path": str(path), "queries": queries}


def results(console: Console, query: str, user: str | None, table: pa.Table) -> dict[str, Any]:
    """Print the results of one query as a table.

    Returns:
        The same for ``--json``.
    """
    _one_list(console, query, user, table)
    return {"results": table.drop_columns([c.QUERY, c.USER_ID]).to_pylist()}


def _one_list(console: Console, query: str, user: str | None, table: pa.Table) -> None:
    for_user = "" if user is None else f", for {visible(user)}"
    console.result(console.fit(Text(f"“{visible(query)}”{for_user}", style="bold")), always=True)
    if not table.num_rows:
        console.result(Text("no results: no item has a word of the query or a similar meaning"), always=True)
        return
    items = [visible(item) for item in table[c.ITEM_ID].to_pylist()]
    width = max(map(cell_len, [ITEM, *items]))
    priced = table[c.PRICE].null_count < table.num_rows
    heads = f"{c.SCORE:>11} {c.RELEVANCE:>9} {c.INTEREST:>8} {c.PRICE if priced else '':>8}"
    console.result(Text(f"{heads.rstrip()}  {ITEM}", style="cyan"), always=True)
    for row, item in zip(table.to_pylist(), items, strict=True):
        interest = "" if row[c.INTEREST] is None else f"{row[c.INTEREST]:.4f}"
        price = "" if row[c.PRICE] is None else f"{row[c.PRICE]:,.2f}"
        figures = f"{figure(row[c.SCORE], 2):>6} {figure(row[c.RELEVANCE], 2):>9} {interest:>8}"
        figures += f" {price:>8}" if priced else ""
        line = f"{row[c.RANK]:>3}. {figures}  {set_cell_size(item, width)}  {visible(row[c.TEXT] or '')}"
        console.result(console.fit(Text(line.rstrip())), always=True)
