"""Figures of the data as they stand in quality.parquet: what was left out, how sparse, how popular, how shared."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from crossrec_cli.artifacts import tables as t
from crossrec_cli.data.clean import ITEM, USER, Cleaned
from crossrec_cli.data.engine import Engine
from crossrec_cli.data.ledger import Ledger
from crossrec_cli.data.values import PATH

CATEGORIES = 15
"""The largest widest categories whose users are compared."""
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
YEARS_BY_MONTH = 6
"""Longer data is shown by the year."""


def measure(engine: Engine, cleaned: Cleaned, ledger: Ledger) -> pa.Table:
    """All measures, as ``tables.QUALITY``: those that the ledger noted on the way, then those of what is left."""
    rows = cleaned.rows
    _domains(engine, rows, ledger)
    _popularity(engine, rows, ledger)
    widest = cleaned.items.select(ITEM, category=cleaned.items[t.CATEGORY].re_replace(f"{PATH}.*$", ""))
    _shared(engine, rows.inner_join(widest, ITEM).select(USER, group=ibis._["category"]), "shared_users", ledger)
    if engine.fetch(rows.aggregate(n=rows[t.PLATFORM].nunique()))["n"][0].as_py() > 1:
        _shared(engine, rows.select(USER, group=rows[t.PLATFORM]), "shared_platform_users", ledger)
    _periods(engine, rows, ledger)
    columns = zip(*ledger.measures, strict=True)
    return pa.table(dict(zip(t.QUALITY.names, map(list, columns), strict=True)), schema=t.QUALITY)


def _domains(engine: Engine, rows: ir.Table, ledger: Ledger) -> None:
    sizes = rows.group_by(t.DOMAIN).aggregate(
        interactions=rows.count(), users=rows[USER].nunique(), items=rows[ITEM].nunique()
    )
    for row in engine.fetch(sizes.order_by(t.DOMAIN)).to_pylist():
        for name in ("interactions", "users", "items"):
            ledger.note(name, row[t.DOMAIN], row[name])
        ledger.note("density", row[t.DOMAIN], row["interactions"] / (row["users"] * row["items"]))
    both = rows.group_by(USER).aggregate(domains=rows[t.DOMAIN].nunique())
    both = both.filter(both["domains"] == 2)
    ledger.note("users", "both", engine.fetch(both.aggregate(n=both.count()))["n"][0].as_py())


def _popularity(engine: Engine, rows: ir.Table, ledger: Ledger) -> None:
    """The share of the interactions that the most bought items take."""
    bought = rows.group_by(t.DOMAIN, ITEM).aggregate(n=rows.count())
    most = ibis.window(group_by=t.DOMAIN, order_by=[ibis.desc("n"), ITEM])
    bought = bought.mutate(
        place=ibis.row_number().over(most) + 1,
        items=bought.count().over(group_by=t.DOMAIN),
        all=bought["n"].sum().over(group_by=t.DOMAIN),
    )
    bought = engine.keep(bought, "interactions")
    for share in SHARES:
        head = bought.filter(bought["place"] <= (bought["items"] * share).ceil())
        taken = head.group_by(t.DOMAIN).aggregate(share=head["n"].sum() / head["all"].max())
        for row in engine.fetch(taken.order_by(t.DOMAIN)).to_pylist():
            ledger.note("popularity", str(share), row["share"], row[t.DOMAIN])


def _shared(engine: Engine, rows: ir.Table, name: str, ledger: Ledger) -> None:
    """How many users each two groups share."""
    pairs = engine.keep(rows.distinct(), "interactions")
    largest = pairs.group_by("group").aggregate(n=pairs.count()).order_by(ibis.desc("n"), "group").limit(CATEGORIES)
    pairs = engine.keep(pairs.semi_join(largest, "group"), "interactions")
    other = pairs.select(USER, other=pairs["group"])
    both = pairs.inner_join(other, USER)
    both = both.group_by("group", "other").aggregate(n=both.count()).order_by("group", "other")
    for row in engine.fetch(both).to_pylist():
        ledger.note(name, row["group"], row["n"], row["other"])


def _periods(engine: Engine, rows: ir.Table, ledger: Ledger) -> None:
    timed = rows.drop_null(t.TIMESTAMP)
    span = engine.fetch(timed.aggregate(first=timed[t.TIMESTAMP].min(), last=timed[t.TIMESTAMP].max())).to_pylist()[0]
    if span["first"] is None:
        return
    by_month = span["last"].year - span["first"].year < YEARS_BY_MONTH
    period = timed[t.TIMESTAMP].strftime("%Y-%m" if by_month else "%Y")
    counted = timed.group_by(t.PLATFORM, period=period).aggregate(n=timed.count()).order_by("period", t.PLATFORM)
    for row in engine.fetch(counted).to_pylist():
        ledger.note("per_period", row["period"], row["n"], row[t.PLATFORM])
