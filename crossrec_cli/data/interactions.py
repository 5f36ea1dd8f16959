"""One platform's interactions, row by row: what each means, how much it counts, and why it cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import ibis
import ibis.expr.types as ir

from crossrec_cli.artifacts import columns as c
from crossrec_cli.config.data_fields import Data
from crossrec_cli.config.source_fields import Interactions
from crossrec_cli.data.catalogue import file_column, mapped
from crossrec_cli.data.cells import identifier, words
from crossrec_cli.data.engine import Engine, file_and_row
from crossrec_cli.data.ledger import Ledger, Reason
from crossrec_cli.data.raw_files import SOURCE_ROW
from crossrec_cli.data.readings import Kind, Origin, read_cells, set_format
from crossrec_cli.errors import InputError

CLOCK = "clock"
"""When an interaction happened: its timestamp, or an order that is comparable within a user only."""
IS_RETURN = "is_return"
PURCHASE = "purchase"
MARK = "mark"
"""What a row is for, with ``split.strategy: given``: one of the values of ``MARKS``."""
FOR_TRAINING, FOR_VALIDATION, FOR_TEST = range(3)
MARKS = {c.TRAIN: FOR_TRAINING, c.VALID: FOR_VALIDATION, "validation": FOR_VALIDATION, c.TEST: FOR_TEST}
WRITTEN_QUANTITY, WRITTEN_RATING = "written_quantity", "written_rating"
"""Whether the cell has any text, also such that cannot be read."""


_KINDS: dict[str, Kind] = {
    c.USER_ID: "id",
    c.ITEM_ID: "id",
    c.TIMESTAMP: "time",
    c.ORDER: "number",
    c.QUANTITY: "number",
    c.RATING: "number",
}


def read_interactions(
    engine: Engine, data: Data, index: int, limit: int | None, ledger: Ledger, marks: str | None = None
) -> ir.Table:
    """One platform's rows with the platform's user and item ids; ``REASON`` is set if a row cannot be used.

    With ``MARK`` if ``marks`` is given: the file's column that says what each row is for.
    """
    platform, key = data.platforms[index], f"data.platforms[{index}].interactions"
    spec = platform.interactions
    raw = engine.read(spec, limit)
    names = mapped(raw, spec, key)
    if marks is not None:
        file_column(raw, marks, "split.column", spec.path)
    columns = dict.fromkeys([SOURCE_ROW, *names.values(), *([marks] if marks else [])])
    raw = engine.read_once(raw.select(*columns), spec)
    ids = {"users": spec.columns.user_id, "items": spec.columns.item_id}
    for kind, count in _merged_ids(engine, raw, ids, spec.path).items():
        ledger.note("identity", "joined by the space around them", count, kind)
    origin = Origin(f"{platform.name} interactions", spec.path, key, spec.timestamp_format)
    read = read_cells(engine, raw, names, _KINDS, origin, ledger)
    clock, nothing = c.TIMESTAMP if spec.columns.timestamp else c.ORDER, ibis.null("float64")
    event = words(raw[spec.columns.event]) if spec.columns.event else None
    extra = {} if marks is None else {MARK: _marks(engine, raw, marks)}
    if c.ORDER in columns_to_carry(data):
        extra[c.ORDER] = read.get(c.ORDER, nothing)
    part = raw.select(
        SOURCE_ROW,
        **{
            c.PLATFORM_USER_ID: read[c.USER_ID],
            c.PLATFORM_ITEM_ID: read[c.ITEM_ID],
            c.PLATFORM: ibis.literal(platform.name),
            CLOCK: read[clock],
            c.EVENT: ibis.literal(c.RATING if spec.columns.rating else PURCHASE) if event is None else event,
            c.QUANTITY: read.get(c.QUANTITY, nothing),
            c.RATING: read.get(c.RATING, nothing),
            **{
                written: words(raw[names[name]]).notnull() if name in names else ibis.literal(False)
                for written, name in ((WRITTEN_QUANTITY, c.QUANTITY), (WRITTEN_RATING, c.RATING))
            },
            **extra,
        },
    )
    early = f"read as a time it is before data.clean.earliest ({data.clean.earliest:%Y-%m-%d}); write dates and times"
    advice = {
        Reason.NO_TIME: (clock, set_format(origin) if spec.columns.timestamp else "no number"),
        Reason.TOO_EARLY: (clock, early),
        Reason.NO_QUANTITY: (c.QUANTITY, "no number"),
        Reason.NO_RATING: (c.RATING, "no number"),
    }
    ledger.trace(raw, {reason: (names[name], what) for reason, (name, what) in advice.items() if name in names})
    part = part.view()  # otherwise Ibis repeats the expression that reads a time wherever the time is used
    part = part.mutate(**_weight_and_return(part, spec), **{c.REASON: _unusable(part, spec, data)})
    return engine.read_once(part.drop(WRITTEN_QUANTITY, WRITTEN_RATING), spec)


def _marks(engine: Engine, raw: ir.Table, column: str) -> ir.IntegerValue:
    """For each row one of the values of ``MARKS``; an empty cell is for training.

    Raises:
        InputError: for the first cell that holds something else.
    """
    word = words(raw[column])
    unknown = raw.select(SOURCE_ROW, word=word).filter(word.notnull() & ~word.isin(list(MARKS)))
    for row in engine.fetch(unknown.order_by(SOURCE_ROW).limit(1)).to_pylist():
        ((path, number),) = file_and_row(engine, [row[SOURCE_ROW]])
        raise InputError(
            f"{path}: row {number}: column '{column}' of split.column holds '{row['word']}'; write train, valid or "
            "test, or leave it empty for train"
        )
    branches = ((word == name, ibis.literal(mark, "int8")) for name, mark in MARKS.items())
    return ibis.cases(*branches, else_=ibis.literal(FOR_TRAINING, "int8"))


def columns_to_carry(data: Data) -> list[str]:
    """Columns that cannot be derived from the others. All the rest is added at the end.

    Without links, the platforms' ids can be derived from the keys of user and item.
    """
    specs = [platform.interactions for platform in data.platforms]
    weights = {event.weight for spec in specs for event in spec.events.values()} | {1.0}
    differ = {
        c.EVENT: any(spec.columns.event for spec in specs) or len({bool(spec.columns.rating) for spec in specs}) > 1,
        c.QUANTITY: any(spec.columns.quantity for spec in specs),
        c.RATING: any(spec.columns.rating for spec in specs),
        c.WEIGHT: len(weights) > 1 or may_dislike(data),
        c.ORDER: any(spec.columns.orders_ties for spec in specs),
        IS_RETURN: may_return(data),
        c.USER_NUMBER: bool(data.identity.users),
        c.ITEM_NUMBER: bool(data.identity.items or data.identity.match_items),
    }
    return [name for name, differs in differ.items() if differs]


def may_return(data: Data) -> bool:
    """Whether a row can take a purchase back."""
    specs = [platform.interactions for platform in data.platforms]
    return any(spec.columns.quantity or any(event.returns for event in spec.events.values()) for spec in specs)


def may_dislike(data: Data) -> bool:
    """Whether a row can be a dislike."""
    events = [event for platform in data.platforms for event in platform.interactions.events.values()]
    return any(event.dislikes for event in events) or (data.clean.returns == "dislike" and may_return(data))


def likes(rows: ir.Table) -> ir.BooleanValue:
    """Which rows are no dislikes."""
    return rows[c.WEIGHT] > 0 if c.WEIGHT in rows.columns else ibis.literal(True)


def _weight_and_return(part: ir.Table, spec: Interactions) -> dict[str, ir.Value]:
    """How much each row counts, and whether it takes a purchase back."""
    event, back = part[c.EVENT], [name for name, kind in spec.events.items() if kind.returns]
    weights: list[tuple[ir.BooleanValue, float]] = []
    for name, kind in spec.events.items():
        if kind.disliked_up_to is not None:
            low = (part[c.RATING] <= kind.disliked_up_to).fill_null(False)
            weights.append(((event == name) & low, -kind.weight))
        weights.append((event == name, kind.weight))
    is_return = (part[c.QUANTITY] < 0).fill_null(False)
    return {
        # Ibis drops a cast to float64, and for an engine 2.0 is a decimal with one digit after the point.
        c.WEIGHT: (ibis.cases(*weights, else_=1.0) if weights else ibis.literal(1.0)).cast("float32"),
        IS_RETURN: is_return | event.isin(back).fill_null(False) if back else is_return,
    }


def _unusable(part: ir.Table, spec: Interactions, data: Data) -> ir.IntegerValue:
    """The first reason why a row cannot be used; null if it can."""
    rules = [
        (part[c.PLATFORM_USER_ID].isnull(), Reason.NO_USER),
        (part[c.PLATFORM_ITEM_ID].isnull(), Reason.NO_ITEM),
        (part[CLOCK].isnull(), Reason.NO_TIME),
        (part[WRITTEN_QUANTITY] & part[c.QUANTITY].isnull(), Reason.NO_QUANTITY),
        (part[WRITTEN_RATING] & part[c.RATING].isnull(), Reason.NO_RATING),
    ]
    if spec.columns.timestamp is not None:
        rules.append((part[CLOCK] < ibis.literal(data.clean.earliest), Reason.TOO_EARLY))
        latest = data.clean.latest or datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1)
        if data.clean.future != "keep":
            rules.append((part[CLOCK] > ibis.literal(latest), Reason.FUTURE))
    if spec.events and spec.columns.event:
        is_known = part[c.EVENT].isin(list(spec.events)).fill_null(False)
        rules.append((~is_known, Reason.UNKNOWN_EVENT))
    for name, event in spec.events.items():
        if event.at_least is not None:
            enough = (part[c.RATING] >= event.at_least).fill_null(False)
            rules.append(((part[c.EVENT] == name) & ~enough, Reason.LOW_RATING))
    rules.append((part[c.QUANTITY] == 0, Reason.ZERO_QUANTITY))
    return Reason.first(*rules)


def tie_break_order(rows: ir.Table) -> list[str]:
    """The order of one user's rows of one item; rows that are equal in all of it are duplicates."""
    return [name for name in (CLOCK, c.ITEM_NUMBER, c.EVENT, c.QUANTITY, c.RATING) if name in rows.columns]


