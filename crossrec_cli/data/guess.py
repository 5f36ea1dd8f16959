"""What the files in a folder seem to be: interactions, items, users, and which of their columns mean what."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import ibis
import ibis.expr.types as ir

from crossrec_cli.config.data import Clean
from crossrec_cli.data.engine import Engine
from crossrec_cli.data.profile import Table, tables
from crossrec_cli.data.values import entries, identifier, path, words
from crossrec_cli.data.vocabulary import COLUMNS, EVENTS, TEXT, spelt
from crossrec_cli.errors import InputError

MANY_TAGS = 100
"""A users' column with more values than this is a name or a date, and no tag."""
SHOWN = 12
RARE = 0.05
"""A category with less of the interactions has too few buyers to be tested with."""
IDS = 1000
"""Ids of the interactions that are looked for in other files."""
WHOLE_CATALOGUE = "*"
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


@dataclass
class Guess:
    """What was found in a folder."""

    interactions: Part
    items: Part
    users: Part | None
    passed_over: list[str]
    """Files of no use, or of which there is a larger one, each with why."""
    torn: list[str]
    """Files of use that cannot be read to the end, each with why."""
    time_formats: dict[str, str]
    """What reads the times, where they do not say it themselves, and what it makes of one; several if they read in
    several ways."""
    categories: dict[str, int]
    """Interactions with each widest category, most first; with what the category column means alone."""
    events: dict[str, int]
    """Rows with each word of the event column."""
    guests: float
    """The share of interactions without a user."""

    @property
    def target(self) -> str:
        """The least bought of the categories that have buyers enough, for which others' buyers are to be won.

        The whole catalogue where there are not two categories.
        """
        if len(self.categories) < 2:
            return WHOLE_CATALOGUE
        enough = [name for name, count in self.categories.items() if count >= RARE * sum(self.categories.values())]
        return enough[-1] if len(enough) > 1 else [*self.categories][-1]


def guess(engine: Engine, folder: Path, given: Mapping[str, str]) -> Guess:
    """Look at the files of a folder: at their columns' names, and at what is in them.

    Args:
        engine: reads them.
        folder: where they are.
        given: our columns, and what the files call them, where that is known.

    Raises:
        InputError: if no file has a column that is given.
    """
    found, passed_over = tables(engine, folder)
    _check(folder, found, given)
    naming = _Naming(given)
    interactions, time_formats = _interactions(engine, found, naming)
    others = [table for table in found if table is not interactions.table]
    items = _items(engine, others, interactions, naming)
    users = _users(engine, [table for table in others if table is not items.table], interactions, naming)
    used = list({part.table.path: part.table for part in (interactions, items, users) if part and part.table}.values())
    passed_over += [_why_not(table, used, naming) for table in others if all(table is not one for one in used)]
    bought = interactions.table.sample if interactions.table else None
    event, user = interactions.means.get("event"), interactions.means.get("user_id")
    return Guess(
        interactions=interactions,
        items=items,
        users=users,
        passed_over=passed_over,
        torn=[table.problem for table in used if table.problem],
        time_formats=time_formats,
        categories=_categories(engine, interactions, items),
        events=_counts(engine, words(bought[event])) if bought is not None and event else {},
        guests=interactions.table.empty_share(engine, user) if interactions.table and user else 0.0,
    )


def _check(folder: Path, found: Sequence[Table], given: Mapping[str, str]) -> None:
    there = sorted({column for table in found for column in table.columns})
    for name in given.values():
        if name not in there:
            close = get_close_matches(name, there, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(there) or 'none'}"
            raise InputError(f"{folder}: no file has a column '{name}'; {hint}")


@dataclass
class _Naming:
    """By which names our columns go: the given one, or else those of the vocabulary."""

    given: Mapping[str, str]

    def candidates(self, kind: str, ours: str, table: Table) -> list[str]:
        """The columns that go by the names of one of ours, the likeliest first, those mostly empty last."""
        if self.given.get(ours) in table.columns:
            return [self.given[ours]]
        half = max(seen.filled for seen in table.seen.values()) / 2
        return sorted(in_order(COLUMNS[kind][ours], table.columns), key=lambda name: table.seen[name].filled < half)

    def means(self, kind: str, table: Table, without: Collection[str] = ()) -> dict[str, str]:
        """Our columns of a kind of file, and those of this one that they seem to be, none of them twice."""
        means: dict[str, str] = {}
        for ours in COLUMNS[kind]:
            free = [name for name in self.candidates(kind, ours, table) if name not in means.values()]
            if ours not in without and free:
                means[ours] = free[0]
        return means


def in_order(names: str, columns: Iterable[str]) -> list[str]:
    """The columns that go by one of the names, however they are spelt, in the order of the names."""
    by_spelling = {spelt(column): column for column in reversed([*columns])}
    return list(dict.fromkeys(by_spelling[spelt(name)] for name in names.split() if spelt(name) in by_spelling))


