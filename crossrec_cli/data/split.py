"""What is held out, and what history is given when it is asked for.

Every history is put in order once; then what is given in a held-out case is its beginning, and what trains is its
beginning too, unless the file itself says what trains. That makes a leak a matter of comparing two numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import ibis
import ibis.expr.types as ir

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import schemas
from crossrec_cli.config.data_fields import Data, Split
from crossrec_cli.config.schema import Config
from crossrec_cli.data.catalogue import union
from crossrec_cli.data.clean import Cleaned, require_both_domains
from crossrec_cli.data.engine import Engine
from crossrec_cli.data.held_out import IN_TARGET, PRIME, held_out, lot, nth, trained_whole
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
        ledger.record_rejected(out, [Reason.NOT_IN_TRAINING], "interactions")
        require_both_domains(engine, left.items, config.domains)
    return left, done


def _numbered_and_held_out(engine: Engine, cleaned: Cleaned, config: Config) -> _HeldOut:
    items = engine.keep(cleaned.items.mutate(**{c.ITEM_INDEX: nth(ITEM)}), "items")
    users = engine.keep(cleaned.users.mutate(**{c.USER_INDEX: nth(USER)}), "users")
    rows = kept = engine.keep(_ordered(cleaned, items, users, config.split), "interactions")
    cases, lengths = held_out(engine, rows, config.split)
    cases = engine.keep(cases, "interactions")
    if c.TEST not in engine.fetch(cases.select(c.SPLIT).distinct())[c.SPLIT].to_pylist():
        raise InputError(
            "split: holds out no test interaction; look at its settings and at data.min_interactions, which leaves out "
            "items that training does not have unless item is 0"
        )
    if lengths is None:
        rows = rows.mutate(trains=rows[MARK] == FOR_TRAINING, untested=rows[MARK] != FOR_TEST)
        return _HeldOut(items, users, kept, rows, cases)
    rows, untouched = (
        rows.left_join(engine.keep(lengths, "interactions"), c.USER_INDEX),
        trained_whole(rows, config.split),
    )
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
    of_item = lot(items[c.ITEM_ID], config.seed).name("of_item")
    of_user = lot(users[c.USER_ID], config.seed).name("of_user")
    items = items.semi_join(cleaned.left_items, ITEM).select(ITEM, c.ITEM_INDEX, in_target, of_item)
    users = users.semi_join(cleaned.left_users, USER).select(USER, c.USER_INDEX, of_user)
    rows = cleaned.rows.inner_join(items, ITEM).inner_join(users, USER).drop(ITEM, USER)
    rows = rows.mutate(lot=rows["of_user"] * rows["of_item"] % PRIME).drop("of_user", "of_item")
    if config.ties == "order":
        ties = [*(name for name in (c.ORDER,) if name in rows.columns), SOURCE_ROW]
    else:
        rows = rows.drop(SOURCE_ROW)
        ties = ["lot", c.ITEM_INDEX, *tie_break_order(rows)[1:], *(name for name in (ACCOUNT,) if name in rows.columns)]
    position = ibis.row_number().over(group_by=c.USER_INDEX, order_by=[CLOCK, *ties]).cast("int32")
    rows = rows.mutate(**{c.POSITION: position})
    return rows.drop("lot", *(name for name in (c.ORDER, SOURCE_ROW) if name in rows.columns))


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


KEPT = 0.9
"""Where rules leave less than this share of the target's items, or of the people, there is a warning."""
