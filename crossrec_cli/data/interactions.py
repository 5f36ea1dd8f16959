"""One platform's interactions, row by row: what each tells and counts, and why it cannot be used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import ibis
import ibis.expr.types as ir

from crossrec_cli.artifacts import columns as c
from crossrec_cli.config.data_fields import Data
from crossrec_cli.config.source_fields import Interactions
from crossrec_cli.data.catalogue import file_column, mapped
from crossrec_cli.data.cells import words
from crossrec_cli.data.engine import Engine, places
from crossrec_cli.data.identity import ACCOUNT
from crossrec_cli.data.ids import joined
from crossrec_cli.data.ledger import Ledger, Reason
from crossrec_cli.data.raw_files import SOURCE_ROW
from crossrec_cli.data.readings import Kind, Origin, read_cells, set_format
from crossrec_cli.errors import InputError

CLOCK = "clock"
"""When an interaction happened: its timestamp, or an order that only compares within a user."""
USER, ITEM = "user", "item"
"""Numbers of the person and the item, in the order of their ids."""
LISTING = "listing"
"""Number of the item on its platform, as ``ACCOUNT`` is of the user."""
IS_RETURN = "is_return"
PURCHASE = "purchase"
MARK = "mark"
"""What the file says a row is for, with ``split.strategy: given``: one of ``MARKS``."""
FOR_TRAINING, FOR_VALIDATION, FOR_TEST = range(3)
MARKS = {c.TRAIN: FOR_TRAINING, c.VALID: FOR_VALIDATION, "validation": FOR_VALIDATION, c.TEST: FOR_TEST}
WRITTEN_QUANTITY, WRITTEN_RATING = "written_quantity", "written_rating"
"""Whether the file says something there, readable or not."""


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
    """One platform's rows with its own user and item ids, and with ``REASON`` where a row cannot be used.

    With ``MARK`` where ``marks`` names the column that says what each row is for.
    """
    platform, key = data.platforms[index], f"data.platforms[{index}].interactions"
    spec = platform.interactions
    raw = engine.read(spec, limit)
    names = mapped(raw, spec, key)
    if marks is not None:
        file_column(raw, marks, "split.column", spec.path)
    columns = dict.fromkeys([SOURCE_ROW, *names.values(), *([marks] if marks else [])])
    raw = engine.read_once(raw.select(*columns), spec)
    for of, name in (("users", spec.columns.user_id), ("items", spec.columns.item_id)):
        if count := joined(engine, raw, name, spec.path):
            ledger.note("identity", "joined by the space around them", count, of)
    origin = Origin(f"{platform.name} interactions", spec.path, key, spec.timestamp_format)
    read = read_cells(engine, raw, names, _KINDS, origin, ledger)
    clock, nothing = c.TIMESTAMP if spec.columns.timestamp else c.ORDER, ibis.null("float64")
    kind = words(raw[spec.columns.event]) if spec.columns.event else None
    extra = {} if marks is None else {MARK: _marks(engine, raw, marks)}
    if c.ORDER in columns_to_carry(data):
        extra[c.ORDER] = read.get(c.ORDER, nothing)
    part = raw.select(
        SOURCE_ROW,
        **{
            c.USER_ID: read[c.USER_ID],
            c.ITEM_ID: read[c.ITEM_ID],
            c.PLATFORM: ibis.literal(platform.name),
            CLOCK: read[clock],
            c.EVENT: ibis.literal(c.RATING if spec.columns.rating else PURCHASE) if kind is None else kind,
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
    part = part.view()  # or else Ibis would write out how a time is read wherever the time is named
    part = part.mutate(**_worth(part, spec), **{c.REASON: _unusable(part, spec, data)})
    return engine.read_once(part.drop(WRITTEN_QUANTITY, WRITTEN_RATING), spec)


def _marks(engine: Engine, raw: ir.Table, column: str) -> ir.IntegerValue:
    """Of each row one of ``MARKS``; what says nothing is for training.

    Raises:
        InputError: at the first row that says something else.
    """
    said = words(raw[column])
    unknown = raw.select(SOURCE_ROW, said=said).filter(said.notnull() & ~said.isin(list(MARKS)))
    for row in engine.fetch(unknown.order_by(SOURCE_ROW).limit(1)).to_pylist():
        ((path, number),) = places(engine, [row[SOURCE_ROW]])
        raise InputError(
            f"{path}: row {number}: column '{column}' of split.column holds '{row['said']}'; write train, valid or "
            "test, or leave it empty for train"
        )
    branches = ((said == word, ibis.literal(mark, "int8")) for word, mark in MARKS.items())
    return ibis.cases(*branches, else_=ibis.literal(FOR_TRAINING, "int8"))


def columns_to_carry(data: Data) -> list[str]:
    """Columns that tell more than the others do; the rest is not carried along, but filled in at the end.

    Without links, the platforms' own ids follow from the user and the item.
    """
    specs = [platform.interactions for platform in data.platforms]
    weights = {event.weight for spec in specs for event in spec.events.values()} | {1.0}
    differ = {
        c.EVENT: any(spec.columns.event for spec in specs) or len({bool(spec.columns.rating) for spec in specs}) > 1,
        c.QUANTITY: any(spec.columns.quantity for spec in specs),
        c.RATING: any(spec.columns.rating for spec in specs),
        c.WEIGHT: len(weights) > 1,
        c.ORDER: any(spec.columns.orders_ties for spec in specs),
        IS_RETURN: may_return(data),
        ACCOUNT: bool(data.identity.users),
        LISTING: bool(data.identity.items or data.identity.match_items),
    }
    return [name for name, differs in differ.items() if differs]


def may_return(data: Data) -> bool:
    """Whether a row can take a purchase back."""
    specs = [platform.interactions for platform in data.platforms]
    return any(spec.columns.quantity or any(event.returns for event in spec.events.values()) for spec in specs)


def _worth(part: ir.Table, spec: Interactions) -> dict[str, ir.Value]:
    """What each row counts, and whether it takes a purchase back."""
    kind, back = part[c.EVENT], [name for name, event in spec.events.items() if event.returns]
    weights = [(kind == name, event.weight) for name, event in spec.events.items()]
    is_return = (part[c.QUANTITY] < 0).fill_null(False)
    return {
        # To Ibis a cast to float64 would be none, and to an engine 2.0 is a decimal with one digit behind the point.
        c.WEIGHT: (ibis.cases(*weights, else_=1.0) if weights else ibis.literal(1.0)).cast("float32"),
        IS_RETURN: is_return | kind.isin(back).fill_null(False) if back else is_return,
    }


def _unusable(part: ir.Table, spec: Interactions, data: Data) -> ir.IntegerValue:
    """The first reason why a row cannot be used; null if it can."""
    rules = [
        (part[c.USER_ID].isnull(), Reason.NO_USER),
        (part[c.ITEM_ID].isnull(), Reason.NO_ITEM),
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
        known = part[c.EVENT].isin(list(spec.events)).fill_null(False)
        rules.append((~known, Reason.UNKNOWN_EVENT))
    for name, event in spec.events.items():
        if event.at_least is not None:
            enough = (part[c.RATING] >= event.at_least).fill_null(False)
            rules.append(((part[c.EVENT] == name) & ~enough, Reason.LOW_RATING))
    rules.append((part[c.QUANTITY] == 0, Reason.NOTHING))
    return Reason.first(*rules)


def tie_break_order(rows: ir.Table) -> list[str]:
    """The order of one user's rows of one item; those that agree in all of it stand there twice."""
    return [name for name in (CLOCK, LISTING, c.EVENT, c.QUANTITY, c.RATING) if name in rows.columns]
