"""What is held out, and what history is given when it is asked for.

Every history is put in order once; then what is given in a held-out case is its beginning, and what trains is its
beginning too, unless the file itself says what trains. That makes a leak a matter of comparing two numbers.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import schemas
from crossrec_cli.config.data_fields import Data, Split
from crossrec_cli.config.schema import Config
from crossrec_cli.data.catalogue import union
from crossrec_cli.data.cells import text_function
from crossrec_cli.data.clean import Cleaned, require_both_domains
from crossrec_cli.data.engine import SOURCE_ROW, Engine
from crossrec_cli.data.identity import ACCOUNT, OWN
from crossrec_cli.data.interactions import (
    CLOCK,
    FOR_TEST,
    FOR_TRAINING,
    ITEM,
    LISTING,
    MARK,
    PURCHASE,
    USER,
    in_time,
)
from crossrec_cli.data.ledger import Ledger, Reason
from crossrec_cli.errors import InputError

IN_TARGET = "in_target"
PRIME = 2**31 - 1
KEPT = 0.9
"""Where rules leave less than this share of the target's items, or of the people, there is a warning."""
EARLIER = "earlier"
"""How many of the user's interactions lie before this one; a shared basket is not before itself with strict ties."""


@dataclass(frozen=True)
class Tables:
    """preprocess's tables, with the columns of ``artifacts.tables``, each in its final order."""

    interactions: ir.Table
    cases: ir.Table
    items: ir.Table
    users: ir.Table
    rows: ir.Table
    """The interactions in fewer columns, and kept: user and item index, whether in the target, position, clock."""
    accounts: ir.Table
    """The platforms' own user ids: user index, account, platform, own id."""


@dataclass(frozen=True)
class _HeldOut:
    """Numbered tables, and which interactions train."""

    items: ir.Table
    users: ir.Table
    kept: ir.Table
    """``Tables.rows``."""
    rows: ir.Table
    """The same with ``trains``."""
    cases: ir.Table


def split(engine: Engine, cleaned: Cleaned, config: Config, ledger: Ledger) -> Tables:
    """Number users and items, order histories, and hold out the cases.

    Raises:
        InputError: if nothing is held out for the test, or nothing of the source is left.
    """
    data = config.data
    left, done = _enough_in_training(engine, cleaned, config, ledger)
    engine.drop(cleaned.rows)
    _note_reach(engine, done, ledger)
    return Tables(
        _whole(done.rows, left, done.users, done.items, data),
        _with_segments(done.cases, done.rows).order_by(c.SPLIT, c.USER_INDEX, c.ITEM_INDEX),
        done.items.order_by(c.ITEM_INDEX),
        _with_activity(done.users, done.rows, data).order_by(c.USER_INDEX),
        done.kept,
        _accounts(left, done.users),
    )


def _note_reach(engine: Engine, done: _HeldOut, ledger: Ledger) -> None:
    """How much of the target is for sale and how many people get lists; a warning where rules take much of either."""
    items = done.items.filter(done.items[c.DOMAIN] == c.TARGET)
    ledger.note(c.REACH, c.FOR_SALE, engine.count(items))
    ledger.note(c.REACH, c.SERVED, engine.count(done.users))
    reach = {label: int(value) for measure, label, _, value in ledger.measures if measure == c.REACH}
    lost = [
        f"{reach[total] - reach[kept]:,} of {reach[total]:,} {what}"
        for kept, total, what in ((c.FOR_SALE, c.IN_CATALOGUE, "target items"), (c.SERVED, c.PEOPLE, "people"))
        if reach[kept] < KEPT * reach[total]
    ]
    if lost:
        rules = "data.min_interactions, data.clean and items.exclude"
        ledger.warnings.append(f"{' and '.join(lost)} are left out of all lists; look at {rules}")


