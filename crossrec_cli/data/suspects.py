"""What stands in the raw data and looks like no person, no product or no tag, for ``crossrec data check``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.types as ir

from crossrec_cli.artifacts import columns as c
from crossrec_cli.config.data_fields import Data
from crossrec_cli.data.clean import Cleaned
from crossrec_cli.data.engine import Engine
from crossrec_cli.data.identity import OWN
from crossrec_cli.data.interactions import ITEM

NOBODY = r"^(nan|null|none|nil|n/?a|undefined|unknown|anon(ymous)?|guest|gast)$"
ZERO = r"^(0+|-1)$"
"""An id like others where ids are counted from 0, so what is bought under it has to be much as well."""
MUCH = 5
"""Times the mean user's rows."""
LARGE, TIMES = 0.05, 20
"""One person does not do this share of everything, when it is so many times what the mean of the others does."""
NO_PRODUCT = (
    r"^(test[\W_]?\d*|test[\W_](item|product|article).*|(dotcom )?post(age|en)?|porto|shipping( .*)?|delivery( .*)?"
    r"|versand(kosten)?|freight|carriage|discount|rabatt|coupon|voucher|gutschein|(.* )?fees?|bank[\W_]?charges"
    r"|adjust(ment)?( .*)?|manual|samples?|deposit|pfand|donation|spende|tip)$"
)
FREE = 0.2
"""Where more of the items cost nothing, the price says nothing."""
WITH_DIGITS, OFTEN = 0.9, 3
"""An id without digits stands out where so many have some; it is named where it sells so many times the mean."""
MOST = 10
DIFFERENT = 0.5
"""A tag column with more different values than this share of its rows says who somebody is, and not what they are."""
FEW_ROWS = 20


@dataclass(frozen=True)
class Suspect:
    """Something to look at."""

    kind: str
    """``guest account``, ``no product``, ``tag``, or a label of the measure ``catalogue``."""
    platform: str
    id: str
    """Of a user or item, or a column's name; empty where it is of many."""
    rows: int
    """How many speak of it."""
    text: str
    """What it looks like and what to do, in one line."""


def guests(engine: Engine, rows: ir.Table, platform: str) -> Iterator[Suspect]:
    """User ids that are many people's, of ``read_interactions``."""
    rows = rows.drop_null(c.USER_ID)
    counts = engine.keep(rows.group_by(c.USER_ID).aggregate(n=rows.count()), "interactions")
    sizes = engine.fetch(counts.aggregate(n=counts["n"].sum(), users=counts.count())).to_pylist()[0]
    total, users = sizes["n"] or 0, max(sizes["users"], 1)
    name = counts[c.USER_ID].lower()
    large = (counts["n"] >= LARGE * total) & (counts["n"] * max(users - 1, 1) >= TIMES * (total - counts["n"]))
    named = name.re_search(NOBODY) | (name.re_search(ZERO) & (counts["n"] >= MUCH * total / users))
    chosen = counts.filter((large & (users > 1)) | named).order_by(ibis.desc("n"), c.USER_ID).limit(MOST)
    for row in engine.fetch(chosen).to_pylist():
        text = (
            f"user '{row[c.USER_ID]}' has {row['n'] / total:.1%} of the rows and looks like a guest account: leave the "
            "id empty in the export, and these rows are left out"
        )
        yield Suspect("guest account", platform, row[c.USER_ID], row["n"], text)


def no_products(engine: Engine, rows: ir.Table, cleaned: Cleaned, data: Data, index: int) -> Iterator[Suspect]:
    """Items that look like postage, tests and the like, the most frequent first."""
    platform = data.platforms[index].name
    own = cleaned.listings.filter(cleaned.listings[c.PLATFORM] == platform).select(OWN, ITEM)
    own = own.inner_join(cleaned.items.select(ITEM, c.TEXT, c.PRICE), ITEM)
    bought = rows.group_by(c.ITEM_ID).aggregate(n=rows.count())
    own = own.left_join(bought, own[OWN] == bought[c.ITEM_ID])
    item_id = own[OWN]
    own = own.select(
        n=own["n"].fill_null(0),
        id=item_id,
        named=item_id.lower().re_search(NO_PRODUCT) | own[c.TEXT].lower().re_search(NO_PRODUCT).fill_null(False),
        free=(own[c.PRICE] == 0).fill_null(False),
        wordy=~item_id.re_search(r"\d"),
    )
    own = engine.keep(own, "items")
    sizes = engine.fetch(own.aggregate(**{name: own[name].mean() for name in ("n", "free", "wordy")})).to_pylist()[0]
    tests = [(own["named"], "has the name of a fee, postage or a test")]
    if 0 < (sizes["free"] or 0) <= FREE:
        tests.append((own["free"], "costs nothing"))
    if 0 < (sizes["wordy"] or 0) <= 1 - WITH_DIGITS:
        often = own["wordy"] & (own["n"] >= OFTEN * sizes["n"])
        tests.append((often, "is bought often, and its id has no digit where nearly all others have"))
    why = ibis.cases(*tests, else_=ibis.null("string"))
    chosen = own.select("id", "n", why=why).drop_null("why").order_by(ibis.desc("n"), "id").limit(MOST)
    for row in engine.fetch(chosen).to_pylist():
        text = (
            f"item '{row['id']}' {row['why']}, in {row['n']:,} rows: if it is no product, name it in "
            f"data.platforms[{index}].items.exclude"
        )
        yield Suspect("no product", platform, row["id"], row["n"], text)


def unlike_tags(engine: Engine, data: Data, index: int) -> Iterator[Suspect]:
    """Columns of the users file that differ from row to row, such as a name or an address."""
    platform, spec = data.platforms[index].name, data.platforms[index].users
    if spec is None or not spec.tags:
        return
    raw = engine.read(spec)
    sizes: dict[str, ir.Value] = {}
    for number, tag in enumerate(spec.tags):
        sizes |= {f"rows {number}": raw[tag].count(), f"values {number}": raw[tag].nunique()}
    found = engine.fetch(raw.aggregate(**sizes)).to_pylist()[0]
    for number, tag in enumerate(spec.tags):
        rows, values = found[f"rows {number}"], found[f"values {number}"]
        if rows >= FEW_ROWS and values > DIFFERENT * rows:
            text = (
                f"tag column '{tag}' has {values:,} values in {rows:,} rows: it tells people apart, not kinds; "
                f"take it out of data.platforms[{index}].users.tags"
            )
            yield Suspect("tag", platform, tag, rows, text)


def descriptions(
    measures: list[tuple[str, str, str | None, float]], described: list[dict[str, Any]]
) -> Iterator[Suspect]:
    """What the ledger noted of the catalogue: how many items, and of those with several descriptions the largest."""
    for measure, label, platform, count in measures:
        if measure == "catalogue" and count:
            yield Suspect(label, platform or "", "", int(count), f"{count:,.0f} items are {label}")
    for one in described:
        values = ", ".join(f"'{value}' {rows:,}" for value, rows in one["values"][:3])
        rows = sum(count for _, count in one["values"])
        text = f"item '{one[c.ITEM_ID]}' has more than one {one['column']}: {values} rows; the first is taken"
        yield Suspect("described in more than one way", one[c.PLATFORM], one[c.ITEM_ID], rows, text)
