"""Which file of a folder holds interactions, which items and which users, and which of their columns mean what."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import ibis
import ibis.expr.types as ir

from crossrec_cli.data.cells import identifier
from crossrec_cli.data.engine import Engine
from crossrec_cli.data.profile import Column, Table
from crossrec_cli.data.vocabulary import COLUMNS, TEXT, in_order

MANY_TAGS = 100
"""A users' column with more values than this is a name or a date, and no tag."""
MANY_EVENTS = 30
"""A column with more words than this says nothing of what was done, whatever it is called."""
IDS = 1000
"""Ids of the interactions that are looked for in other files."""
CLOCKS = ("timestamp", "order")
ISO = "%Y-%m-%d"


@dataclass
class Part:
    """A file and what it is taken for."""

    table: Table | None
    """None: there is none for it."""
    means: dict[str, str] = field(default_factory=dict)
    """Our columns and the file's."""
    missing: list[str] = field(default_factory=list)
    """Our columns that it needs, and that none of its own seems to be."""
    rest: list[str] = field(default_factory=list)
    """Its other columns that are of use: texts of items, tags of users."""

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self.table.size if self.table else 0

    @property
    def unused(self) -> list[str]:
        """Its columns that are of no use so far."""
        columns = self.table.columns if self.table else []
        return [name for name in columns if name not in {*self.means.values(), *self.rest}]

    def likely(self, ours: str) -> list[str]:
        """Of these, those whose contents look like one of ours: that repeat as an id does, or read as times."""
        seen = {name: self.table.seen[name] for name in self.unused} if self.table else {}
        if ours == "timestamp":
            return [name for name, column in seen.items() if column.mostly(column.times)]
        repeating = {name: column for name, column in seen.items() if column.repeats}
        return [name for name, column in repeating.items() if not column.mostly(max(column.times, column.fractions))]


@dataclass
class Naming:
    """By which names our columns go: the given one, or else those of the vocabulary."""

    given: Mapping[str, str]

    def candidates(self, kind: str, ours: str, table: Table) -> list[str]:
        """The columns that go by the names of one of ours, the likeliest first, those mostly empty last."""
        if self.given.get(ours) in table.columns:
            return [self.given[ours]]
        half = max((seen.filled for seen in table.seen.values()), default=0) / 2
        return sorted(in_order(COLUMNS[kind][ours], table.columns), key=lambda name: table.seen[name].filled < half)

    def means(self, kind: str, table: Table) -> dict[str, str]:
        """Our columns of a kind of file, and those of this one that they seem to be, none of them twice."""
        means: dict[str, str] = {}
        for ours in COLUMNS[kind]:
            free = [name for name in self.candidates(kind, ours, table) if name not in means.values()]
            if free:
                means[ours] = free[0]
        return means


def interactions_part(engine: Engine, found: Sequence[Table], naming: Naming) -> tuple[Part, dict[str, str]]:
    """The file that says most of who bought what and when, of several the largest; and how it writes its times."""

    def evidence(table: Table) -> tuple[int, int]:
        means = naming.means("interactions", table)
        ids = [table.seen[means[ours]] for ours in ("user_id", "item_id") if ours in means]
        repeated = sum(seen.repeats for seen in ids)
        return 2 * (len(ids) == 2) + repeated + ("timestamp" in means), table.size

    if not found:
        return Part(None, missing=["user_id", "item_id", "timestamp"]), {}
    table = max(found, key=evidence)
    table.deepen(engine)
    means = naming.means("interactions", table)
    means = {ours: name for ours, name in means.items() if ours not in CLOCKS and _can_be(ours, table.seen[name])}
    clock, formats = _clock(engine, table, {*means.values()}, naming)
    missing = [ours for ours in ("user_id", "item_id") if ours not in means]
    means = {ours: (means | clock)[ours] for ours in COLUMNS["interactions"] if ours in means | clock}
    return Part(table, means, missing if clock else [*missing, "timestamp"]), formats


def _can_be(ours: str, seen: Column) -> bool:
    """Whether what is in a column can be what it is called."""
    if ours == "event":
        return seen.distinct <= MANY_EVENTS
    return ours not in ("quantity", "rating") or not seen.filled or seen.mostly(seen.numbers)


def _clock(
    engine: Engine, table: Table, used: Collection[str], naming: Naming
) -> tuple[dict[str, str], dict[str, str]]:
    """Which column says when, or at least in what order; and the formats of its times if they need one."""
    named = [name for name in naming.candidates("interactions", "timestamp", table) if name not in used]
    for name in named:
        if (formats := _times(engine, table, name)) is not None:
            return {"timestamp": name}, formats
    if named and (naming.given.get("timestamp") in named or not table.seen[named[0]].filled):
        return {"timestamp": named[0]}, {}
    others = [name for name in table.columns if name not in {*used, *named}]
    others = [name for name in others if not table.seen[name].mostly(table.seen[name].numbers)]  # a number may be any
    read = {name: formats for name in others if (formats := _times(engine, table, name)) is not None}
    if len(read) == 1:  # of several it may be any
        return {"timestamp": next(iter(read))}, next(iter(read.values()))
    for name in (*named, *naming.candidates("interactions", "order", table)):
        if name not in used and table.seen[name].mostly(table.seen[name].numbers):
            return {"order": name}, {}
    return {}, {}