def _enough_in_training(engine: Engine, cleaned: Cleaned, config: Config, ledger: Ledger) -> tuple[Cleaned, _HeldOut]:
    """Hold out cases, and anew without items that training does not have, until there is none.

    Else such an item could be recommended only if somebody buys it later. Where no number of interactions is asked
    for, or the items themselves are held out, all of the catalogue stays.
    """
    every = config.data.min_interactions.item == 0 or config.split.strategy == "cold_items"
    left, gone = cleaned, []
    while True:
        done = _numbered_and_held_out(engine, left, config)
        if every:
            break
        trains = done.rows.filter(done.rows["trains"]).select(c.ITEM_INDEX)
        few = engine.keep(done.items.anti_join(trains, c.ITEM_INDEX).select(ITEM), "items")
        if not engine.count(few):
            break
        gone.append(few)
        engine.drop(done.kept)
        left = left.without(engine, few)
    if gone:
        out = cleaned.rows.semi_join(cleaned.left_users, USER).semi_join(union(gone), ITEM)
        out = out.mutate(**{c.REASON: ibis.literal(Reason.NOT_IN_TRAINING.code, "int8")})
        ledger.leave_out(out, [Reason.NOT_IN_TRAINING], "interactions")
        require_both_domains(engine, left.items, config.domains)
    return left, done


def _numbered_and_held_out(engine: Engine, cleaned: Cleaned, config: Config) -> _HeldOut:
    items = engine.keep(cleaned.items.mutate(**{c.ITEM_INDEX: _nth(ITEM)}), "items")
    users = engine.keep(cleaned.users.mutate(**{c.USER_INDEX: _nth(USER)}), "users")
    rows = kept = engine.keep(_ordered(cleaned, items, users, config.split), "interactions")
    cases, lengths = _held_out(engine, rows, config.split)
    cases = engine.keep(cases, "interactions")
    if c.TEST not in engine.fetch(cases.select(c.SPLIT).distinct())[c.SPLIT].to_pylist():
        raise InputError(
            "split: holds out no test interaction; look at its settings and at data.min_interactions, which leaves out "
            "items that training does not have unless item is 0"
        )
    if lengths is None:
        rows = rows.mutate(trains=rows[MARK] == FOR_TRAINING, untested=rows[MARK] != FOR_TEST)
        return _HeldOut(items, users, kept, rows, cases)
    rows, untouched = rows.left_join(engine.keep(lengths, "interactions"), c.USER_INDEX), _untouched(rows, config.split)
    rows = rows.mutate(
        trains=rows[c.POSITION] < rows["train_length"].coalesce(untouched),
        untested=rows[c.POSITION] < rows["untested_length"].coalesce(untouched),
    )
    return _HeldOut(items, users, kept, rows, cases)


def _ordered(cleaned: Cleaned, items: ir.Table, users: ir.Table, config: Split) -> ir.Table:
    """The histories of those who are left, oldest first; what happened at one time in a random order of each user.

    By item id, say, a basket's item with the highest id would always be the one that is held out. With ``ties: order``
    the file says what came first.
    """
    in_target = (items[c.DOMAIN] == c.TARGET).name(IN_TARGET)
    of_item = _lot(items[c.ITEM_ID], config.seed).name("of_item")
    of_user = _lot(users[c.USER_ID], config.seed).name("of_user")
    items = items.semi_join(cleaned.left_items, ITEM).select(ITEM, c.ITEM_INDEX, in_target, of_item)
    users = users.semi_join(cleaned.left_users, USER).select(USER, c.USER_INDEX, of_user)
    rows = cleaned.rows.inner_join(items, ITEM).inner_join(users, USER).drop(ITEM, USER)
    rows = rows.mutate(lot=rows["of_user"] * rows["of_item"] % PRIME).drop("of_user", "of_item")
    if config.ties == "order":
        ties = [*(name for name in (c.ORDER,) if name in rows.columns), SOURCE_ROW]
    else:
        rows = rows.drop(SOURCE_ROW)
        ties = ["lot", c.ITEM_INDEX, *in_time(rows)[1:], *(name for name in (ACCOUNT,) if name in rows.columns)]
    position = ibis.row_number().over(group_by=c.USER_INDEX, order_by=[CLOCK, *ties]).cast("int32")
    rows = rows.mutate(**{c.POSITION: position})
    return rows.drop("lot", *(name for name in (c.ORDER, SOURCE_ROW) if name in rows.columns))


