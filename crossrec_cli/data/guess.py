"""What the files in a folder seem to be: interactions, items, users, and which of their columns mean what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import ibis.expr.types as ir

from crossrec_cli.config.data import Clean, Source
from crossrec_cli.data.engine import COMPRESSED, DELIMITERS, JSON_LINES, RECBOLE, SOURCE_ROW, Engine
from crossrec_cli.data.values import entries, identifier, path, words
from crossrec_cli.errors import InputError

SAMPLE = 1_000_000
"""Interactions that are read to see what is bought."""
MANY_TAGS = 100
"""A users' column with more values than this is a name or a date, and no tag."""
SHOWN = 12
RARE = 0.05
"""A category with less of the interactions has too few buyers to be tested with."""

USER = "user user_id uid customer customer_id cust_id household household_id household_key member member_id visitor_id "
USER += "client_id account_id reviewer_id buyer_id person_id shopper_id u"
ITEM = "item item_id iid product product_id prod_id parent_asin asin sku sku_id article article_id movie_id isbn "
ITEM += "goods_id book_id"
TIME = "timestamp time datetime event_time event_timestamp transaction_timestamp created_at ordered_at order_date "
TIME += "purchase_date unix_review_time review_time t_dat date day ts"
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "interactions": {
        "user_id": USER,
        "item_id": ITEM,
        "timestamp": TIME,
        "event": "event event_type action action_type behavior behavior_type interaction_type",
        "quantity": "quantity qty units amount_of_units",
        "rating": "rating overall stars review_rating",
    },
    "items": {
        "item_id": ITEM,
        "category": "category categories category_path category_code main_category department category_name "
        "product_category product_group_name genres genre section class kind product_type",
        "brand": "brand brand_name manufacturer store",
        "price": "price unit_price retail_price",
        "language": "language lang",
    },
    "users": {"user_id": USER},
}
"""Of each file, our columns and the names that they go by, the likeliest first."""
TEXT = "title name item_name product_name prod_name product_title display_name product_type product_type_name "
TEXT += "product_category description desc detail_desc"
EVENTS: dict[str, dict[str, object]] = {
    r"refund|return|cancel": {"returns": True},
    r"view|click|impress|visit|pv": {"weight": 0.1},
}
EVENTS |= {r"cart|wish|fav|save|basket": {"weight": 0.5}}


@dataclass
class Table:
    """One file, or a folder of Parquet parts."""

    path: str
    columns: list[str]
    kind: str = ""
    """``interactions``, ``items`` or ``users``; empty if it is none of them."""
    means: dict[str, str] = field(default_factory=dict)
    """Our columns and the file's."""
    rest: list[str] = field(default_factory=list)
    """Its other columns that are of use: texts of items, tags of users."""

    @classmethod
    def of(cls, path: str, columns: list[str]) -> Table:
        """What it is by its columns' names."""
        for kind, needed in (("interactions", 2), ("items", 2), ("users", 1)):
            means = _means(kind, columns)
            if [*means][:needed] == [*COLUMNS[kind]][:needed]:
                return cls(path, columns, kind, means)
        return cls(path, columns)


@dataclass
class Guess:
    """What was found in a folder."""

    interactions: Table
    items: Table
    users: Table | None
    passed_over: list[str]
    """Files of no use, or of which there is a larger one, each with why."""
    categories: dict[str, int]
    """Interactions with each widest category, most first; with what the category column means alone."""
    events: dict[str, int]
    """Rows with each word of the event column."""

    @property
    def target(self) -> str:
        """The least bought of the categories that have buyers enough, for which others' buyers are to be won."""
        enough = [name for name, count in self.categories.items() if count >= RARE * sum(self.categories.values())]
        return (enough or [*self.categories, "FILL IN"])[-1 if len(enough) > 1 else 0]


