"""Guess which files of a folder are interactions, items and users, and what their columns mean."""

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
"""A column of users with more values than this is a name or a date, and no tag."""
MANY_EVENTS = 30
"""A column with more words than this is no event column, whatever its name."""
IDS = 1000
"""How many ids of the interactions are searched for in other files."""
CLOCKS = ("timestamp", "order")
ISO = "%Y-%m-%d"


@dataclass
class Part:
    """A file, and what its columns seem to be."""

    table: Table | None
    """None: no such file."""
    means: dict[str, str] = field(default_factory=dict)
    """The file's column for each of ours."""
    missing: list[str] = field(default_factory=list)
    """Our columns that it needs but does not seem to have."""
    rest: list[str] = field(default_factory=list)
    """Other columns that are used: texts of items, tags of users."""

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self.table.size if self.table else 0

    @property
    def unused(self) -> list[str]:
        """Columns that are not used yet."""
        columns = self.table.columns if self.table else []
        return [name for name in columns if name not in {*self.means.values(), *self.rest}]

    def likely(self, ours: str) -> list[str]:
        """Unused columns whose content fits one of ours: they repeat like ids, or have times."""
        seen = {name: self.table.seen[name] for name in self.unused} if self.table else {}
        if ours == "timestamp":
            return [name for name, column in seen.items() if column.mostly(max(column.times, column.excel_days))]
        repeating = {name: column for name, column in seen.items() if column.repeats}
        return [name for name, column in repeating.items() if not column.mostly(max(column.times, column.fractions))]


@dataclass
class Naming:
    """The names that our columns may have: those given, else those of the vocabulary."""

    given: Mapping[str, Sequence[str]]

    def candidates(self, kind: str, ours: str, table: Table) -> list[str]:
        """The columns with a name of one of ours, the most probable first, those mostly empty last."""
        if given := [name for name in self.given.get(ours, ()) if name in table.columns]:
            return given[:1]
        half = max((seen.filled for seen in table.seen.values()), default=0) / 2
        return sorted(in_order(COLUMNS[kind][ours], table.columns), key=lambda name: table.seen[name].filled < half)

    def means(self, kind: str, table: Table) -> dict[str, str]:
        """The most probable column of a file for each of ours, none of them twice."""
        means: dict[str, str] = {}
        for ours in COLUMNS[kind]:
            free = [name for name in self.candidates(kind, ours, table) if name not in means.values()]
            if free:
                means[ours] = free[0]
        return means


def interactions_part(engine: Engine, tables: Sequence[Table], naming: Naming) -> tuple[Part, dict[str, str]]:
    """The file with the most evidence of interactions, the largest of equals; and the formats of its times."""

    def evidence(table: Table) -> tuple[int, int]:
        means = naming.means("interactions", table)
        ids = [table.seen[means[ours]] for ours in ("user_id", "item_id") if ours in means]
        repeated = sum(seen.repeats for seen in ids)
        return 2 * (len(ids) == 2) + repeated + ("timestamp" in means), table.size

    if not tables:
        return Part(None, missing=["user_id", "item_id", "timestamp"]), {}
    table = max(tables, key=evidence)
    table.deepen(engine)
    means = naming.means("interactions", table)
    means = {ours: name for ours, name in means.items() if ours not in CLOCKS and _can_be(ours, table.seen[name])}
    clock, formats = _clock(engine, table, {*means.values()}, naming)
    missing = [ours for ours in ("user_id", "item_id") if ours not in means]
    means = {ours: (means | clock)[ours] for ours in COLUMNS["interactions"] if ours in means | clock}
    return Part(table, means, missing if clock else [*missing, "timestamp"]), formats


def _can_be(ours: str, seen: Column) -> bool:
    """Whether a column's content fits its name."""
    if ours == "event":
        return seen.distinct <= MANY_EVENTS
    return ours not in ("quantity", "rating") or not seen.filled or seen.mostly(seen.numbers)


def _clock(
    engine: Engine, table: Table, used: Collection[str], naming: Naming
) -> tuple[dict[str, str], dict[str, str]]:
    """The column of the time, or at least of an order; and the formats of its times if they need one."""
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
    """The formats that a column's times need; empty if they need none, None if it has no times."""
    formats = table.time_formats(engine, name)
    if table.seen[name].mostly(table.seen[name].excel_days):
        return {}
    if table.seen[name].mostly(table.seen[name].times) and all(form.startswith(ISO) for form in formats):
        return {}
    return formats or None


def items_part(engine: Engine, others: Sequence[Table], interactions: Part, naming: Naming) -> Part:
    """The file of items: preferably with a category, the largest of equals; else the file of interactions."""
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
    """The file of users, the largest of several."""
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
    """Whether a file has the ids of the interactions: in the column of that name, else in the one with the most.

    That column is put into ``means``. If the interactions have no such ids, only the name is checked.
    """
    if interactions.table is None or ours not in interactions.means:
        return ours in means
    sample = interactions.table.sample
    ids = sample.select(id=identifier(sample[interactions.means[ours]])).drop_null().distinct().limit(IDS)
    bought = engine.fetch(ids)["id"].to_pylist()
    unique = [name for name, seen in table.seen.items() if seen.distinct == seen.filled]
    names = [means[ours]] if ours in means else unique
    if not (bought and names):
        return ours in means
    counts = {f"n{index}": _count_ids(table.sample[name], bought) for index, name in enumerate(names)}
    row = engine.fetch(table.sample.aggregate(**counts)).to_pylist()[0]
    best = max(range(len(names)), key=lambda index: row[f"n{index}"])
    if row[f"n{best}"] < len(bought) / 2 and ours not in means:
        return False
    means[ours] = names[best]
    return True


def _count_ids(column: ir.Column, ids: Sequence[str]) -> ir.IntegerScalar:
    """How many of the ids a column has."""
    text = identifier(column)
    return text.isin(list(ids)).ifelse(text, ibis.null("string")).nunique()


def _texts(engine: Engine, items: Part, interactions: Part) -> list[str]:
    """The columns for the language model: texts for people, else all columns with words.

    Of order lines only those that describe the item; the item's id if there is nothing else.
    """
    table = items.table
    if table is None:
        return []
    used = {*items.means.values()} - {items.means.get("brand")}
    if table is interactions.table:
        used |= {*interactions.means.values()}
    free = [
        name for name in table.columns if name not in used and not set("{}:!") & set(name)
    ]  # which templates reserve
    seen = table.seen
    free = [name for name in free if not seen[name].mostly(max(seen[name].numbers, seen[name].times))]
    item = items.means.get("item_id") if table is interactions.table else None

    def of_items(names: list[str]) -> list[str]:
        return table.describe(engine, item, names) if item and names else names

    brand, category = items.means.get("brand"), items.means.get("category")
    if texts := of_items(in_order(TEXT, free)):
        return list(dict.fromkeys([*texts, *([brand] if brand in free else [])]))
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