def _merged_ids(engine: Engine, rows: ir.Table, names: Mapping[str, str], reading: str) -> dict[str, int]:
    """How many ids become equal to another one when ``identifier`` removes the space around them.

    Args:
        engine: the engine.
        rows: of a file.
        names: the columns by the kind of their ids.
        reading: the file, for messages.

    Returns:
        The number for each kind with such ids. One query over all cells finds out whether there are any.
    """
    texts = {kind: rows[name] for kind, name in names.items() if rows[name].type().is_string()}
    padded = {kind: (column != identifier(column)).any() for kind, column in texts.items()}
    seen = engine.fetch(rows.aggregate(**padded)).to_pylist()[0] if padded else {}
    counts = {kind: _count_merged(engine, rows, names[kind], reading) for kind, is_padded in seen.items() if is_padded}
    return {kind: count for kind, count in counts.items() if count}


def _count_merged(engine: Engine, rows: ir.Table, name: str, reading: str) -> int:
    column = rows[name]
    both = rows.select(form=column, id=identifier(column))
    padded = engine.keep(both.filter(both["form"] != both["id"]).distinct(), reading)
    plain = rows.select(id=column).distinct().semi_join(padded, "id")
    count = engine.count(padded) + engine.count(plain) - engine.count(padded.select("id").distinct())
    engine.drop(padded)
    return count
