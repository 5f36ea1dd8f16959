"""What is held out, and which history is given with each held-out case.

Every history is ordered once. The given history of a case is then its first rows. The training rows are its first
rows too, unless the file itself marks them. So a leak can be detected by comparing two numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import ibis
import ibis.expr.types as ir

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import schemas
from crossrec_cli.config.data_fields import Data
from crossrec_cli.config.schema import Config
from crossrec_cli.config.task_fields import Split
from crossrec_cli.data.catalogue import union
from crossrec_cli.data.clean import Cleaned, require_both_domains
from crossrec_cli.data.engine import Engine
from crossrec_cli.data.held_out import IN_TARGET, PRIME, held_out, lot, nth, train_length_without_cases
from crossrec_cli.data.interactions import (
    CLOCK,
    FOR_TEST,
    FOR_TRAINING,
    MARK,
    PURCHASE,
    likes,
    tie_break_order,
)
from crossrec_cli.data.ledger import Ledger, Reason
from crossrec_cli.data.raw_files import SOURCE_ROW
from crossrec_cli.errors import InputError


@dataclass(frozen=True)
class Tables:
    """preprocess's tables, with the columns of ``artifacts.columns``, each in its final order."""

    interactions: ir.Table
    cases: ir.Table
    items: ir.Table
    users: ir.Table
    rows: ir.Table
    """The interactions with fewer columns, kept: user and item index, whether a purchase in the target, position,
    clock."""
    user_ids: ir.Table
    """The platforms' user ids: user_index, user_number, platform, platform's id."""


@dataclass(frozen=True)
class _HeldOut:
    """Tables with indices, and which interactions train."""

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
        _interactions(done.rows, left, done.users, done.items, data),
        _with_segments(done.cases, done.rows).order_by(c.SPLIT, c.USER_INDEX, c.ITEM_INDEX),
        done.items.order_by(c.ITEM_INDEX),
        _with_activity(done.users, done.rows, data).order_by(c.USER_INDEX),
        done.kept,
        _user_ids(left, done.users),
    )


def _note_reach(engine: Engine, done: _HeldOut, ledger: Ledger) -> None:
    """Note how many target items are for sale and how many users get lists; warn if rules remove many of either."""
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
        ledger.warnings.append(f"{' and '.join(lost)} are missing from all lists; look at {rules}")


def _enough_in_training(engine: Engine, cleaned: Cleaned, config: Config, ledger: Ledger) -> tuple[Cleaned, _HeldOut]:
    """Hold out cases; repeat without the items that training does not have, until there are none.

    Otherwise such an item would be recommended only if somebody buys it later. If no number of interactions is
    required, or the items themselves are held out, the whole catalogue stays.
    """
    keep_all = config.data.min_interactions.item == 0 or config.split.strategy == "cold_items"
    left, gone = cleaned, []
    while True:
        done = _numbered_and_held_out(engine, left, config)
        if keep_all:
            break
        trains = done.rows.filter(done.rows["trains"]).select(c.ITEM_INDEX)
        few = engine.keep(done.items.anti_join(trains, c.ITEM_INDEX).select(c.ITEM_KEY), "items")
        if not engine.count(few):
            break
        gone.append(few)
        engine.drop(done.kept)
        left = left.without(engine, few)
    if gone:
        out = cleaned.rows.semi_join(cleaned.left_users, c.USER_KEY).semi_join(union(gone), c.ITEM_KEY)
        out = out.mutate(**{c.REASON: ibis.literal(Reason.NOT_IN_TRAINING.code, "int8")})
        ledger.record_rejected(out, [Reason.NOT_IN_TRAINING], "interactions")
        require_both_domains(engine, left.items, config.domains)
    return left, done


def _numbered_and_held_out(engine: Engine, cleaned: Cleaned, config: Config) -> _HeldOut:
    items = engine.keep(cleaned.items.mutate(**{c.ITEM_INDEX: nth(c.ITEM_KEY)}), "items")
    users = engine.keep(cleaned.users.mutate(**{c.USER_INDEX: nth(c.USER_KEY)}), "users")
    rows = kept = engine.keep(_ordered(cleaned, items, users, config.split), "interactions")
    cases, lengths = held_out(engine, rows, config.split)
    cases = engine.keep(cases, "interactions")
    if c.TEST not in engine.fetch(cases.select(c.SPLIT).distinct())[c.SPLIT].to_pylist():
        raise InputError(
            "split: holds out no test interaction; look at its settings and at data.min_interactions, which removes "
            "items that training does not have unless item is 0"
        )
    if lengths is None:
        rows = rows.mutate(trains=likes(rows) & (rows[MARK] == FOR_TRAINING), untested=rows[MARK] != FOR_TEST)
        return _HeldOut(items, users, kept, rows, cases)
    rows, untouched = (
        rows.left_join(engine.keep(lengths, "interactions"), c.USER_INDEX),
        train_length_without_cases(rows, config.split),
    )
    rows = rows.mutate(
        trains=likes(rows) & (rows[c.POSITION] < rows["train_length"].coalesce(untouched)),
        untested=rows[c.POSITION] < rows["untested_length"].coalesce(untouched),
    )
    return _HeldOut(items, users, kept, rows, cases)


