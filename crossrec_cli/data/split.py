"""What is held out, and what history is given when it is asked for.

Every history is put in order once; then what trains is its beginning, and what is given in a held-out case is its
beginning too. That makes a leak a matter of comparing two numbers.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from ibis.backends.duckdb import Backend

from crossrec_cli.artifacts import tables as t
from crossrec_cli.config.schema import Split
from crossrec_cli.data import engine
from crossrec_cli.data.clean import CLOCK

EARLIER = "earlier"
"""How many of the user's interactions lie strictly before this one; a shared basket is not before itself."""


def split(
    connection: Backend, rows: ir.Table, items: ir.Table, users: ir.Table, config: Split
) -> tuple[ir.Table, ir.Table, ir.Table, ir.Table]:
    """Number users and items, order histories, and hold out the cases.

    Returns:
        interactions, cases, items, users, with the columns of ``artifacts.tables``, each in its final order.
    """
    items = items.mutate(**{t.ITEM_INDEX: ibis.row_number().over(order_by=t.ITEM_ID)})
    users = users.mutate(**{t.USER_INDEX: ibis.row_number().over(order_by=t.USER_ID)})
    items = engine.materialize(connection, "items", items, "items")
    users = engine.materialize(connection, "users", users, "users")
    rows = rows.inner_join(items.select(t.ITEM_ID, t.ITEM_INDEX), t.ITEM_ID)
    rows = rows.inner_join(users.select(t.USER_ID, t.USER_INDEX), t.USER_ID)
    in_time = ibis.window(group_by=t.USER_INDEX, order_by=CLOCK)
    in_order = ibis.window(group_by=t.USER_INDEX, order_by=[CLOCK, t.ITEM_INDEX, t.PLATFORM, t.EVENT, t.VALUE])
    rows = rows.mutate(**{EARLIER: ibis.rank().over(in_time), t.POSITION: ibis.row_number().over(in_order)})
    rows = engine.materialize(connection, "ordered", rows, "interactions")
    cases = _leave_last_out(rows) if config.strategy == "leave_last_out" else _by_time(rows, config)
    cases = engine.materialize(connection, "cases", cases, "interactions")
    trains = cases.group_by(t.USER_INDEX).aggregate(train_length=cases[t.HISTORY_LENGTH].min())
    if config.strategy == "time":
        trains = _lengths_before(rows, ibis.literal(config.valid_from), "train_length")
    rows = rows.left_join(trains, t.USER_INDEX)
    rows = rows.mutate(**{t.SPLIT: ibis.ifelse(_trains(rows, config), t.TRAIN, t.HELD_OUT)})
    return (
        rows.order_by(t.USER_INDEX, t.POSITION),
        cases.order_by(t.SPLIT, t.USER_INDEX, t.ITEM_INDEX),
        items.order_by(t.ITEM_INDEX),
        users.order_by(t.USER_INDEX),
    )


def _trains(rows: ir.Table, config: Split) -> ir.BooleanValue:
    """Whether a row lies before its user's first case; a user without cases trains whole, or not at all by time."""
    everything = rows.count().over(ibis.window(group_by=t.USER_INDEX))
    absent = ibis.literal(0) if config.strategy == "time" else everything
    return rows[t.POSITION] < ibis.coalesce(rows["train_length"], absent)


def _leave_last_out(rows: ir.Table) -> ir.Table:
    """The last target interaction is the test, the one before it validation."""
    target = rows.filter(rows[t.DOMAIN] == t.TARGET)
    from_the_end = ibis.window(group_by=t.USER_INDEX, order_by=ibis.desc(t.POSITION))
    target = target.mutate(from_the_end=ibis.row_number().over(from_the_end))
    held_out = target.filter(target.from_the_end < 2)
    return held_out.select(
        t.USER_INDEX,
        t.ITEM_INDEX,
        **{
            t.SPLIT: ibis.ifelse(held_out.from_the_end == 0, t.TEST, t.VALID),
            t.HISTORY_LENGTH: held_out[EARLIER],
        },
    )


def _by_time(rows: ir.Table, config: Split) -> ir.Table:
    """Target interactions of the last period are the test, of the one before it validation."""
    valid_from, test_from = ibis.literal(config.valid_from), ibis.literal(config.test_from)
    held_out = rows.filter((rows[t.DOMAIN] == t.TARGET) & (rows[t.TIMESTAMP] >= valid_from))
    is_test = held_out[t.TIMESTAMP] >= test_from
    held_out = held_out.mutate(**{t.SPLIT: ibis.ifelse(is_test, t.TEST, t.VALID)})
    held_out = held_out.left_join(_lengths_before(rows, valid_from, "before_valid"), t.USER_INDEX)
    held_out = held_out.left_join(_lengths_before(rows, test_from, "before_test"), t.USER_INDEX, rname="{name}_test")
    length = ibis.ifelse(held_out[t.SPLIT] == t.TEST, held_out["before_test"], held_out["before_valid"])
    cases = held_out.select(t.USER_INDEX, t.ITEM_INDEX, t.SPLIT, **{t.HISTORY_LENGTH: length.coalesce(0)})
    return cases.distinct()  # bought twice in a period, an item is still one item to be found


def _lengths_before(rows: ir.Table, moment: ir.Scalar, name: str) -> ir.Table:
    """How many of each user's interactions lie before a moment."""
    earlier = rows.filter(rows[t.TIMESTAMP] < moment)
    return earlier.group_by(t.USER_INDEX).aggregate(**{name: earlier.count()})
