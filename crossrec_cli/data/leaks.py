"""Whether anything that is asked for is told before: looks at the written tables alone, not at how they were made."""

from __future__ import annotations

from pathlib import Path

import ibis
import ibis.expr.types as ir

from crossrec_cli.artifacts import columns as c
from crossrec_cli.config.data_fields import Split
from crossrec_cli.config.source_fields import Source
from crossrec_cli.data.engine import Engine
from crossrec_cli.data.raw_files import SOURCE_ROW
from crossrec_cli.errors import CrossrecError


class LeakError(CrossrecError):
    """A held-out interaction is told before it is asked for: a fault of crossrec's own."""


def check(engine: Engine, interactions: Path, cases: Path, items: Path, config: Split) -> list[str]:
    """Look for held-out interactions in what trains and in what is given, in preprocess's files.

    Returns:
        In words, the leaks that a split has which came with the data; no other has any.

    Raises:
        LeakError: if there is any of crossrec's own.
    """
    rows, held_out, catalogue = (engine.read(Source(path=str(path))) for path in (interactions, cases, items))
    moments = rows.select(c.USER_INDEX, c.ITEM_INDEX, c.POSITION, c.TIMESTAMP)
    held_out = engine.keep(held_out.drop(SOURCE_ROW), "cases")
    asked = moments.inner_join(held_out, [c.USER_INDEX, c.ITEM_INDEX])
    asked = asked.filter(asked[c.POSITION] >= asked[c.HISTORY_LENGTH])  # an item may have been bought before as well
    asked = engine.keep(asked.select(*held_out.columns, c.POSITION, c.TIMESTAMP), "cases")
    tested, given = asked.filter(asked[c.SPLIT] == c.TEST), config.strategy == "given"
    trains, untested = (rows.filter(rows[c.SPLIT].isin(splits)) for splits in ([c.TRAIN], [c.TRAIN, c.VALID]))
    found = {} if given else _in_training(engine, trains, asked, catalogue, config)
    found |= {
        "what is asked for is not bought after what is given": held_out.anti_join(asked, held_out.columns),
        "what is given is not strictly before what is asked for": _given_at_once(moments, asked, config),
        "one answer is given with another's question": _given_away(asked),
        "one platform's user is two users": _twice(rows),
    }
    after_validation = {} if given else _in_training(engine, untested, tested, catalogue, config)
    found |= {f"{leak}, once validation is over": where for leak, where in after_validation.items()}
    for leak, where in found.items():
        if number := engine.count(where):
            raise LeakError(f"leak: {leak}, {number:,} times; nothing was written; please report this")
    return _too_late(engine, rows, held_out, config) if given else []


def _too_late(engine: Engine, rows: ir.Table, held_out: ir.Table, config: Split) -> list[str]:
    """Rows that the file marks for training or validation though they come no sooner than what is then asked for."""
    told = []
    for asked, marks in ((c.TEST, (c.TRAIN, c.VALID)), (c.VALID, (c.TRAIN,))):
        first = held_out.filter(held_out[c.SPLIT] == asked)
        first = first.group_by(c.USER_INDEX).aggregate(given=first[c.HISTORY_LENGTH].min())
        late = rows.inner_join(first, c.USER_INDEX).filter(ibis._[c.POSITION] >= ibis._["given"])
        late = late.filter(late[c.SPLIT].isin(marks)).group_by(c.SPLIT)
        counted = late.aggregate(rows=ibis._.count(), users=ibis._[c.USER_INDEX].nunique()).order_by(c.SPLIT)
        told += [
            f"split.column '{config.column}': {row['rows']:,} {row[c.SPLIT]} rows of {row['users']:,} users are no "
            f"earlier than their user's first {asked} row; the figures may be better than they would be"
            for row in engine.fetch(counted).to_pylist()
        ]
    return told


def _in_training(
    engine: Engine, trains: ir.Table, asked: ir.Table, catalogue: ir.Table, config: Split
) -> dict[str, ir.Table]:
    """Rows that train and must not, as these questions are asked, by what is wrong with them."""
    earliest = asked.group_by(c.USER_INDEX).aggregate(
        first=asked[c.POSITION].min(), since=asked[c.TIMESTAMP].min(), given=asked[c.HISTORY_LENGTH].min()
    )
    latest = trains.group_by(c.USER_INDEX).aggregate(place=trains[c.POSITION].max(), until=trains[c.TIMESTAMP].max())
    latest = engine.keep(latest, "cases")
    beside = engine.keep(latest.inner_join(earliest, c.USER_INDEX), "cases")
    return {
        "a held-out interaction's place trains": beside.filter(beside["place"] >= beside["first"]),
        "what is not given at the first question trains": beside.filter(beside["place"] >= beside["given"]),
        "training is not strictly before a held-out time": beside.filter(
            _too_new(beside["until"], beside["since"], config)
        ),
        "somebody's training reaches into the held-out time": _late(latest, asked, config),
        "a cold item or user has training": _warm(trains, asked, catalogue, config),
    }


def _late(latest: ir.Table, asked: ir.Table, config: Split) -> ir.Table:
    """Split by time, nobody's training goes on after the first moment that is asked about."""
    if config.strategy != "time":
        return latest.limit(0)
    return latest.filter(latest["until"] >= asked[c.TIMESTAMP].min().as_scalar())


def _too_new(given: ir.Value, asked: ir.Value, config: Split) -> ir.BooleanValue:
    """Whether a time is later than one that is asked about, or, where order does not decide, is that time."""
    return given > asked if config.ties == "order" else given >= asked


def _given_at_once(moments: ir.Table, asked: ir.Table, config: Split) -> ir.Table:
    """Questions to which something is given that happened at the answer's own time, such as its basket, or later."""
    questions = asked.group_by(c.USER_INDEX, c.HISTORY_LENGTH).aggregate(since=asked[c.TIMESTAMP].min())
    given = moments.select(c.USER_INDEX, c.POSITION, c.TIMESTAMP).inner_join(questions, c.USER_INDEX)
    given = given.filter(
        given[c.POSITION] < given[c.HISTORY_LENGTH], _too_new(given[c.TIMESTAMP], given["since"], config)
    )
    return given.select(c.USER_INDEX, c.HISTORY_LENGTH).distinct()


def _given_away(asked: ir.Table) -> ir.Table:
    """Users one of whose answers in a split is among what is given with another question of that split."""
    theirs = asked.group_by(c.USER_INDEX, c.SPLIT)
    theirs = theirs.aggregate(first=asked[c.POSITION].min(), given=asked[c.HISTORY_LENGTH].max())
    return theirs.filter(theirs["first"] < theirs["given"])


def _twice(rows: ir.Table) -> ir.Table:
    """A person split in two would be trained on under one name and asked under the other."""
    owners = rows.group_by(c.PLATFORM, c.ORIGINAL_USER_ID)
    owners = owners.aggregate(first=rows[c.USER_INDEX].min(), last=rows[c.USER_INDEX].max())
    return owners.filter(owners["first"] < owners["last"])


def _warm(trains: ir.Table, asked: ir.Table, catalogue: ir.Table, config: Split) -> ir.Table:
    """What the strategy says is hidden, but is in training."""
    if config.strategy == "cold_items":
        return trains.semi_join(asked, c.ITEM_INDEX)
    if config.strategy == "cold_users":
        target = catalogue.filter(catalogue[c.DOMAIN] == c.TARGET)
        return trains.semi_join(asked, c.USER_INDEX).semi_join(target, c.ITEM_INDEX)
    return trains.limit(0)
