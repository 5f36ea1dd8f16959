"""The measures of quality.parquet: what was removed, how sparse the data are, how popular items are, who is shared."""

from __future__ import annotations

from collections import Counter
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import schemas
from crossrec_cli.config.data_fields import Data
from crossrec_cli.data.engine import Engine
from crossrec_cli.data.interactions import CLOCK, likes, may_dislike
from crossrec_cli.data.ledger import Ledger
from crossrec_cli.data.split import Tables

CATEGORIES = 15
"""How many top-level categories are compared by their users; the largest are taken."""
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
YEARS_BY_MONTH = 6
"""Data of more years is counted by year."""


def measure(engine: Engine, tables: Tables, data: Data, ledger: Ledger) -> pa.Table:
    """All measures, as ``schemas.QUALITY``: first those that the ledger noted, then those of the rows that are left."""
    rows = tables.rows.filter(likes(tables.rows))
    if may_dislike(data):
        ledger.note("dislikes", "dislikes", engine.count(tables.rows) - engine.count(rows))
    widest = tables.items.select(c.ITEM_INDEX, c.DOMAIN, name=_widest(tables.items))
    group = ibis.dense_rank().over(order_by=["name", c.DOMAIN]).cast("int32")  # numbers are compared faster than names
    widest = engine.keep(widest.mutate(group=group), "items")
    bought = rows.group_by(c.ITEM_INDEX).aggregate(n=rows.count())
    bought = engine.keep(bought.inner_join(widest.select(c.ITEM_INDEX, c.DOMAIN), c.ITEM_INDEX), "interactions")
    who = rows.select(c.USER_INDEX, c.ITEM_INDEX).inner_join(widest.select(c.ITEM_INDEX, "group"), c.ITEM_INDEX)
    who = engine.keep(who.select(c.USER_INDEX, "group").distinct(), "interactions")
    groups = widest.select("group", "name", c.DOMAIN).distinct()
    _domains(engine, bought, who.inner_join(groups, "group"), ledger)
    _popularity(engine, bought, ledger)
    _shared(engine, who, groups, "shared_users", ledger)
    if len(data.platforms) > 1:
        user = c.USER_NUMBER if c.USER_NUMBER in rows.columns else c.USER_INDEX
        rows = rows.inner_join(tables.user_ids.select(user, c.PLATFORM), user)
        pairs = rows.select(c.USER_INDEX, group=rows[c.PLATFORM]).distinct()
        names = pairs.select("group", name=pairs["group"]).distinct()
        _shared(engine, pairs, names, "shared_platform_users", ledger)
    else:
        rows = rows.mutate(**{c.PLATFORM: ibis.literal(data.platforms[0].name)})
    if data.platforms[0].interactions.columns.timestamp is not None:
        _periods(engine, rows, ledger)
    columns = zip(*ledger.measures, strict=True)
    return pa.table(dict(zip(schemas.QUALITY.names, map(list, columns), strict=True)), schema=schemas.QUALITY)


def _widest(items: ir.Table) -> ir.StringValue:
    return items[c.CATEGORY].re_replace(f"{c.PATH}.*$", "").fill_null("without a category")


def _domains(engine: Engine, bought: ir.Table, who: ir.Table, ledger: Ledger) -> None:
    users = who.group_by(c.DOMAIN).aggregate(users=who[c.USER_INDEX].nunique())
    sizes = bought.group_by(c.DOMAIN).aggregate(interactions=bought["n"].sum(), items=bought.count())
    domains = engine.fetch(sizes.inner_join(users, c.DOMAIN).order_by(c.DOMAIN)).to_pylist()
    for row in domains:
        for name in ("interactions", "users", "items"):
            ledger.note(name, row[c.DOMAIN], row[name])
        ledger.note("density", row[c.DOMAIN], row["interactions"] / (row["users"] * row["items"]))
    if len(domains) == 2:
        both = who.group_by(c.USER_INDEX).aggregate(domains=who[c.DOMAIN].nunique())
        ledger.note("users", "both", engine.count(both.filter(both["domains"] == 2)))


def _popularity(engine: Engine, bought: ir.Table, ledger: Ledger) -> None:
    """The share of the interactions that the most popular items have."""
    most = ibis.window(group_by=c.DOMAIN, order_by=[ibis.desc("n"), c.ITEM_INDEX])
    bought = bought.mutate(
        rank=ibis.row_number().over(most) + 1,
        items=bought.count().over(group_by=c.DOMAIN),
    )
    sums = {
        str(share): (bought["rank"] <= (bought["items"] * share).ceil()).ifelse(bought["n"], 0).sum()
        for share in SHARES
    }
    heads = bought.group_by(c.DOMAIN).aggregate(all=bought["n"].sum(), **sums).order_by(c.DOMAIN)
    for row in engine.fetch(heads).to_pylist():
        for share in SHARES:
            ledger.note("popularity", str(share), row[str(share)] / row["all"], row[c.DOMAIN])


def _shared(engine: Engine, pairs: ir.Table, names: ir.Table, measure: str, ledger: Ledger) -> None:
    """How many users each two of the largest groups share; ``pairs`` are distinct users and groups."""
    largest = pairs.group_by("group").aggregate(n=pairs.count()).order_by(ibis.desc("n"), "group").limit(CATEGORIES)
    pairs = engine.keep(pairs.semi_join(largest, "group"), "interactions")
    other = pairs.select(c.USER_INDEX, other=pairs["group"])
    both = pairs.inner_join(other, c.USER_INDEX)
    both = both.filter(both["group"] <= both["other"])
    both = both.group_by("group", "other").aggregate(n=both.count())
    name = _unique_names(engine.fetch(names).to_pylist())
    shared = {(row["group"], row["other"]): row["n"] for row in engine.fetch(both).to_pylist()}
    shared |= {(other, group): n for (group, other), n in shared.items()}
    for (group, other), n in sorted(shared.items()):
        ledger.note(measure, name[group], n, name[other])


def _unique_names(groups: list[dict[str, Any]]) -> dict[int, str]:
    """Each group's name, with its domain if source and target both have a group of that name."""
    same = Counter(row["name"] for row in groups)
    return {
        row["group"]: row["name"] if same[row["name"]] == 1 else f"{row['name']} ({row[c.DOMAIN]})" for row in groups
    }


def _periods(engine: Engine, rows: ir.Table, ledger: Ledger) -> None:
    month = rows[CLOCK].truncate("M")
    counted = rows.group_by(c.PLATFORM, month=month).aggregate(n=rows.count()).order_by("month", c.PLATFORM)
    months = engine.fetch(counted).to_pylist()
    by_month = months[-1]["month"].year - months[0]["month"].year < YEARS_BY_MONTH
    periods: Counter[tuple[str, str]] = Counter()
    for row in months:
        periods[f"{row['month']:{'%Y-%m' if by_month else '%Y'}}", row[c.PLATFORM]] += row["n"]
    for (period, platform), number in periods.items():
        ledger.note("per_period", period, number, platform)
