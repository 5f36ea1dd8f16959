"""Values of the raw data that look like no person, no product or no tag, for ``crossrec data check``."""

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

NO_USER = r"^(nan|null|none|nil|n/?a|undefined|unknown|anon(ymous)?|guest|gast)$"
ZERO = r"^(0+|-1)$"
"""May be a real id if ids are counted from 0, so it is a suspect only with many rows."""
MUCH = 5
"""Many rows: so many times the mean of all users."""
LARGE, TIMES = 0.05, 20
"""No single person has this share of all rows and so many times the mean of the others."""
NO_PRODUCT = (
    r"^(test[\W_]?\d*|test[\W_](item|product|article).*|(dotcom )?post(age|en)?|porto|shipping( .*)?|delivery( .*)?"
    r"|versand(kosten)?|freight|carriage|discount|rabatt|coupon|voucher|gutschein|(.* )?fees?|bank[\W_]?charges"
    r"|adjust(ment)?( .*)?|manual|samples?|deposit|pfand|donation|spende|tip)$"
)
FREE = 0.2
"""If more of the items cost nothing, the price is no evidence."""
WITH_DIGITS, OFTEN = 0.9, 3
"""An id without digits is unusual if this share has some; it is a suspect if it sells so many times the mean."""
MOST = 10
DIFFERENT = 0.5
"""A tag column with more distinct values than this share of its rows identifies users instead of describing them."""
FEW_ROWS = 20


@dataclass(frozen=True)
class Suspect:
    """Something to look at."""

    kind: str
    """``guest account``, ``no product``, ``tag``, or a label of the measure ``catalogue``."""
    platform: str
    id: str
    """Of a user or item, or a column's name; empty if it is about many."""
    rows: int
    """How many rows have it."""
    text: str
    """What it looks like and what to do, in one line."""


def guests(engine: Engine, rows: ir.Table, platform: str) -> Iterator[Suspect]:
    """User ids that many people share, in rows of ``read_interactions``."""
    user_id = c.PLATFORM_USER_ID
    rows = rows.drop_null(user_id)
    counts = engine.keep(rows.group_by(user_id).aggregate(n=rows.count()), "interactions")
    sizes = engine.fetch(counts.aggregate(n=counts["n"].sum(), users=counts.count())).to_pylist()[0]
    total, users = sizes["n"] or 0, max(sizes["users"], 1)
    name = counts[user_id].lower()
    large = (counts["n"] >= LARGE * total) & (counts["n"] * max(users - 1, 1) >= TIMES * (total - counts["n"]))
    named = name.re_search(NO_USER) | (name.re_search(ZERO) & (counts["n"] >= MUCH * total / users))
    chosen = counts.filter((large & (users > 1)) | named).order_by(ibis.desc("n"), user_id).limit(MOST)
    for row in engine.fetch(chosen).to_pylist():
        text = (
            f"user '{row[user_id]}' has {row['n'] / total:.1%} of the rows and looks like a guest account: leave the "
            "id empty in the export, and these rows are removed"
        )
        yield Suspect("guest account", platform, row[user_id], row["n"], text)


def no_products(engine: Engine, rows: ir.Table, cleaned: Cleaned, data: Data, index: int) -> Iterator[Suspect]:
    """Items that look like postage, tests and the like, the most frequent first."""
    platform = data.platforms[index].name
    ids = cleaned.item_ids.filter(cleaned.item_ids[c.PLATFORM] == platform).select(c.PLATFORM_ITEM_ID, c.ITEM_KEY)
    items = ids.inner_join(cleaned.items.select(c.ITEM_KEY, c.TEXT, c.PRICE), c.ITEM_KEY)
    items = items.left_join(rows.group_by(c.PLATFORM_ITEM_ID).aggregate(n=rows.count()), c.PLATFORM_ITEM_ID)
    item_id = items[c.PLATFORM_ITEM_ID]
    items = items.select(
        n=items["n"].fill_null(0),
        id=item_id,
        named=item_id.lower().re_search(NO_PRODUCT) | items[c.TEXT].lower().re_search(NO_PRODUCT).fill_null(False),
        free=(items[c.PRICE] == 0).fill_null(False),
        wordy=~item_id.re_search(r"\d"),
    )
    items = engine.keep(items, "items")
    sizes = engine.fetch(items.aggregate(**{name: items[name].mean() for name in ("n", "free", "wordy")})).to_pylist()[
        0
    ]
    tests = [(items["named"], "has the name of a fee, postage or a test")]
    if 0 < (sizes["free"] or 0) <= FREE:
        tests.append((items["free"], "costs nothing"))
    if 0 < (sizes["wordy"] or 0) <= 1 - WITH_DIGITS:
        often = items["wordy"] & (items["n"] >= OFTEN * sizes["n"])
        tests.append((often, "is bought often, and its id has no digit although nearly all others have one"))
    why = ibis.cases(*tests, else_=ibis.null("string"))
    chosen = items.select("id", "n", why=why).drop_null("why").order_by(ibis.desc("n"), "id").limit(MOST)
    for row in engine.fetch(chosen).to_pylist():
        text = (
            f"item '{row['id']}' {row['why']}, in {row['n']:,} rows: if it is no product, name it in "
            f"data.platforms[{index}].items.exclude"
        )
        yield Suspect("no product", platform, row["id"], row["n"], text)


def unlike_tags(engine: Engine, data: Data, index: int) -> Iterator[Suspect]:
    """Columns of the users file with another value in nearly every row, such as a name or an address."""
    platform, spec = data.platforms[index].name, data.platforms[index].users
    if spec is None or not spec.tags:
        return
    raw = engine.read(spec)
    sizes: dict[str, ir.Value] = {}
    for number, tag in enumerate(spec.tags):
        sizes |= {f"rows {number}": raw[tag].count(), f"values {number}": raw[tag].nunique()}
    counts = engine.fetch(raw.aggregate(**sizes)).to_pylist()[0]
    for number, tag in enumerate(spec.tags):
        rows, values = counts[f"rows {number}"], counts[f"values {number}"]
        if rows >= FEW_ROWS and values > DIFFERENT * rows:
            text = (
                f"tag column '{tag}' has {values:,} values in {rows:,} rows: it identifies users instead of "
                f"describing groups; remove it from data.platforms[{index}].users.tags"
            )
            yield Suspect("tag", platform, tag, rows, text)


def descriptions(
    measures: list[tuple[str, str, str | None, float]], described: list[dict[str, Any]]
) -> Iterator[Suspect]:
    """What the ledger noted about the catalogue: counts by problem, and the items with most descriptions."""
    for measure, label, platform, count in measures:
        if measure == "catalogue" and count:
            yield Suspect(label, platform or "", "", int(count), f"{count:,.0f} items are {label}")
    for one in described:
        values = ", ".join(f"'{value}' {rows:,}" for value, rows in one["values"][:3])
        rows = sum(count for _, count in one["values"])
        text = f"item '{one[c.ITEM_ID]}' has more than one {one['column']}: {values} rows; the first is used"
        yield Suspect("described in more than one way", one[c.PLATFORM], one[c.ITEM_ID], rows, text)
