"""Check that no held-out interaction leaks: reads the written tables only, whatever made them."""

from __future__ import annotations

from pathlib import Path

import ibis
import ibis.expr.types as ir

from crossrec_cli.artifacts import columns as c
from crossrec_cli.config.source_fields import Source
from crossrec_cli.config.task_fields import Split
from crossrec_cli.data.engine import Engine
from crossrec_cli.data.raw_files import SOURCE_ROW
from crossrec_cli.errors import CrossrecError


class LeakError(CrossrecError):
    """Training or a given history has a held-out interaction: a fault of crossrec itself."""


def check(engine: Engine, interactions: Path, cases: Path, items: Path, config: Split) -> list[str]:
    """Search training rows and given histories of preprocess's files for held-out interactions.

    Returns:
        Warnings about leaks of a split that came with the data (``split.strategy: given``); empty for all others.

    Raises:
        LeakError: if a split that crossrec made has a leak.
    """
    rows, held_out, catalogue = (engine.read(Source(path=str(path))) for path in (interactions, cases, items))
    moments = rows.select(c.USER_INDEX, c.ITEM_INDEX, c.POSITION, c.TIMESTAMP)
    held_out = engine.keep(held_out.drop(SOURCE_ROW), "cases")
    cases_at = moments.inner_join(held_out, [c.USER_INDEX, c.ITEM_INDEX])
    cases_at = cases_at.filter(cases_at[c.POSITION] >= cases_at[c.HISTORY_LENGTH])  # the item may be bought before, too
    cases_at = engine.keep(cases_at.select(*held_out.columns, c.POSITION, c.TIMESTAMP), "cases")
    tested, given = cases_at.filter(cases_at[c.SPLIT] == c.TEST), config.strategy == "given"
    trains, untested = (rows.filter(rows[c.SPLIT].isin(splits)) for splits in ([c.TRAIN], [c.TRAIN, c.VALID]))
    leaks = {} if given else _in_training(engine, trains, cases_at, catalogue, config)
    leaking = {
        "a held-out item is not bought after the given history": held_out.anti_join(cases_at, held_out.columns),
        "a given history is not strictly before the held-out item": _given_too_late(moments, cases_at, config),
        "the given history of one case has the item of another": _given_with_another(cases_at),
        "one platform's user is two users": _twice(rows),
    }
    leaks |= {leak: engine.count(table) for leak, table in leaking.items()}
    after_validation = {} if given else _in_training(engine, untested, tested, catalogue, config)
    leaks |= {f"{leak}, once validation is over": number for leak, number in after_validation.items()}
    for leak, number in leaks.items():
        if number:
            raise LeakError(f"leak: {leak}, {number:,} times; nothing was written; please report this")
    return _too_late(engine, rows, held_out, config) if given else []


def _too_late(engine: Engine, rows: ir.Table, held_out: ir.Table, config: Split) -> list[str]:
    """Warnings about rows marked for training or validation that come no sooner than the user's held-out rows."""
    warnings = []
    for name, marks in ((c.TEST, (c.TRAIN, c.VALID)), (c.VALID, (c.TRAIN,))):
        first = held_out.filter(held_out[c.SPLIT] == name)
        first = first.group_by(c.USER_INDEX).aggregate(given=first[c.HISTORY_LENGTH].min())
        late = rows.inner_join(first, c.USER_INDEX).filter(ibis._[c.POSITION] >= ibis._["given"])
        late = late.filter(late[c.SPLIT].isin(marks)).group_by(c.SPLIT)
        counted = late.aggregate(rows=ibis._.count(), users=ibis._[c.USER_INDEX].nunique()).order_by(c.SPLIT)
        warnings += [
            f"split.column '{config.column}': {row['rows']:,} {row[c.SPLIT]} rows of {row['users']:,} users are no "
            f"earlier than their user's first {name} row; the figures may be better than they would be"
            for row in engine.fetch(counted).to_pylist()
        ]
    return warnings


def _in_training(
    engine: Engine, trains: ir.Table, cases: ir.Table, catalogue: ir.Table, config: Split
) -> dict[str, int]:
    """How many rows must not train while these cases are held out, by what is wrong with them."""
    earliest = cases.group_by(c.USER_INDEX).aggregate(
        first=cases[c.POSITION].min(), since=cases[c.TIMESTAMP].min(), given=cases[c.HISTORY_LENGTH].min()
    )
    latest = trains.group_by(c.USER_INDEX).aggregate(last=trains[c.POSITION].max(), until=trains[c.TIMESTAMP].max())
    both = latest.inner_join(earliest, c.USER_INDEX)
    tests = {
        "a held-out interaction's position trains": both["last"] >= both["first"],
        "a row outside the first given history trains": both["last"] >= both["given"],
        "training is not strictly before a held-out time": _too_new(both["until"], both["since"], config),
    }
    counted = both.aggregate(**{leak: test.sum() for leak, test in tests.items()})
    leaks = {leak: number or 0 for leak, number in engine.fetch(counted).to_pylist()[0].items()}
    if config.strategy == "time":
        late = latest.filter(latest["until"] >= cases[c.TIMESTAMP].min().as_scalar())
        leaks["a user's training reaches into the held-out time"] = engine.count(late)
    if config.strategy in ("cold_items", "cold_users"):
        leaks["a cold item or user has training"] = engine.count(_warm(trains, cases, catalogue, config))
    return leaks


def _too_new(time: ir.Value, held_out: ir.Value, config: Split) -> ir.BooleanValue:
    """Whether a time is later than a held-out one; with strict ties also if it is the same."""
    return time > held_out if config.ties == "order" else time >= held_out


def _given_too_late(moments: ir.Table, cases: ir.Table, config: Split) -> ir.Table:
    """Cases whose given history has rows of the held-out item's time, such as its basket, or later ones."""
    earliest = cases.group_by(c.USER_INDEX, c.HISTORY_LENGTH).aggregate(since=cases[c.TIMESTAMP].min())
    given = moments.select(c.USER_INDEX, c.POSITION, c.TIMESTAMP).inner_join(earliest, c.USER_INDEX)
    given = given.filter(
        given[c.POSITION] < given[c.HISTORY_LENGTH], _too_new(given[c.TIMESTAMP], given["since"], config)
    )
    return given.select(c.USER_INDEX, c.HISTORY_LENGTH).distinct()


def _given_with_another(cases: ir.Table) -> ir.Table:
    """Users with a held-out item that is in the given history of another case of the same split."""
    by_user = cases.group_by(c.USER_INDEX, c.SPLIT)
    by_user = by_user.aggregate(first=cases[c.POSITION].min(), given=cases[c.HISTORY_LENGTH].max())
    return by_user.filter(by_user["first"] < by_user["given"])


def _twice(rows: ir.Table) -> ir.Table:
    """Platform's ids with two users: such a person would be trained as one user and tested as the other."""
    owners = rows.group_by(c.PLATFORM, c.PLATFORM_USER_ID)
    owners = owners.aggregate(first=rows[c.USER_INDEX].min(), last=rows[c.USER_INDEX].max())
    return owners.filter(owners["first"] < owners["last"])


def _warm(trains: ir.Table, cases: ir.Table, catalogue: ir.Table, config: Split) -> ir.Table:
    """Training rows of the items or users that the strategy hides."""
    if config.strategy == "cold_items":
        return trains.semi_join(cases, c.ITEM_INDEX)
    target = catalogue.filter(catalogue[c.DOMAIN] == c.TARGET)
    return trains.semi_join(cases, c.USER_INDEX).semi_join(target, c.ITEM_INDEX)
