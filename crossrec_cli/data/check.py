"""A check of the raw data: what the columns are, which rows would be removed, whether transfer has a chance."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import ibis.expr.types as ir

from crossrec_cli.artifacts import columns as c
from crossrec_cli.config.field_types import template_fields
from crossrec_cli.config.schema import Config
from crossrec_cli.config.source_fields import Interactions, Items, Users
from crossrec_cli.data import engine, quality_measures, suspects
from crossrec_cli.data.clean import clean
from crossrec_cli.data.engine import Engine
from crossrec_cli.data.interactions import read_interactions
from crossrec_cli.data.ledger import Ledger
from crossrec_cli.data.raw_files import SOURCE_ROW
from crossrec_cli.data.split import split
from crossrec_cli.data.suspects import Suspect
from crossrec_cli.errors import InputError

SAMPLE = 1_000_000
"""Interactions read of each platform: enough for any shop's columns, in a few seconds."""
LEAST = {"items": 20, "users": 100, "test users": 50}
"""Of the target: with fewer, results are chance, and a list of ten is most of the items."""
ENOUGH_USERS = 0.1
"""The share of the target's users who bought in both domains, from which transfer can learn."""
ENOUGH_WORDS = 0.3
"""The share of the target's words in source texts, from which the language model can learn."""


@dataclass
class Check:
    """The results. What comes after an error is empty."""

    columns: list[tuple[str, str, str, str]] = field(default_factory=list)
    """Source, our name, the file's column, its first value."""
    measures: list[tuple[str, str, str | None, float]] = field(default_factory=list)
    """As in ``schemas.QUALITY``."""
    suspects: list[Suspect] = field(default_factory=list)
    """Values that look like no person, no product or no tag."""
    readings: list[tuple[str, str, str]] = field(default_factory=list)
    """Source, our name, and how the column is read, for columns that can be read in several ways."""
    warnings: list[str] = field(default_factory=list)
    """Probable mistakes that do not stop preprocess."""
    words: tuple[int, int] = (0, 0)
    """The number of distinct words in target texts, and how many of them are in source texts."""
    sample: int = SAMPLE
    problem: str = ""
    """Why preprocess would fail; empty if it would succeed."""

    @property
    def too_few(self) -> dict[str, int]:
        """Of what the target has too few, with the counts."""
        counts = {measure: int(value) for measure, label, _, value in self.measures if label == c.TARGET}
        return {name: counts[name] for name, least in LEAST.items() if name in counts and counts[name] < least}

    @property
    def times(self) -> dict[str, tuple[datetime, datetime]]:
        """Each platform's earliest and latest usable time; empty if only an order is known."""
        seconds = {(label, other): value for measure, label, other, value in self.measures if measure == "times"}
        return {
            name: (_utc(seconds["earliest", name]), _utc(seconds["latest", name]))
            for label, name in seconds
            if name is not None and label == "earliest"
        }

    @property
    def verdict(self) -> str:
        """Whether transfer has a chance, in a sentence."""
        users = {label: value for measure, label, _, value in self.measures if measure == "users"}
        if not users.get(c.TARGET):
            return "cannot be judged, as the check ended before it"
        if "both" not in users:
            return "does not apply: source and target are the same items"
        if self.too_few:
            few = ", ".join(
                f"{count:,} {name} where {LEAST[name]:,} are needed" for name, count in self.too_few.items()
            )
            return f"cannot be judged, as the target is too small: {few}"
        by_users, by_words = users["both"] / users[c.TARGET], self.words[1] / max(self.words[0], 1)
        reasons = [f"{by_users:.0%} of the target's users bought in the source"] if by_users >= ENOUGH_USERS else []
        reasons += [f"{by_words:.0%} of its words are in the source's texts"] if by_words >= ENOUGH_WORDS else []
        if reasons:
            return f"has a chance: {' and '.join(reasons)}"
        return (
            f"has little chance: {by_users:.0%} of the target's users bought in the source, and {by_words:.0%} of its "
            "words are in the source's texts"
        )


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def check(config: Config) -> Check:
    """Run preprocess on a sample of the interactions, and on all items and users."""
    results = Check()
    with tempfile.TemporaryDirectory() as folder:
        try:
            with engine.connect(config.data.engine, Path(folder) / "scratch", config.runtime) as tables:
                results.columns = list(_columns(tables, config))
                _preprocess(tables, config, results)
        except InputError as error:
            results.problem = str(error)
    return results


def _preprocess(tables: Engine, config: Config, results: Check) -> None:
    data, ledger = config.data, Ledger(tables, config.data.clean)
    results.measures, results.readings, results.warnings = ledger.measures, ledger.readings, ledger.warnings
    parts = [
        read_interactions(tables, data, index, SAMPLE, Ledger(tables, data.clean))
        for index in range(len(data.platforms))
    ]
    for index, part in enumerate(parts):
        results.suspects += suspects.guests(tables, part, data.platforms[index].name)
    try:
        cleaned = clean(tables, config, ledger, SAMPLE)
    finally:  # the items may have been read, whatever is wrong with the interactions
        results.suspects += suspects.descriptions(ledger.measures, ledger.described)
    for index, part in enumerate(parts):
        results.suspects += suspects.no_products(tables, part, cleaned, data, index)
        results.suspects += suspects.unlike_tags(tables, data, index)
    results.words = _words(tables, cleaned.items)
    done = split(tables, cleaned, config, ledger)
    test = done.cases.filter(done.cases[c.SPLIT] == c.TEST)
    ledger.note("test users", c.TARGET, tables.count(test.select(c.USER_INDEX).distinct()))
    quality_measures.measure(tables, done, data, ledger)


def _columns(tables: Engine, config: Config) -> Iterator[tuple[str, str, str, str]]:
    """Every column that the config names, with the value of its first row."""
    for platform in config.data.platforms:
        for part, spec in (
            ("interactions", platform.interactions),
            ("items", platform.items),
            ("users", platform.users),
        ):
            if spec is None:
                continue
            raw = tables.read(spec, limit=1)
            rows = tables.fetch(raw.drop(SOURCE_ROW)).to_pylist()
            split = [(c.SPLIT, config.split.column)] if part == "interactions" and config.split.column else []
            for ours, name in [*_mapped(spec), *split]:
                missing = "not in the file" if name not in raw.columns else "no row"
                value = str(rows[0][name]) if rows and name in raw.columns else missing
                yield f"{platform.name} {part}", ours, name, value


def _mapped(spec: Interactions | Items | Users) -> Iterator[tuple[str, str]]:
    for ours, name in spec.columns.model_dump().items():
        if name is not None:
            yield ours, name
    if isinstance(spec, Items):
        yield from ((c.TEXT, name) for name in template_fields(spec.text))
    if isinstance(spec, Users):
        yield from (("tag", name) for name in spec.tags)


def _words(tables: Engine, items: ir.Table) -> tuple[int, int]:
    word = items[c.TEXT].lower().re_replace(r"[^\p{L}\p{N}]+", " ").strip().split(" ").unnest()
    words = items.drop_null(c.TEXT).select(c.DOMAIN, word=word).distinct()
    of_target = words.filter(words[c.DOMAIN] == c.TARGET).select("word")
    of_source = words.filter(words[c.DOMAIN] == c.SOURCE).select("word")
    return tables.count(of_target), tables.count(of_target.semi_join(of_source, "word"))