def _lot(ids: ir.StringColumn, seed: int) -> ir.IntegerValue:
    """A number from 1 to ``PRIME - 1`` for an id; the product of two, modulo ``PRIME``, is as good as random."""
    return _drawn(ibis.literal(f"{seed}:") + ids).cast("int64")


def _draw(texts: pa.Array) -> pa.Array:
    digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts.to_pylist())
    return pa.array([str(1 + int.from_bytes(digest) % (PRIME - 1)) for digest in digests], pa.string())


_drawn = text_function("drawn", _draw)


def _nth(order: str) -> ir.IntegerValue:
    return ibis.row_number().over(order_by=order).cast("int32")


def _with_earlier(held_out: ir.Table, rows: ir.Table, config: Split) -> ir.Table:
    """With ``EARLIER``: its own place where order decides, else that of the first thing the user did at that time."""
    if config.ties == "order":
        return held_out.mutate(**{EARLIER: held_out[c.POSITION]})
    moments = rows.semi_join(held_out, [c.USER_INDEX, CLOCK]).group_by(c.USER_INDEX, CLOCK)
    return held_out.inner_join(moments.aggregate(**{EARLIER: ibis._[c.POSITION].min()}), [c.USER_INDEX, CLOCK])


def _held_out(engine: Engine, rows: ir.Table, config: Split) -> tuple[ir.Table, ir.Table | None]:
    """The cases; and of the histories of users who have cases, or by time of all, how much trains.

    ``untested_length`` is how much could train if only the test were held out. None where the rows say what trains.
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


def _untouched(rows: ir.Table, config: Split) -> ir.IntegerValue:
    """How much trains of a user without cases: everything, but by time nothing, as it all comes later."""
    return ibis.literal(0) if config.strategy == "time" else rows[c.POSITION] + 1


def _leave_last_out(engine: Engine, rows: ir.Table, config: Split) -> ir.Table:
    """The last target interaction is the test, the one before it validation."""
    target = rows.filter(rows[IN_TARGET])
    from_the_end = ibis.window(group_by=c.USER_INDEX, order_by=ibis.desc(c.POSITION))
    target = target.mutate(from_the_end=ibis.row_number().over(from_the_end))
    held_out = engine.keep(target.filter(target["from_the_end"] < 2), "interactions")
    held_out = _with_earlier(held_out, rows, config)
    return _cases(held_out, ibis.ifelse(held_out["from_the_end"] == 0, c.TEST, c.VALID))


def _cold_users(engine: Engine, rows: ir.Table, config: Split) -> ir.Table:
    """All target interactions of some users; they are given what comes before the first of these."""
    target = _target(engine, rows, config)
    firsts = target.group_by(c.USER_INDEX).aggregate(first=target[EARLIER].min())
    firsts = engine.keep(firsts, "interactions")
    with_source = firsts.filter(firsts["first"] > 0)
    chosen = _choose(engine, with_source, c.USER_INDEX, config, "bought in the source before the target")
    held_out = target.inner_join(chosen, c.USER_INDEX).inner_join(firsts, c.USER_INDEX)
    held_out = held_out.mutate(**{EARLIER: held_out["first"]})
    return _cases(held_out, held_out[c.SPLIT]).distinct()


def _cold_items(engine: Engine, rows: ir.Table, config: Split) -> ir.Table:
    """All interactions with some target items. Nothing from a user's first one of them on trains."""
    target = _target(engine, rows, config)
    chosen = _choose(engine, target.select(c.ITEM_INDEX).distinct(), c.ITEM_INDEX, config, "is bought in the target")
    return _asked_at_once(target.inner_join(chosen, c.ITEM_INDEX))