def _ordered(cleaned: Cleaned, items: ir.Table, users: ir.Table, config: Split) -> ir.Table:
    """The histories of the remaining users, oldest first. Rows of the same time are in a random order of each user.

    In the order of item ids, for example, the item with the highest id of a basket would always be held out. With
    ``ties: order`` the file decides.
    """
    in_target = (items[c.DOMAIN] == c.TARGET).name(IN_TARGET)
    of_item = lot(items[c.ITEM_ID], config.seed).name("of_item")
    of_user = lot(users[c.USER_ID], config.seed).name("of_user")
    user, item = c.USER_KEY, c.ITEM_KEY
    items = items.semi_join(cleaned.left_items, item).select(item, c.ITEM_INDEX, in_target, of_item)
    users = users.semi_join(cleaned.left_users, user).select(user, c.USER_INDEX, of_user)
    rows = cleaned.rows.inner_join(items, item).inner_join(users, user).drop(item, user)
    rows = rows.mutate(lot=rows["of_user"] * rows["of_item"] % PRIME).drop("of_user", "of_item")
    if c.WEIGHT in rows.columns:
        rows = rows.mutate(**{IN_TARGET: rows[IN_TARGET] & likes(rows)})
    if config.ties == "order":
        ties = [*(name for name in (c.ORDER,) if name in rows.columns), SOURCE_ROW]
    else:
        rows = rows.drop(SOURCE_ROW)
        number = [name for name in (c.USER_NUMBER,) if name in rows.columns]
        ties = ["lot", c.ITEM_INDEX, *tie_break_order(rows)[1:], *number]
    position = ibis.row_number().over(group_by=c.USER_INDEX, order_by=[CLOCK, *ties]).cast("int32")
    rows = rows.mutate(**{c.POSITION: position})
    return rows.drop("lot", *(name for name in (c.ORDER, SOURCE_ROW) if name in rows.columns))


def _user_ids(cleaned: Cleaned, users: ir.Table) -> ir.Table:
    ids = users.select(c.USER_KEY, c.USER_INDEX).inner_join(cleaned.user_ids, c.USER_KEY)
    return ids.select(c.USER_INDEX, c.USER_NUMBER, c.PLATFORM, c.PLATFORM_USER_ID)


def _interactions(rows: ir.Table, cleaned: Cleaned, users: ir.Table, items: ir.Table, data: Data) -> ir.Table:
    """All columns of ``schemas.INTERACTIONS``, in order."""
    user_ids = _user_ids(cleaned, users)
    item_ids = items.select(c.ITEM_KEY, c.ITEM_INDEX).inner_join(cleaned.item_ids, c.ITEM_KEY)
    item_ids = item_ids.select(c.ITEM_INDEX, c.ITEM_NUMBER, c.PLATFORM_ITEM_ID)
    for ids, number, index in ((user_ids, c.USER_NUMBER, c.USER_INDEX), (item_ids, c.ITEM_NUMBER, c.ITEM_INDEX)):
        linked = number in rows.columns
        rows = rows.inner_join(ids.drop(index if linked else number), number if linked else index)
    constants = {
        c.EVENT: ibis.literal(c.RATING if data.platforms[0].interactions.columns.rating else PURCHASE),
        c.QUANTITY: ibis.null("float64"),
        c.RATING: ibis.null("float64"),
        c.WEIGHT: ibis.literal(1.0),
    }
    if len(data.platforms) == 1:
        rows, constants[c.PLATFORM] = rows.drop(c.PLATFORM), ibis.literal(data.platforms[0].name)
    columns = [name for name in (*schemas.INTERACTIONS.names, "trains", "untested", CLOCK) if name in rows.columns]
    # As a view, since Ibis would otherwise merge both steps and sort the constants too.
    rows = rows.select(columns).order_by(c.USER_INDEX, c.POSITION).view()
    missing = {name: value for name, value in constants.items() if name not in rows.columns}
    held_out = rows["untested"].ifelse(c.VALID, c.HELD_OUT)
    missing[c.SPLIT] = ibis.cases((rows["trains"], c.TRAIN), (~likes(rows), c.DISLIKED), else_=held_out)
    return rows.mutate(**missing, **{c.TIMESTAMP: _time(rows, data)})


def _time(rows: ir.Table, data: Data) -> ir.Value:
    timed = data.platforms[0].interactions.columns.timestamp is not None
    return rows[CLOCK] if timed else ibis.null("timestamp(6)")


def _with_segments(cases: ir.Table, rows: ir.Table) -> ir.Table:
    """With the segments that evaluate reports: cold-start users, and cold-start items."""
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
    """With the number of each user's training rows, and the days from the latest of them to the end of training."""
    trains = rows.filter(rows["trains"])
    trains = trains.mutate(**{c.TIMESTAMP: _time(trains, data)})
    by_user = trains.group_by(c.USER_INDEX).aggregate(n=trains.count(), latest=trains[c.TIMESTAMP].max())
    end = trains[c.TIMESTAMP].max().as_scalar()
    users = users.left_join(by_user, c.USER_INDEX)
    days = (end.epoch_seconds() - users["latest"].epoch_seconds()) / 86400
    return users.mutate(**{c.ACTIVITY: users["n"].coalesce(0), c.RECENCY_DAYS: days})


KEPT = 0.9
"""A warning if rules leave less than this share of the target's items or of the users."""
