"""Similar items and audiences on the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from crossrec_cli.artifacts import columns as c
from crossrec_cli.console.terminal import Console, visible
from crossrec_cli.ranking.audience import Audience
from crossrec_cli.report.formatting import figure

SHOWN = 10
"""Users of an audience that are printed."""


def similar(console: Console, parts: Iterable[pa.Table], catalogue: pa.Table) -> dict[str, Any]:
    """Print the lists of some items, one after another.

    Args:
        console: prints them.
        parts: rows of ``schemas.SIMILAR``.
        catalogue: rows of ``schemas.ITEMS``.

    Returns:
        The lists by item id, for ``--json``.
    """
    document = {}
    for rows in parts:
        for item in pc.unique(rows[c.ITEM_ID]).to_pylist():
            (named,) = catalogue.filter(pc.equal(catalogue[c.ITEM_ID], item))[c.TEXT].to_pylist()
            console.result(console.fit(Text(f"{visible(item)}  {visible(named or '')}", style="bold")), always=True)
            document[item] = rows.filter(pc.equal(rows[c.ITEM_ID], item)).drop_columns([c.ITEM_ID]).to_pylist()
            widths = [
                max(cell_len(visible(row[name])) for row in document[item]) for name in (c.KIND, c.SIMILAR_ITEM_ID)
            ]
            for row in document[item]:
                kind, other = (
                    set_cell_size(visible(row[name]), width)
                    for name, width in zip((c.KIND, c.SIMILAR_ITEM_ID), widths, strict=True)
                )
                line = f"{row[c.RANK]:>4}. {row[c.SCORE]:.4f}  {kind}  {other}  {visible(row[c.TEXT] or '')}".rstrip()
                console.result(console.fit(Text(line)), always=True)
            console.result(Text(), always=True)
    return {"similar": document}


def all_similar(console: Console, path: Path, rows: int) -> dict[str, Any]:
    """Print where the lists of all items are.

    Returns:
        The same for ``--json``.
    """
    console.remark(f"All lists: {path}, {rows:,} rows")
    return {"path": str(path), "rows": rows}


def audience(console: Console, path: Path, likeliest: Audience) -> dict[str, Any]:
    """Print the first users of an audience, how many of all are expected to buy, and where they are.

    Returns:
        The same for ``--json``.
    """
    with pq.ParquetFile(path) as file:
        first = next(file.iter_batches(SHOWN), None)
    shown = first.to_pylist() if first else []
    for row in shown:
        item = f"  {visible(row[c.ITEM_ID])}" if len(likeliest.items) > 1 else ""
        line = f"{row[c.RANK]:>4}. {row[c.SCORE]:.4f}  {visible(row[c.USER_ID])}{item}"
        console.result(console.fit(Text(line)), always=True)
        if row[c.BECAUSE]:
            console.result(console.fit(Text(f"      {visible(row[c.BECAUSE])}", style="dim")), always=True)
    lift, expected = figure(likeliest.expected_lift, 1), likeliest.expected_buyers
    buyers = f"{expected:.{1 if expected >= 1 else 3}f} expected to buy, {lift} times as many as of random ones"
    console.result(Text(f"{len(likeliest.users):,} users: {buyers}"), always=True)
    console.remark(f"Left out, as they have it already: {likeliest.owners:,}")
    console.remark(f"All users: {path}")
    return {
        "path": str(path),
        "users": len(likeliest.users),
        "expected_buyers": likeliest.expected_buyers,
        "expected_lift": likeliest.expected_lift,
        "owners_left_out": likeliest.owners,
        "first": shown,
    }
