"""One description an item, where several rows of a file describe it."""

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
"""Of these the value in most rows is taken."""
LATEST = "latest"
"""When an item was last described in this way; null where the file knows no times."""
LISTED = 10
"""So many items that are described in more than one way are listed."""


def ways(rows: ir.Table) -> ir.Table:
    """The different rows, each once, with ``n``, how many are alike, the ``LATEST`` and the first of them.

    Order lines of two million rows describe some thousand items: what follows then looks at these alone.
    """
    same = [name for name in rows.columns if name not in (SOURCE_ROW, LATEST)]
    return rows.group_by(same).aggregate(
        n=rows.count(), **{LATEST: rows[LATEST].max(), SOURCE_ROW: rows[SOURCE_ROW].min()}
    )


def one_each(engine: Engine, described: ir.Table, timed: bool) -> tuple[ir.Table, int, list[dict[str, Any]]]:
    """One row an item: the most frequent text, category, brand and language, and the latest, else the median price.

    A price of 0 or less counts where an item has no other: stock corrections and gifts are booked so.

    Args:
        engine: the engine.
        described: kept; ``ITEM_ID``, ``VOTED``, ``PRICE`` and what ``ways`` adds.
        timed: whether the rows have times.

    Returns:
        The items; how many are described in more than one way; and the most frequent ones of these, as ``item_id``,
        ``column`` and ``values``, pairs of a value and its rows. Prices that change with time are no such way.
    """
    several = described.group_by(c.ITEM_ID).aggregate(ways=described.count())
    several = engine.keep(several.filter(several["ways"] > 1), "items")
    if not engine.count(several):
        return described.drop("n", LATEST), 0, []
    more = engine.keep(described.semi_join(several, c.ITEM_ID), "items")
    told = [c.TEXT, c.CATEGORY, c.BRAND, c.LANGUAGE] if timed else [*VOTED, c.PRICE]
    differ = ibis.or_(*((more[name].min() != more[name].max()).fill_null(False) for name in told))
    varied = more.group_by(c.ITEM_ID).aggregate(differ=differ, n=more["n"].sum())
    varied = engine.keep(varied.filter(varied["differ"]), "items")
    most = varied.order_by(ibis.desc("n"), c.ITEM_ID).limit(LISTED)
    listed = _listed(engine.fetch(more.semi_join(most, c.ITEM_ID)).to_pylist(), told)
    once = described.anti_join(several, c.ITEM_ID).drop("n", LATEST)
    found, count = engine.keep(once.union(_chosen(more, timed).select(once.columns)), "items"), engine.count(varied)
    for done in (described, several, more, varied):
        engine.drop(done)
    return found, count, listed


def _chosen(more: ir.Table, timed: bool) -> ir.Table:
    """One row for each item of several."""
    alike = {f"{name} n": more["n"].sum().over(group_by=[c.ITEM_ID, name]) for name in VOTED}
    unpriced = ~(more[c.PRICE] > 0).fill_null(False)
    votes = more.mutate(**alike, unpriced=unpriced, priced=unpriced.ifelse(0, more["n"]))
    until = ibis.window(group_by=c.ITEM_ID, order_by=[c.PRICE, SOURCE_ROW], rows=(None, 0))
    half = votes["priced"].sum().over(group_by=c.ITEM_ID) / 2
    votes = votes.mutate(below_half=votes["priced"].sum().over(until) < half)

    def first(name: str, order: Sequence[Any]) -> ir.Column:
        order = [votes[name].isnull(), *order, name]
        return votes[name].first(include_null=True).over(group_by=c.ITEM_ID, order_by=order)

    chosen = {name: first(name, [ibis.desc(f"{name} n")]) for name in VOTED}
    best = [ibis.desc(LATEST), ibis.desc("n")] if timed else ["below_half"]
    chosen[c.PRICE] = first(c.PRICE, ["unpriced", *best])
    nth = ibis.row_number().over(group_by=c.ITEM_ID, order_by=SOURCE_ROW)
    return votes.select(SOURCE_ROW, c.ITEM_ID, c.PLATFORM, nth=nth, **chosen).filter(ibis._["nth"] == 0).drop("nth")


def _listed(rows: list[dict[str, Any]], told: list[str]) -> list[dict[str, Any]]:
    """What differs between the rows of each item, the most frequent value first."""
    found = []
    ids = Counter[str]()
    for row in rows:
        ids[row[c.ITEM_ID]] += row["n"]
    for item_id, _ in sorted(ids.items(), key=lambda pair: (-pair[1], pair[0])):
        for name in told:
            values = Counter[Any]()
            for row in rows:
                if row[c.ITEM_ID] == item_id and row[name] is not None:
                    values[row[name]] += row["n"]
            if len(values) > 1:
                pairs = sorted(values.items(), key=lambda pair: (-pair[1], pair[0]))
                found.append({c.ITEM_ID: item_id, "column": name, "values": pairs})
    return found
