"""Rules that compare rows with each other: duplicates, bots, returns, repeats, users and items with too few rows.

``interactions`` has the rules for a row by itself.
"""

from __future__ import annotations

from itertools import count

import ibis
import ibis.expr.types as ir

from crossrec_cli.artifacts import columns as c
from crossrec_cli.config.data_fields import Data
from crossrec_cli.data.engine import Engine
from crossrec_cli.data.interactions import (
    CLOCK,
    IS_RETURN,
    columns_to_carry,
    likes,
    may_dislike,
    may_return,
    tie_break_order,
)
from crossrec_cli.data.ledger import Ledger, Reason
from crossrec_cli.data.raw_files import SOURCE_ROW
from crossrec_cli.errors import InputError

SMALLEST_WEIGHT = 1e-6
"""Of the oldest interactions; a weight of 0 would remove them."""


def duplicates(rows: ir.Table, data: Data) -> tuple[ir.Table, list[Reason]]:
    """Mark duplicates and double clicks, and repeats where the earliest row always stays."""
    usable = rows[c.REASON].isnull()
    pair = [rows[c.USER_KEY], rows[c.ITEM_KEY], usable]
    order = [*tie_break_order(rows), SOURCE_ROW]
    of_pair = ibis.window(group_by=pair, order_by=order)
    same = {name: rows[name].identical_to(rows[name].lag().over(of_pair)) for name in tie_break_order(rows)}
    nth = ibis.row_number().over(of_pair)
    twice = (nth > 0) & ibis.and_(*same.values())
    tests = [(twice, Reason.DUPLICATE)] if data.clean.duplicates == "drop" else []
    if data.clean.near_duplicates and data.platforms[0].interactions.columns.timestamp:
        kind = [rows[name] for name in (c.ITEM_NUMBER, c.EVENT, IS_RETURN, c.QUANTITY) if name in rows.columns]
        same_kind = ibis.window(group_by=[*pair, *kind], order_by=order)
        until = rows[CLOCK].lag().over(same_kind) + ibis.interval(seconds=data.clean.near_duplicates)
        tests.append(((rows[CLOCK] <= until) & ~twice, Reason.NEAR_DUPLICATE))
    if _first_stays(data):
        tests.append((nth > 0, Reason.REPEAT))
    if not tests:
        return rows, []
    return rows.mutate(**{c.REASON: ibis.coalesce(rows[c.REASON], Reason.first(*tests))}), [why for _, why in tests]


def _first_stays(data: Data) -> bool:
    """Whether ``data.repeats`` keeps a user's first interaction with an item, and no return can change that."""
    by_weight = data.repeats == "strongest" and c.WEIGHT in columns_to_carry(data)
    can_change = by_weight or may_return(data) or may_dislike(data)
    return data.repeats in ("first", "strongest") and not can_change


def no_bots(engine: Engine, rows: ir.Table, data: Data, ledger: Ledger) -> ir.Table:
    """Remove all rows of users with too many rows on one day."""
    if data.clean.bots is None or data.platforms[0].interactions.columns.timestamp is None:
        return rows
    counts = rows.group_by(c.USER_KEY).aggregate(n=rows.count())  # few users need a count by day
    busy = rows.semi_join(counts.filter(counts["n"] > data.clean.bots), c.USER_KEY)
    days = busy.group_by(c.USER_KEY, day=busy[CLOCK].truncate("D")).aggregate(n=busy.count())
    bots = engine.keep(days.filter(days["n"] > data.clean.bots).select(c.USER_KEY).distinct(), "interactions")
    if not engine.count(bots):
        ledger.note("removed", Reason.BOT, 0, "interactions")
        return rows
    by_bots = rows.semi_join(bots, c.USER_KEY).mutate(**{c.REASON: ibis.literal(Reason.BOT.code, "int8")})
    ledger.record_rejected(by_bots, [Reason.BOT], "interactions")
    return rows.anti_join(bots, c.USER_KEY)


