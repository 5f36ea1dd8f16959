"""Guess what the files in a folder are, and what is bought in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import chain
from pathlib import Path

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from crossrec_cli.config.data_fields import Clean
from crossrec_cli.data.catalogue import SELDOM, language_of_text
from crossrec_cli.data.cells import entries, identifier, path, words
from crossrec_cli.data.engine import Engine
from crossrec_cli.data.parts import Naming, Part, interactions_part, items_part, users_part
from crossrec_cli.data.profile import Table, tables
from crossrec_cli.errors import InputError

RARE = 0.05
"""A category with a smaller share of the interactions has too few buyers for a test."""
WHOLE_CATALOGUE = "*"
TEXTS = 1000
"""Texts whose language is detected."""
CERTAIN = 0.6
"""The score of a text's language from which it counts. Of planted titles of five English words, a tenth of those with
a score of 0.4 were detected as another language, of those with this one a thirtieth."""


@dataclass
class Guess:
    """What the files of a folder seem to be."""

    interactions: Part
    items: Part
    users: Part | None
    passed_over: list[str]
    """Files that are not used, each with the reason."""
    torn: list[str]
    """Used files that cannot be read to the end, each with the reason."""
    time_formats: dict[str, str]
    """The formats of the times, if they need one, each with an example; several if they are ambiguous."""
    categories: dict[str, int]
    """Interactions with each top-level category, most first; empty without a category column."""
    events: dict[str, int]
    """Rows with each word of the event column."""
    guests: float
    """The share of interactions without a user."""
    languages: list[str]
    """The languages of the items' texts, the most frequent first; without those that are seldom."""
    categories_file: str = ""
    """A file with the items' categories, if no column has them."""

    @property
    def target(self) -> str:
        """The category with the fewest interactions among those with enough, since there the source can help most.

        The whole catalogue if there are fewer than two categories.
        """
        if len(self.categories) < 2:
            return WHOLE_CATALOGUE
        enough = [name for name, count in self.categories.items() if count >= RARE * sum(self.categories.values())]
        return enough[-1] if len(enough) > 1 else [*self.categories][-1]


def guess(engine: Engine, folder: Path, given: Mapping[str, Sequence[str]]) -> Guess:
    """Guess from the columns' names and their content.

    Args:
        engine: reads the files.
        folder: of the files.
        given: the files' names for some of our columns; files may differ in them.

    Raises:
        InputError: if no file has a column that is given.
    """
    all_tables, passed_over = tables(engine, folder)
    _check(folder, all_tables, given)
    naming = Naming(given)
    interactions, time_formats = interactions_part(engine, all_tables, naming)
    others = [table for table in all_tables if table is not interactions.table]
    items = items_part(engine, others, interactions, naming)
    users = users_part(engine, [table for table in others if table is not items.table], interactions, naming)
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
        languages=_languages(engine, items),
        guests=interactions.table.empty_share(engine, user) if interactions.table and user else 0.0,
    )


def _check(folder: Path, all_tables: Sequence[Table], given: Mapping[str, Sequence[str]]) -> None:
    columns = sorted({column for table in all_tables for column in table.columns})
    for name in chain.from_iterable(given.values()):
        if name not in columns:
            close = get_close_matches(name, columns, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(columns) or 'none'}"
            raise InputError(f"{folder}: no file has a column '{name}'; {hint}")


def _why_not(table: Table, used: Sequence[Table], naming: Naming) -> str:
    if same := next((one.path for one in used if one.columns == table.columns), None):
        return f"{table.path}: has the same columns as {same}, which is larger; to read both, write a glob as its path"
    for kind, needed in (("interactions", {"user_id", "item_id"}), ("items", {"item_id"}), ("users", {"user_id"})):
        if needed <= naming.means(kind, table).keys():
            return f"{table.path}: {kind} too, but a smaller file"
    return f"{table.path}: neither a user's nor an item's id; it has {', '.join(table.columns)}"


def _categories(engine: Engine, interactions: Part, items: Part) -> dict[str, int]:
    """The interactions of a sample with each top-level category. An item has its most frequent category."""
    if not (interactions.table and items.table and "item_id" in interactions.means and "category" in items.means):
        return {}
    raw = items.table.sample
    listed = raw.select(
        item=identifier(raw[items.means["item_id"]]),
        category=path(entries(raw[items.means["category"]]), Clean()).re_replace(" > .*$", ""),
    ).drop_null()
    return _bought_by_category(engine, interactions, listed)


def with_categories(engine: Engine, guess: Guess, proposed: pa.Table, file: str) -> Guess:
    """The same guess with categories from a file that has this table's ``item_id`` and ``category``."""
    means = {ours: name for ours, name in guess.items.means.items() if ours != "category"}
    listed = ibis.memtable(proposed.select(["item_id", "category"])).rename(item="item_id").drop_null()
    counts = _bought_by_category(engine, guess.interactions, listed)
    return replace(guess, items=replace(guess.items, means=means), categories=counts, categories_file=file)


def _bought_by_category(engine: Engine, interactions: Part, listed: ir.Table) -> dict[str, int]:
    """The interactions of a sample with each category, of items and their categories."""
    if interactions.table is None:
        return {}
    bought = interactions.table.sample
    counted = listed.group_by("item", "category").aggregate(n=listed.count())
    nth = ibis.row_number().over(group_by="item", order_by=[ibis.desc("n"), "category"])
    catalogue = counted.mutate(nth=nth).filter(lambda rows: rows["nth"] == 0).select("item", "category")
    rows = bought.select(item=identifier(bought[interactions.means["item_id"]])).inner_join(catalogue, "item")
    return _counts(engine, rows["category"])


def _languages(engine: Engine, items: Part) -> list[str]:
    """The languages of some items' texts; those of fewer than a twentieth of the texts are mostly mistakes."""
    if items.table is None or not items.rest:
        return []
    rows = engine.fetch(items.table.sample.select(*items.rest).distinct().limit(TEXTS)).to_pylist()
    texts = (". ".join(str(value) for value in row.values() if value is not None) for row in rows)
    spoken = Counter(filter(None, (language_of_text(" ".join(text.split()), CERTAIN) for text in texts if text)))
    return [language for language, count in spoken.most_common() if count >= SELDOM * spoken.total()]


def _counts(engine: Engine, column: ir.StringColumn) -> dict[str, int]:
    """How often each value occurs, the most frequent first."""
    counted = column.name("value").as_table().group_by("value").aggregate(n=lambda rows: rows.count())
    rows = engine.fetch(counted.drop_null("value")).to_pylist()
    return {row["value"]: row["n"] for row in sorted(rows, key=lambda row: (-row["n"], row["value"]))}