def _times(engine: Engine, table: Table, name: str) -> dict[str, str] | None:
    """The formats that a column's times need; empty where they need none, None where it holds no times."""
    formats = table.time_formats(engine, name)
    if table.seen[name].mostly(table.seen[name].times) and all(form.startswith(ISO) for form in formats):
        return {}
    return formats or None


def items_part(engine: Engine, others: Sequence[Table], interactions: Part, naming: Naming) -> Part:
    """The file with the items' facts: with a category if there is one, of several the largest, else interactions'."""
    parts = []
    category = naming.given.get("category")
    for table in others:
        means = naming.means("items", table)
        if "user_id" in naming.means("interactions", table) or (category and category not in table.columns):
            continue
        if _holds(engine, interactions, "item_id", table, means):
            parts.append(Part(table, means))
    if parts:
        part = max(parts, key=lambda part: ("category" in part.means, len(part.means), part.size))
        if part.table:
            part.table.deepen(engine)
    else:
        means = naming.means("items", interactions.table) if interactions.table else {}
        if item := interactions.means.get("item_id"):
            means["item_id"] = item
        part = Part(interactions.table, means)
    part.missing = [] if "item_id" in part.means else ["item_id"]
    part.rest = _texts(engine, part, interactions) if part.table else []
    return part


def users_part(engine: Engine, others: Sequence[Table], interactions: Part, naming: Naming) -> Part | None:
    """The file with the users' facts, of several the largest."""
    parts = []
    for table in others:
        means = naming.means("users", table)
        if "item_id" not in naming.means("interactions", table) and _holds(
            engine, interactions, "user_id", table, means
        ):
            parts.append(Part(table, means))
    if not parts:
        return None
    part = max(parts, key=lambda part: part.size)
    part.rest = _tags(engine, part)
    return part


def _holds(engine: Engine, interactions: Part, ours: str, table: Table, means: dict[str, str]) -> bool:
    """Whether a file has the ids of the interactions: in the column of that name, else in the one that has the most.

    That column is put into ``means``. Where the interactions have none of their own, the name must do.
    """
    if interactions.table is None or ours not in interactions.means:
        return ours in means
    sample = interactions.table.sample
    ids = sample.select(id=identifier(sample[interactions.means[ours]])).drop_null().distinct().limit(IDS)
    known = engine.fetch(ids)["id"].to_pylist()
    unique = [name for name, seen in table.seen.items() if seen.distinct == seen.filled]
    names = [means[ours]] if ours in means else unique
    if not (known and names):
        return ours in means
    counts = {f"n{place}": _known(table.sample[name], known) for place, name in enumerate(names)}
    row = engine.fetch(table.sample.aggregate(**counts)).to_pylist()[0]
    best = max(range(len(names)), key=lambda place: row[f"n{place}"])
    if row[f"n{best}"] < len(known) / 2 and ours not in means:
        return False
    means[ours] = names[best]
    return True


def _known(column: ir.Column, ids: Sequence[str]) -> ir.IntegerScalar:
    """How many of the ids a column holds."""
    text = identifier(column)
    return text.isin(list(ids)).ifelse(text, ibis.null("string")).nunique()


def _texts(engine: Engine, items: Part, interactions: Part) -> list[str]:
    """The columns to be read by the language model: what is written for people, else all words there are.

    Of order lines only those that say something of the item; the item's id where there is nothing else.
    """
    table = items.table
    if table is None:
        return []
    used = {*items.means.values()} - {items.means.get("brand")}
    if table is interactions.table:
        used |= {*interactions.means.values()}
    free = [name for name in table.columns if name not in used and not set("{}:!") & set(name)]  # a template's own
    seen = table.seen
    free = [name for name in free if not seen[name].mostly(max(seen[name].numbers, seen[name].times))]
    item = items.means.get("item_id") if table is interactions.table else None

    def of_items(names: list[str]) -> list[str]:
        return table.describe(engine, item, names) if item and names else names

    brand, category = items.means.get("brand"), items.means.get("category")
    if known := of_items(in_order(TEXT, free)):
        return list(dict.fromkeys([*known, *([brand] if brand in free else [])]))
    return list(dict.fromkeys([*of_items(free), *([category] if category else [])])) or [*items.means.values()][:1]


def _tags(engine: Engine, users: Part) -> list[str]:
    """The columns with few values."""
    if users.table is None:
        return []
    users.table.deepen(engine)
    sample = users.table.sample
    others = [column for column in users.table.columns if column != users.means["user_id"]]
    if not others:
        return []
    counts = {f"n{number}": sample[name].nunique() for number, name in enumerate(others)}
    row = engine.fetch(sample.aggregate(**counts)).to_pylist()[0]
    return [name for number, name in enumerate(others) if 1 < row[f"n{number}"] <= MANY_TAGS]