def _given(engine: Engine, rows: ir.Table, config: Split) -> ir.Table:
    """The target's interactions that the file marks for validation or test."""
    held_out = rows.filter(rows[IN_TARGET] & (rows[MARK] != FOR_TRAINING))
    held_out = engine.keep(_with_earlier(held_out, rows, config), "interactions")
    return _asked_at_once(held_out.mutate(**{c.SPLIT: (held_out[MARK] == FOR_TEST).ifelse(c.TEST, c.VALID)}))


def _asked_at_once(held_out: ir.Table) -> ir.Table:
    """One history for all that a user is asked in a split, as with a user who is cold: up to the first of it."""
    before = ibis.window(group_by=[c.USER_INDEX, c.SPLIT])
    held_out = held_out.mutate(**{EARLIER: held_out[EARLIER].min().over(before)})
    return _cases(held_out, held_out[c.SPLIT]).distinct()


def _target(engine: Engine, rows: ir.Table, config: Split) -> ir.Table:
    """The target's interactions with ``EARLIER``."""
    return engine.keep(_with_earlier(rows.filter(rows[IN_TARGET]), rows, config), "interactions")


def _choose(engine: Engine, of: ir.Table, key: str, config: Split, who: str) -> ir.Table:
    """A random share for the test and as many for validation."""
    numbers = np.sort(engine.fetch(of.select(key))[key].to_numpy())
    size = round(config.share * len(numbers)) if config.share else 0
    if not size:
        raise InputError(
            f"split.share: {config.share} of {len(numbers):,} {key.partition('_')[0]}s who {who} is none"
            if key == c.USER_INDEX
            else f"split.share: {config.share} of the {len(numbers):,} items that anybody {who[3:]} is none"
        )
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
    # Bought twice in a period, an item is still one item to be found.
    lengths = test.rename(untested_length=EARLIER).left_join(valid.rename(train_length=EARLIER), c.USER_INDEX)
    lengths = lengths.select(c.USER_INDEX, "train_length", "untested_length")
    return _cases(held_out, held_out[c.SPLIT]).distinct(), lengths


def _cut_offs(engine: Engine, rows: ir.Table, config: Split) -> tuple[ir.Scalar, ir.Scalar]:
    """The dates, or the moments before which those shares of all interactions lie."""
    moments = (
        _moment_of_share(engine, rows, cut_off) if isinstance(cut_off, float) else cut_off
        for cut_off in (config.valid_from, config.test_from)
    )
    valid_from, test_from = (ibis.literal(moment, "timestamp(6)") for moment in moments)
    return valid_from, test_from


def _moment_of_share(engine: Engine, rows: ir.Table, share: float) -> datetime:
    """The first moment until which more than that share of all interactions happened."""
    times = rows.group_by(CLOCK).aggregate(n=rows.count())
    times = times.mutate(until=times["n"].sum().over(ibis.window(order_by=CLOCK, rows=(None, 0))))
    total = rows.count().as_scalar()
    first = times.filter(times["until"] > total * share)
    moment: datetime = engine.fetch(first.aggregate(moment=first[CLOCK].min()))["moment"][0].as_py()
    return moment


def _lengths_before(rows: ir.Table, moment: ir.Scalar) -> ir.Table:
    """How many of each user's interactions lie before a moment."""
    earlier = rows.filter(rows[CLOCK] < moment)
    return earlier.group_by(c.USER_INDEX).aggregate(**{EARLIER: earlier.count()})


def _accounts(cleaned: Cleaned, users: ir.Table) -> ir.Table:
    of_users = users.select(USER, c.USER_INDEX).inner_join(cleaned.accounts, USER)
    return of_users.select(c.USER_INDEX, ACCOUNT, c.PLATFORM, OWN)


