"""Which interactions are held out, by strategy."""

from __future__ import annotations

import hashlib
from datetime import datetime

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.config.task_fields import Split
from crossrec_cli.data.cells import text_function
from crossrec_cli.data.engine import Engine
from crossrec_cli.data.interactions import (
    CLOCK,
    FOR_TEST,
    FOR_TRAINING,
    MARK,
)
from crossrec_cli.errors import InputError

IN_TARGET = "in_target"
"""Whether a row is in the target, and no dislike."""
PRIME = 2**31 - 1


def lot(ids: ir.StringColumn, seed: int) -> ir.IntegerValue:
    """A number from 1 to ``PRIME - 1`` for an id; the product of two, modulo ``PRIME``, is pseudorandom."""
    return _drawn(ibis.literal(f"{seed}:") + ids).cast("int64")


def draw(texts: pa.Array) -> pa.Array:
    """A pseudorandom number from 1 to ``PRIME - 1`` for each text, as text."""
    digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts.to_pylist())
    return pa.array([str(1 + int.from_bytes(digest) % (PRIME - 1)) for digest in digests], pa.string())


def nth(order: str) -> ir.IntegerValue:
    """The number of a row in an order, from 0."""
    return ibis.row_number().over(order_by=order).cast("int32")


def held_out(engine: Engine, rows: ir.Table, config: Split) -> tuple[ir.Table, ir.Table | None]:
    """The cases, and the number of training rows of users with cases; with a split by time, of all users.

    ``train_length`` is that number, ``untested_length`` the number if only the test were held out. None instead of
    the table if the rows themselves are marked.
    """
    if config.strategy == "time":
        return _by_time(engine, rows, config)
    if config.strategy == "given":
        return _given(engine, rows, config), None
    strategies = {"leave_last_out": _leave_last_out, "cold_users": _cold_users, "cold_items": _cold_items}
    cases = strategies[config.strategy](engine, rows, config)
    given = cases[c.HISTORY_LENGTH]
    lengths = cases.group_by(c.USER_INDEX).aggregate(
        train_length=given.min(), untested_length=given.min(where=cases[c.SPLIT] == c.TEST)
    )
    return cases, lengths


def train_length_without_cases(rows: ir.Table, config: Split) -> ir.IntegerValue:
    """The number of training rows of a user without cases: all; with a split by time none, as all rows are later."""
    return ibis.literal(0) if config.strategy == "time" else rows[c.POSITION] + 1


def _leave_last_out(engine: Engine, rows: ir.Table, config: Split) -> ir.Table:
    """The last target interaction is the test, the one before it validation."""
    target = rows.filter(rows[IN_TARGET])
    from_the_end = ibis.window(group_by=c.USER_INDEX, order_by=ibis.desc(c.POSITION))
    target = target.mutate(from_the_end=ibis.row_number().over(from_the_end))
    held_out = engine.keep(target.filter(target["from_the_end"] < 2), "interactions")
    held_out = with_earlier(held_out, rows, config)
    return _cases(held_out, ibis.ifelse(held_out["from_the_end"] == 0, c.TEST, c.VALID))


def _cold_users(engine: Engine, rows: ir.Table, config: Split) -> ir.Table:
    """All target interactions of some users; the given history is what comes before the first of these."""
    target = _target(engine, rows, config)
    firsts = target.group_by(c.USER_INDEX).aggregate(first=target[EARLIER].min())
    firsts = engine.keep(firsts, "interactions")
    with_source = firsts.filter(firsts["first"] > 0)
    chosen = _choose(engine, with_source, c.USER_INDEX, config, "who bought in the source before the target")
    held_out = target.inner_join(chosen, c.USER_INDEX).inner_join(firsts, c.USER_INDEX)
    held_out = held_out.mutate(**{EARLIER: held_out["first"]})
    return _cases(held_out, held_out[c.SPLIT]).distinct()


def _cold_items(engine: Engine, rows: ir.Table, config: Split) -> ir.Table:
    """All interactions with some target items. A user's training ends before the first of them."""
    target = _target(engine, rows, config)
    chosen = _choose(
        engine, target.select(c.ITEM_INDEX).distinct(), c.ITEM_INDEX, config, "that anybody bought in the target"
    )
    return _one_history(target.inner_join(chosen, c.ITEM_INDEX))


def _given(engine: Engine, rows: ir.Table, config: Split) -> ir.Table:
    """The target's interactions that the file marks for validation or test."""
    held_out = rows.filter(rows[IN_TARGET] & (rows[MARK] != FOR_TRAINING))
    held_out = engine.keep(with_earlier(held_out, rows, config), "interactions")
    return _one_history(held_out.mutate(**{c.SPLIT: (held_out[MARK] == FOR_TEST).ifelse(c.TEST, c.VALID)}))