def guess(engine: Engine, folder: Path) -> Guess:
    """Look at the files of a folder, by their columns' names first.

    Raises:
        InputError: if no file holds interactions, or none holds items, with the columns that there are.
    """
    tables, passed_over = _tables(engine, folder)
    chosen: dict[str, Table] = {}
    for table in sorted(tables, key=lambda table: -_size(table.path)):
        if not table.kind:
            passed_over.append(f"{table.path}: neither a user's nor an item's id")
        elif table.kind in chosen:
            passed_over.append(f"{table.path}: {table.kind} too, and a smaller file")
        else:
            chosen[table.kind] = table
    interactions, users = chosen.get("interactions"), chosen.get("users")
    items = chosen.get("items") or (_items_of(interactions) if interactions else None)
    if interactions is None or items is None:
        lacks = "a user's and an item's id" if interactions is None else "an item's id and a category"
        there = "; ".join(f"{table.path} has {', '.join(table.columns)}" for table in tables) or "there is no table"
        raise InputError(f"{folder}: no file has columns that look like {lacks}: {there}")
    items.rest = _texts(items)
    if users:
        users.rest = _tags(engine, users)
    bought, categories = _categories(engine, interactions, items)
    events = _counts(engine, words(bought[event])) if (event := interactions.means.get("event")) else {}
    return Guess(interactions, items, users, passed_over, categories, events)


def _tables(engine: Engine, folder: Path) -> tuple[list[Table], list[str]]:
    """What can be read, and what cannot and why."""
    forms = {*DELIMITERS, *JSON_LINES, *RECBOLE, ".parquet"}
    tables, broken = [], []
    for entry in sorted(folder.iterdir()):
        name = entry.name.lower()
        for ending in COMPRESSED:
            name = name.removesuffix(ending)
        of_parts = entry.is_dir() and any(entry.rglob("*.parquet"))
        if entry.name.startswith((".", "_")) or not (of_parts or Path(name).suffix in forms):
            continue
        try:
            columns = [column for column in engine.read(Source(path=str(entry)), 1).columns if column != SOURCE_ROW]
        except InputError as error:
            broken.append(str(error))
        else:
            tables.append(Table.of(str(entry), columns))
    return tables, broken


def _items_of(interactions: Table) -> Table | None:
    """What is bought may be told beside who bought it."""
    means = _means("items", interactions.columns)
    return Table(interactions.path, interactions.columns, "items", means) if "category" in means else None


def _means(kind: str, columns: Sequence[str]) -> dict[str, str]:
    """Our columns of a kind of file, and those of this one that they seem to be."""
    return {ours: name for ours, names in COLUMNS[kind].items() if (name := _first(names, columns))}


def _first(names: str, columns: Iterable[str]) -> str | None:
    """The first of the names that a column goes by, however it is spelt."""
    spelt = {_plain(column): column for column in reversed([*columns])}
    return next((spelt[_plain(name)] for name in names.split() if _plain(name) in spelt), None)


def _plain(name: str) -> str:
    return re.sub(r":.*|[^a-z0-9]", "", name.lower())


def _size(source: str) -> int:
    file = Path(source)
    return sum(part.stat().st_size for part in file.rglob("*.parquet")) if file.is_dir() else file.stat().st_size


def _texts(items: Table) -> list[str]:
    """The columns to be read by the language model: what is written for people, else all there is."""
    known = [column for name in TEXT.split() if (column := _first(name, items.columns))]
    if known and "brand" in items.means:
        known.append(items.means["brand"])
    others = [column for column in items.columns if column not in items.means.values()]
    texts = dict.fromkeys(known or [*others, items.means["category"]])
    return [column for column in texts if not {"{", "}"} & set(column)]  # which a template could not name


def _tags(engine: Engine, users: Table) -> list[str]:
    """The columns with few values."""
    raw = engine.read(Source(path=users.path))
    others = [column for column in users.columns if column != users.means["user_id"]]
    if not others:
        return []
    counts = engine.fetch(raw.aggregate(**{f"n{number}": raw[name].nunique() for number, name in enumerate(others)}))
    return [name for number, name in enumerate(others) if 1 < counts[f"n{number}"][0].as_py() <= MANY_TAGS]


def _categories(engine: Engine, interactions: Table, items: Table) -> tuple[ir.Table, dict[str, int]]:
    """A sample of the interactions, and how many of them are with items of each widest category."""
    bought = engine.read(Source(path=interactions.path), SAMPLE)
    raw = engine.read(Source(path=items.path))
    catalogue = raw.select(
        item=identifier(raw[items.means["item_id"]]),
        category=path(entries(raw[items.means["category"]]), Clean()).re_replace(" > .*$", ""),
    )
    rows = bought.select(item=identifier(bought[interactions.means["item_id"]])).inner_join(catalogue, "item")
    return bought, _counts(engine, rows.category)


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