def no_returns(engine: Engine, rows: ir.Table, data: Data, ledger: Ledger) -> ir.Table:
    """Remove returns, and with ``cancel`` the purchases that they take back; with ``dislike`` the last return stays."""
    if not may_return(data) or data.clean.returns == "keep":
        return rows
    if data.clean.returns in ("cancel", "dislike"):
        marked = _given_back(rows, data.clean.returns == "dislike")
    else:
        marked = rows.mutate(**{c.REASON: Reason.first((rows[IS_RETURN], Reason.RETURN))})
    marked = engine.keep(marked, "interactions")
    engine.drop(rows)
    return ledger.remove_flagged(marked, [Reason.RETURN, Reason.RETURNED], "interactions")


def _given_back(rows: ir.Table, disliked: bool) -> ir.Table:
    """Mark returns, and all rows of a user and an item if the user gave back as many as they bought.

    Only the rows of a pair with the largest weight count as bought, so that a view is no second purchase. With
    ``disliked`` the returns of those who gave all back are not marked, and become dislikes.
    """
    pair = ibis.window(group_by=[c.USER_KEY, c.ITEM_KEY])
    if c.WEIGHT in rows.columns:
        weight = rows[IS_RETURN].ifelse(0.0, rows[c.WEIGHT])
        rows = rows.mutate(bought=weight == weight.max().over(pair))
    else:
        rows = rows.mutate(bought=~rows[IS_RETURN])
    units = _units(rows)
    back = rows[IS_RETURN].ifelse(units, 0.0).sum().over(pair)
    bought = (rows["bought"] & ~rows[IS_RETURN]).ifelse(units, 0.0).sum().over(pair)
    all_back, marked = back >= bought, rows[IS_RETURN]
    if disliked:
        marked = marked & ~all_back
        rows = rows.mutate(**{c.WEIGHT: (rows[IS_RETURN] & all_back).ifelse(-rows[c.WEIGHT].abs(), rows[c.WEIGHT])})
        all_back = all_back & ~rows[IS_RETURN]
    return rows.mutate(**{c.REASON: Reason.first((marked, Reason.RETURN), (all_back, Reason.RETURNED))}).drop("bought")


def no_overruled(engine: Engine, rows: ir.Table, data: Data, ledger: Ledger) -> ir.Table:
    """Keep only dislikes of an item where the user's newest row is a dislike, and none where it is not."""
    if not may_dislike(data):
        return rows
    newest = ibis.window(group_by=[c.USER_KEY, c.ITEM_KEY], order_by=[ibis.desc(CLOCK), ibis.desc(SOURCE_ROW)])
    overruled = likes(rows) != likes(rows).first().over(newest)
    marked = engine.keep(rows.mutate(**{c.REASON: Reason.first((overruled, Reason.OVERRULED))}), "interactions")
    engine.drop(rows)
    return ledger.remove_flagged(marked, [Reason.OVERRULED], "interactions")


def no_repeats(engine: Engine, rows: ir.Table, data: Data, ledger: Ledger) -> ir.Table:
    """One row for a user and item, as ``data.repeats`` says."""
    if data.repeats == "keep" or _first_stays(data):
        return rows
    pair = [c.USER_KEY, c.ITEM_KEY]
    order = [*tie_break_order(rows), SOURCE_ROW]
    if data.repeats == "strongest" and c.WEIGHT in rows.columns:
        order = [ibis.desc(rows[c.WEIGHT].abs()), *order]  # of a pair all are dislikes, or none
    if data.repeats == "last":
        order = [ibis.desc(CLOCK), *order[1:]]
    nth = ibis.row_number().over(group_by=pair, order_by=order)
    marked = {c.REASON: Reason.first((nth > 0, Reason.REPEAT))}
    if data.repeats == "sum":
        weight = rows[c.WEIGHT] if c.WEIGHT in rows.columns else ibis.literal(1.0)
        weight = weight * _units(rows)
        summed = rows.count() if isinstance(weight, ir.Scalar) else weight.sum()  # a scalar: each row counts 1
        marked[c.WEIGHT] = summed.over(group_by=pair).cast("float32")
    repeated = engine.keep(rows.mutate(**marked), "interactions")
    engine.drop(rows)
    return ledger.remove_flagged(repeated, [Reason.REPEAT], "interactions")


