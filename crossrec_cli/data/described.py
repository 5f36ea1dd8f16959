"""One description for each item, if several rows of a file describe it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import ibis
import ibis.expr.types as ir

from crossrec_cli.artifacts import columns as c
from crossrec_cli.data.engine import Engine
from crossrec_cli.data.raw_files import SOURCE_ROW

VOTED = (c.TEXT, c.CATEGORY, c.BRAND, c.LANGUAGE)
"""Of these columns the most frequent value is used."""
LATEST = "latest"
"""The latest time of a description; null if the file has no times."""
LISTED = 10
"""How many items with several descriptions are listed."""


def distinct_descriptions(rows: ir.Table) -> ir.Table:
    """The distinct rows, with ``n``, how many are equal, and the ``LATEST`` and the first ``SOURCE_ROW`` of them.

    Two million order lines may describe some thousand items: the next steps then read only the distinct rows.
    """
    same = [name for name in rows.columns if name not in (SOURCE_ROW, LATEST)]
    return rows.group_by(same).aggregate(
        n=rows.count(), **{LATEST: rows[LATEST].max(), SOURCE_ROW: rows[SOURCE_ROW].min()}
    )


def one_each(engine: Engine, described: ir.Table, timed: bool) -> tuple[ir.Table, int, list[dict[str, Any]]]:
    """One row an item: the most frequent text, category, brand and language, and the latest, else the median price.

    A price of 0 or less is used only if an item has no other: it may be a stock correction or a gift.

    Args:
        engine: the engine.
        described: kept; ``PLATFORM_ITEM_ID``, ``VOTED``, ``PRICE`` and what ``distinct_descriptions`` adds.
        timed: whether the rows have times.

    Returns:
        The items; how many have more than one description; and the most frequent ones of these, as ``item_id``,
        ``column`` and ``values``, pairs of a value and its rows. Prices may differ if the rows have times.
    """
    item_id = c.PLATFORM_ITEM_ID
    several = described.group_by(item_id).aggregate(descriptions=described.count())
    several = engine.keep(several.filter(several["descriptions"] > 1), "items")
    if not engine.count(several):
        return described.drop("n", LATEST), 0, []
    more = engine.keep(described.semi_join(several, item_id), "items")
    compared = [*VOTED] if timed else [*VOTED, c.PRICE]
    differ = ibis.or_(*((more[name].min() != more[name].max()).fill_null(False) for name in compared))
    varied = more.group_by(item_id).aggregate(differ=differ, n=more["n"].sum())
    varied = engine.keep(varied.filter(varied["differ"]), "items")
    most = varied.order_by(ibis.desc("n"), item_id).limit(LISTED)
    listed = _listed(engine.fetch(more.semi_join(most, item_id)).to_pylist(), compared)
    once = described.anti_join(several, item_id).drop("n", LATEST)
    items, count = engine.keep(once.union(_chosen(more, timed).select(once.columns)), "items"), engine.count(varied)
    for table in (described, several, more, varied):
        engine.drop(table)
    return items, count, listed


def _chosen(more: ir.Table, timed: bool) -> ir.Table:
    """One row for each item with several descriptions."""
    item_id = c.PLATFORM_ITEM_ID
    counts = {f"{name} n": more["n"].sum().over(group_by=[item_id, name]) for name in VOTED}
    unpriced = ~(more[c.PRICE] > 0).fill_null(False)
    votes = more.mutate(**counts, unpriced=unpriced, priced=unpriced.ifelse(0, more["n"]))
    until = ibis.window(group_by=item_id, order_by=[c.PRICE, SOURCE_ROW], rows=(None, 0))
    half = votes["priced"].sum().over(group_by=item_id) / 2
    votes = votes.mutate(below_half=votes["priced"].sum().over(until) < half)

    def first(name: str, order: Sequence[Any]) -> ir.Column:
        order = [votes[name].isnull(), *order, name]
        return votes[name].first(include_null=True).over(group_by=item_id, order_by=order)

    chosen = {name: first(name, [ibis.desc(f"{name} n")]) for name in VOTED}
    best = [ibis.desc(LATEST), ibis.desc("n")] if timed else ["below_half"]
    chosen[c.PRICE] = first(c.PRICE, ["unpriced", *best])
    nth = ibis.row_number().over(group_by=item_id, order_by=SOURCE_ROW)
    return votes.select(SOURCE_ROW, item_id, c.PLATFORM, nth=nth, **chosen).filter(ibis._["nth"] == 0).drop("nth")


def _listed(rows: list[dict[str, Any]], compared: list[str]) -> list[dict[str, Any]]:
    """The values that differ between the rows of each item, the most frequent first."""
    listed = []
    ids = Counter[str]()
    for row in rows:
        ids[row[c.PLATFORM_ITEM_ID]] += row["n"]
    for item_id, _ in sorted(ids.items(), key=lambda pair: (-pair[1], pair[0])):
        for name in compared:
            values = Counter[Any]()
            for row in rows:
                if row[c.PLATFORM_ITEM_ID] == item_id and row[name] is not None:
                    values[row[name]] += row["n"]
            if len(values) > 1:
                pairs = sorted(values.items(), key=lambda pair: (-pair[1], pair[0]))
                listed.append({c.ITEM_ID: item_id, "column": name, "values": pairs})
    return listed