def _one_history(held_out: ir.Table) -> ir.Table:
    """Give all cases of a user and a split the same history: up to the first of them."""
    before = ibis.window(group_by=[c.USER_INDEX, c.SPLIT])
    held_out = held_out.mutate(**{EARLIER: held_out[EARLIER].min().over(before)})
    return _cases(held_out, held_out[c.SPLIT]).distinct()


def _target(engine: Engine, rows: ir.Table, config: Split) -> ir.Table:
    """The target's interactions with ``EARLIER``."""
    return engine.keep(with_earlier(rows.filter(rows[IN_TARGET]), rows, config), "interactions")


def _choose(engine: Engine, of: ir.Table, key: str, config: Split, which: str) -> ir.Table:
    """A random share for the test and as many for validation; ``which`` describes them in the message."""
    numbers = np.sort(engine.fetch(of.select(key))[key].to_numpy())
    size = round(config.share * len(numbers)) if config.share else 0
    if not size:
        kind = key.removesuffix("_index") + "s"
        raise InputError(f"split.share: {config.share} of the {len(numbers):,} {kind} {which} is none")
    chosen = np.random.default_rng(config.seed).permutation(numbers)[: 2 * size]
    splits = [c.TEST] * size + [c.VALID] * (len(chosen) - size)
    return ibis.memtable({key: chosen.tolist(), c.SPLIT: splits}, schema={key: "int64", c.SPLIT: "string"})


def _cases(held_out: ir.Table, name: ir.Value) -> ir.Table:
    return held_out.select(
        c.USER_INDEX,
        c.ITEM_INDEX,
        **{c.SPLIT: name, c.HISTORY_LENGTH: held_out[EARLIER]},
    )


def _by_time(engine: Engine, rows: ir.Table, config: Split) -> tuple[ir.Table, ir.Table]:
    """Target interactions of the last period are the test, of the one before it validation."""
    valid_from, test_from = _cut_offs(engine, rows, config)
    held_out = rows.filter(rows[IN_TARGET] & (rows[CLOCK] >= valid_from))
    held_out = held_out.mutate(**{c.SPLIT: (held_out[CLOCK] >= test_from).ifelse(c.TEST, c.VALID)})
    valid, test = (_lengths_before(rows, moment) for moment in (valid_from, test_from))
    given = valid.mutate(**{c.SPLIT: ibis.literal(c.VALID)}).union(test.mutate(**{c.SPLIT: ibis.literal(c.TEST)}))
    held_out = held_out.left_join(given, [c.USER_INDEX, c.SPLIT])
    held_out = held_out.mutate(**{EARLIER: held_out[EARLIER].coalesce(0)})
    # An item that is bought twice in a period is one case.
    lengths = test.rename(untested_length=EARLIER).left_join(valid.rename(train_length=EARLIER), c.USER_INDEX)
    lengths = lengths.select(c.USER_INDEX, "train_length", "untested_length")
    return _cases(held_out, held_out[c.SPLIT]).distinct(), lengths


def _cut_offs(engine: Engine, rows: ir.Table, config: Split) -> tuple[ir.Scalar, ir.Scalar]:
    """The dates, or the times before which those shares of all interactions are."""
    moments = (
        _moment_of_share(engine, rows, cut_off) if isinstance(cut_off, float) else cut_off
        for cut_off in (config.valid_from, config.test_from)
    )
    valid_from, test_from = (ibis.literal(moment, "timestamp(6)") for moment in moments)
    return valid_from, test_from


def _moment_of_share(engine: Engine, rows: ir.Table, share: float) -> datetime:
    """The first time up to which more than that share of all interactions happened."""
    times = rows.group_by(CLOCK).aggregate(n=rows.count())
    times = times.mutate(until=times["n"].sum().over(ibis.window(order_by=CLOCK, rows=(None, 0))))
    total = rows.count().as_scalar()
    first = times.filter(times["until"] > total * share)
    moment: datetime = engine.fetch(first.aggregate(moment=first[CLOCK].min()))["moment"][0].as_py()
    return moment


def _lengths_before(rows: ir.Table, moment: ir.Scalar) -> ir.Table:
    """The number of each user's interactions before a time."""
    earlier = rows.filter(rows[CLOCK] < moment)
    return earlier.group_by(c.USER_INDEX).aggregate(**{EARLIER: earlier.count()})


EARLIER = "earlier"
"""The number of the user's interactions before this one; with strict ties, the same basket is not before it."""


_drawn = text_function("drawn", draw)


def with_earlier(held_out: ir.Table, rows: ir.Table, config: Split) -> ir.Table:
    """With ``EARLIER``: the row's position with ``ties: order``, else that of the user's first row of the same time."""
    if config.ties == "order":
        return held_out.mutate(**{EARLIER: held_out[c.POSITION]})
    moments = rows.semi_join(held_out, [c.USER_INDEX, CLOCK]).group_by(c.USER_INDEX, CLOCK)
    return held_out.inner_join(moments.aggregate(**{EARLIER: ibis._[c.POSITION].min()}), [c.USER_INDEX, CLOCK])