def _whole(rows: ir.Table, cleaned: Cleaned, users: ir.Table, items: ir.Table, data: Data) -> ir.Table:
    """All columns of ``schemas.INTERACTIONS``, in order."""
    accounts = _accounts(cleaned, users).rename({c.ORIGINAL_USER_ID: OWN})
    listings = items.select(ITEM, c.ITEM_INDEX).inner_join(cleaned.listings, ITEM)
    listings = listings.select(c.ITEM_INDEX, LISTING, **{c.ORIGINAL_ITEM_ID: listings[OWN]})
    for own, number, index in ((accounts, ACCOUNT, c.USER_INDEX), (listings, LISTING, c.ITEM_INDEX)):
        linked = number in rows.columns
        rows = rows.inner_join(own.drop(index if linked else number), number if linked else index)
    alike = {
        c.EVENT: ibis.literal(c.RATING if data.platforms[0].interactions.columns.rating else PURCHASE),
        c.QUANTITY: ibis.null("float64"),
        c.RATING: ibis.null("float64"),
        c.WEIGHT: ibis.literal(1.0),
    }
    if len(data.platforms) == 1:
        rows, alike[c.PLATFORM] = rows.drop(c.PLATFORM), ibis.literal(data.platforms[0].name)
    wanted = [name for name in (*schemas.INTERACTIONS.names, "trains", "untested", CLOCK) if name in rows.columns]
    # As a view, or else Ibis would fold the sorting and the constants into one, and sort them along.
    rows = rows.select(wanted).order_by(c.USER_INDEX, c.POSITION).view()
    missing = {name: value for name, value in alike.items() if name not in rows.columns}
    missing[c.SPLIT] = rows["trains"].ifelse(c.TRAIN, rows["untested"].ifelse(c.VALID, c.HELD_OUT))
    return rows.mutate(**missing, **{c.TIMESTAMP: _time(rows, data)})


def _time(rows: ir.Table, data: Data) -> ir.Value:
    timed = data.platforms[0].interactions.columns.timestamp is not None
    return rows[CLOCK] if timed else ibis.null("timestamp(6)")


def _with_segments(cases: ir.Table, rows: ir.Table) -> ir.Table:
    """With what evaluate can report apart: users without target history, items that nobody has in training."""
    trained = rows.filter(rows["trains"]).select(c.ITEM_INDEX).distinct().mutate(trained=True)
    target = rows.filter(rows[IN_TARGET]).select(c.USER_INDEX, c.POSITION)
    given = cases.select(c.USER_INDEX, c.HISTORY_LENGTH).distinct().inner_join(target, c.USER_INDEX)
    given = given.filter(given[c.POSITION] < given[c.HISTORY_LENGTH])
    given = given.group_by(c.USER_INDEX, c.HISTORY_LENGTH).aggregate(given=given.count())
    cases = cases.left_join(trained, c.ITEM_INDEX).left_join(given, [c.USER_INDEX, c.HISTORY_LENGTH])
    return cases.mutate(
        **{
            c.TARGET_HISTORY_LENGTH: cases["given"].coalesce(0),
            c.COLD_USER: cases["given"].isnull(),
            c.COLD_ITEM: cases["trained"].isnull(),
        }
    )


def _with_activity(users: ir.Table, rows: ir.Table, data: Data) -> ir.Table:
    """With how much of each user trains, and how long before the end of training that ends."""
    trains = rows.filter(rows["trains"])
    trains = trains.mutate(**{c.TIMESTAMP: _time(trains, data)})
    theirs = trains.group_by(c.USER_INDEX).aggregate(n=trains.count(), latest=trains[c.TIMESTAMP].max())
    end = trains[c.TIMESTAMP].max().as_scalar()
    users = users.left_join(theirs, c.USER_INDEX)
    days = (end.epoch_seconds() - users["latest"].epoch_seconds()) / 86400
    return users.mutate(**{c.ACTIVITY: users["n"].coalesce(0), c.RECENCY_DAYS: days})