def _units(rows: ir.Table) -> ir.FloatingValue:
    """The quantity of each row."""
    return ibis.coalesce(rows[c.QUANTITY].abs(), 1.0) if c.QUANTITY in rows.columns else ibis.literal(1.0)


def decayed(engine: Engine, rows: ir.Table, data: Data) -> ir.Table:
    """Weights that halve with age."""
    if data.half_life_days is None:
        return rows
    latest = engine.fetch(rows.aggregate(latest=rows[CLOCK].max().epoch_seconds().cast("int64")))["latest"][0].as_py()
    halvings = (latest - rows[CLOCK].epoch_seconds()) / (86400 * data.half_life_days)
    weight = ibis.literal(0.5) ** halvings
    if c.WEIGHT in rows.columns:
        weight = rows[c.WEIGHT] * weight
    return rows.mutate(**{c.WEIGHT: weight.sign() * ibis.greatest(weight.abs(), SMALLEST_WEIGHT)})


def enough_interactions(
    engine: Engine, rows: ir.Table, data: Data, ledger: Ledger
) -> tuple[ir.Table, dict[str, ir.Table]]:
    """The k-core over users and items: remove those with too few, round by round, until nothing changes.

    A round rewrites the counts only, not the interactions, and costs two scans.

    Returns:
        The interactions, and the users and the items that stay.
    """
    user, item = c.USER_KEY, c.ITEM_KEY
    least = {user: data.min_interactions.user, item: data.min_interactions.item}
    total = left = engine.count(rows)
    counts = {key: engine.keep(rows.group_by(key).aggregate(n=rows.count()), "interactions") for key in least}
    for nth in count(1):
        before = left
        for key, other in ((user, item), (item, user)):
            is_few = counts[key]["n"] < max(least[key], 1)
            few = counts[key].filter(is_few)
            if not engine.count(few):
                continue
            counts[key] = engine.keep(counts[key].filter(~is_few), "interactions")
            lost = rows.semi_join(few, key).semi_join(counts[other], other)
            lost = engine.keep(lost.group_by(other).aggregate(lost=lost.count()), "interactions")
            left -= engine.fetch(lost.aggregate(n=lost["lost"].sum()))["n"][0].as_py() or 0
            rest = counts[other].left_join(lost, other)
            rest = rest.select(other, n=rest["n"] - rest["lost"].coalesce(0))
            counts[other] = engine.keep(rest, "interactions")
        _note_core(engine, ledger, nth, left, counts)
        if left == before:
            break
    if left == total:
        return rows, counts
    of_user = rows.anti_join(counts[user], user).mutate(**{c.REASON: ibis.literal(Reason.FEW_OF_USER.code, "int8")})
    of_item = rows.semi_join(counts[user], user).anti_join(counts[item], item)
    if least[user] <= 1:  # then a user is removed only after all of their items
        of_user, of_item = of_user.limit(0), rows.anti_join(counts[item], item)
    of_item = of_item.mutate(**{c.REASON: ibis.literal(Reason.FEW_OF_ITEM.code, "int8")})
    ledger.record_rejected(of_user.union(of_item), [Reason.FEW_OF_USER, Reason.FEW_OF_ITEM], "interactions")
    return rows, counts


def _note_core(engine: Engine, ledger: Ledger, nth: int, left: int, counts: dict[str, ir.Table]) -> None:
    step = f"enough interactions, round {nth}"
    ledger.note("interactions_left", step, left)
    for key, measure in ((c.USER_KEY, "users_left"), (c.ITEM_KEY, "items_left")):
        ledger.note(measure, step, engine.count(counts[key]))
    if not left:
        raise InputError(f"no interaction is left after '{step}'; look at data.min_interactions")