def _interactions(engine: Engine, found: Sequence[Table], naming: _Naming) -> tuple[Part, dict[str, str]]:
    """The file that says most of who bought what and when, of several the largest; and how it writes its times."""

    def fits(table: Table) -> tuple[int, int]:
        means = naming.means("interactions", table)
        ids = [table.seen[means[ours]] for ours in ("user_id", "item_id") if ours in means]
        repeated = sum(seen.repeats for seen in ids)
        return 2 * (len(ids) == 2) + repeated + ("timestamp" in means), table.size

    if not found:
        return Part(None, missing=["user_id", "item_id", "timestamp"]), {}
    table = max(found, key=fits)
    table.deepen(engine)
    means = naming.means("interactions", table, without=("timestamp", "order"))
    clock, formats = _clock(engine, table, {*means.values()}, naming)
    missing = [ours for ours in ("user_id", "item_id") if ours not in means]
    return Part(table, means | clock, missing if clock else [*missing, "timestamp"]), formats


def _clock(
    engine: Engine, table: Table, used: Collection[str], naming: _Naming
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


def _items(engine: Engine, others: Sequence[Table], interactions: Part, naming: _Naming) -> Part:
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


def _users(engine: Engine, others: Sequence[Table], interactions: Part, naming: _Naming) -> Part | None:
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
    names = [means[ours]] if ours in means else table.columns
    if not known:
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


def _why_not(table: Table, used: Sequence[Table], naming: _Naming) -> str:
    if alike := next((one.path for one in used if one.columns == table.columns), None):
        return f"{table.path}: has the columns of {alike}, which is larger; a glob in place of its path reads both"
    for kind, needed in (("interactions", {"user_id", "item_id"}), ("items", {"item_id"}), ("users", {"user_id"})):
        if needed <= naming.means(kind, table).keys():
            return f"{table.path}: {kind} too, and a smaller file"
    return f"{table.path}: neither a user's nor an item's id; it has {', '.join(table.columns)}"


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
    free = [name for name in table.columns if name not in used and not {"{", "}"} & set(name)]  # a template's own
    seen = table.seen
    free = [name for name in free if not seen[name].mostly(max(seen[name].numbers, seen[name].times))]
    if table is interactions.table and "item_id" in items.means:
        free = table.describe(engine, items.means["item_id"], free)
    known = in_order(TEXT, free)
    brand = items.means.get("brand")
    if known:
        return list(dict.fromkeys([*known, *([brand] if brand in free else [])]))
    category = items.means.get("category")
    return list(dict.fromkeys([*free, *([category] if category else [])])) or [*items.means.values()][:1]


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


def _categories(engine: Engine, interactions: Part, items: Part) -> dict[str, int]:
    """How many of a sample of the interactions are with items of each widest category; of an item the most frequent."""
    if not (interactions.table and items.table and "item_id" in interactions.means and "category" in items.means):
        return {}
    bought, raw = interactions.table.sample, items.table.sample
    listed = raw.select(
        item=identifier(raw[items.means["item_id"]]),
        category=path(entries(raw[items.means["category"]]), Clean()).re_replace(" > .*$", ""),
    ).drop_null()
    counted = listed.group_by("item", "category").aggregate(n=listed.count())
    nth = ibis.row_number().over(group_by="item", order_by=[ibis.desc("n"), "category"])
    catalogue = counted.mutate(nth=nth).filter(lambda rows: rows["nth"] == 0).select("item", "category")
    rows = bought.select(item=identifier(bought[interactions.means["item_id"]])).inner_join(catalogue, "item")
    return _counts(engine, rows["category"])


def _counts(engine: Engine, column: ir.StringColumn) -> dict[str, int]:
    """How often each value occurs, the most frequent first."""
    counted = column.name("value").as_table().group_by("value").aggregate(n=lambda rows: rows.count())
    found = engine.fetch(counted.drop_null("value")).to_pylist()
    return {row["value"]: row["n"] for row in sorted(found, key=lambda row: (-row["n"], row["value"]))}


def event_weights(events: Sequence[str]) -> dict[str, dict[str, object]]:
    """What each word of an event column is likely to be worth."""
    return {
        word: next((worth for pattern, worth in EVENTS.items() if re.search(pattern, word.lower())), {})
        for word in events[:SHOWN]
    }


def repeating(part: Part) -> Iterator[str]:
    """The columns of no use so far that repeat as an id does."""
    for name in part.unused:
        seen = part.table.seen[name] if part.table else None
        if seen and seen.repeats and not seen.mostly(max(seen.times, seen.fractions)):
            yield name


def timelike(part: Part) -> Iterator[str]:
    """The columns of no use so far that read as times."""
    for name in part.unused:
        if part.table and part.table.seen[name].mostly(part.table.seen[name].times):
            yield name
