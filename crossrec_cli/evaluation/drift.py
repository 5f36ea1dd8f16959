"""Drift: how far a run's data and scores are from those of an earlier run.

A distribution's drift is the population stability index, Σ (p − q) · ln(p / q) over its bins, p now and q before. Below
0.1 it is usually taken as none, above 0.25 as large (Siddiqi 2006, Credit Risk Scorecards). What two samples of one
distribution would give by chance, (bins − 1) · (1 / n + 1 / m), is taken off: small samples do not seem to drift.

Interactions are counted by user and by item, a part of the file at a time: memory grows with users and items alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import INTERACTIONS, ITEMS, RECOMMENDATIONS, USERS
from crossrec_cli.artifacts.job import Summary
from crossrec_cli.artifacts.store import Artifact
from crossrec_cli.config.schema import DriftLimits
from crossrec_cli.errors import RegressionError
from crossrec_cli.runtime.progress import Reporter

BINS: Final = 10
"""Of a number, with equal shares before."""
LEAST_COUNT = 0.5
"""Of a bin, so that one which was empty before has a finite index."""
MODERATE, LARGE = 0.1, 0.25
Values = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


class Snapshot(NamedTuple):
    """The files of one run that are compared."""

    interactions: Path
    items: Path
    users: Path
    lists: Path | None = None
    """None where it has no lists."""

    @classmethod
    def of(cls, preprocess: Artifact, recommend: Artifact | None = None) -> Snapshot:
        """The files of a run's artifacts."""
        lists = recommend.file(RECOMMENDATIONS) if recommend else None
        return cls(preprocess.file(INTERACTIONS), preprocess.file(ITEMS), preprocess.file(USERS), lists)


@dataclass(frozen=True)
class Change:
    """How a distribution changed."""

    stability_index: float
    figure: str
    """What ``before`` and ``now`` are: ``mean``, or the share of the word whose share changed most."""
    before: float | None
    now: float | None
    """None where there are no numbers."""

    @property
    def level(self) -> str:
        """The index as a word."""
        return "large" if self.stability_index > LARGE else "moderate" if self.stability_index > MODERATE else "small"


@dataclass(frozen=True)
class Drift:
    """The measures of two runs."""

    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By name, how many there were before, and are now."""
    shares: dict[str, float] = field(default_factory=dict)
    """By name, shares that are new, and that are gone."""
    distributions: dict[str, Change] = field(default_factory=dict)

    @classmethod
    def of(cls, now: Snapshot, before: Snapshot) -> Drift:
        """Compare two runs of one shop.

        Raises:
            ArtifactError: if a file cannot be read.
        """
        tables = _Tables.of(now), _Tables.of(before)
        lists = cls.of_lists(now.lists, before.lists) if now.lists and before.lists else cls()
        return cls(dict(_sizes(*tables)), dict(_shares(*tables)), dict(_changes(*tables)) | lists.distributions)

    @classmethod
    def of_lists(cls, now: Path, before: Path) -> Drift:
        """Compare two recommendations.parquet: the scores of the first entry of each list."""
        return cls(distributions={"scores of the first entry": _of_scores(_first_scores(now), _first_scores(before))})

    @classmethod
    def of_summary(cls, summary: Summary) -> Drift | None:
        """What ``judged`` left in the summary of a stage; None if there was nothing to compare with."""
        return TypeAdapter(cls).validate_python(summary["drift"]) if "drift" in summary else None

    def above(self, limit: float) -> list[str]:
        """The names of the distributions whose index is above a limit, the largest first."""
        names = sorted(self.distributions, key=lambda name: -self.distributions[name].stability_index)
        return [name for name in names if self.distributions[name].stability_index > limit]

    def check(self, limit: float, of: str, advice: str = "") -> None:
        """Check that no index is above a limit.

        Args:
            limit: the highest index.
            of: what sets it.
            advice: what to do; follows the message.

        Raises:
            RegressionError: if one is.
        """
        if names := self.above(limit):
            raise RegressionError(f"{self._sentence(names, limit, of)}{advice}", asdict(self))

    def warn(self, limit: float, of: str, report: Reporter) -> None:
        """Warn of the indices above a limit."""
        if names := self.above(limit):
            report.warn(self._sentence(names, limit, of))

    def _sentence(self, names: list[str], limit: float, of: str) -> str:
        change = self.distributions[names[0]]
        more = f"; so are {', '.join(names[1:])}" if names[1:] else ""
        return (
            f"drift: {names[0]}: the stability index {change.stability_index:.2f} is above {of} ({limit:g}), "
            f"{change.figure} {shown(change.before)} before, {shown(change.now)} now{more}"
        )


def shown(value: float | None) -> str:
    """A mean or a share with four digits, a dash where there is none."""
    return "–" if value is None else f"{value:.4g}"


def judged(drift: Drift, limits: DriftLimits, report: Reporter) -> Summary:
    """Warn, or stop the stage, where its files differ too much from those that they replace.

    Returns:
        The measures for the stage's summary.

    Raises:
        RegressionError: if they differ from the earlier ones by more than ``drift.fail``.
    """
    if limits.fail is not None:
        drift.check(limits.fail, "drift.fail", "; the earlier files stay; --set drift.fail=null takes the new ones")
    if limits.warn is not None:
        drift.warn(limits.warn, "drift.warn", report)
    return {"drift": asdict(drift)}


class _Tables(NamedTuple):
    """What is compared of a run's data."""

    users: pa.ChunkedArray
    """The ids of the users who have interactions."""
    user_counts: Counts
    """How many each of them has, above 0."""
    items: pa.Table
    item_counts: Counts
    """How many interactions each item has."""

    @classmethod
    def of(cls, files: Snapshot) -> _Tables:
        users = parquet.read_table(files.users, [c.USER_ID])[c.USER_ID]
        items = parquet.read_table(files.items, [c.ITEM_ID, c.CATEGORY, c.PRICE])
        by_user, by_item = np.zeros(len(users), np.int64), np.zeros(items.num_rows, np.int64)
        with parquet.readable(files.interactions), pq.ParquetFile(files.interactions) as file:
            for rows in file.iter_batches(columns=[c.USER_INDEX, c.ITEM_INDEX]):
                by_user += np.bincount(rows[c.USER_INDEX].to_numpy(), minlength=len(by_user))
                by_item += np.bincount(rows[c.ITEM_INDEX].to_numpy(), minlength=len(by_item))
        some = by_user > 0
        return cls(users.filter(pa.array(some)), by_user[some], items, by_item)

    @property
    def categories(self) -> pa.ChunkedArray:
        """The category of each item at the two widest levels, as far as there are so many."""
        paths = pc.fill_null(self.items[c.CATEGORY], "")
        return pc.replace_substring_regex(paths, f"^([^>]*{c.PATH}[^>]*?){c.PATH}.*$", r"\1")

    @property
    def prices(self) -> Values:
        """The price of each item, NaN where it has none."""
        prices: Values = self.items[c.PRICE].to_numpy(zero_copy_only=False)
        return prices


def _sizes(now: _Tables, before: _Tables) -> Iterator[tuple[str, tuple[int, int]]]:
    yield "users", (len(before.users), len(now.users))
    yield "items", (before.items.num_rows, now.items.num_rows)
    yield "interactions", (int(before.item_counts.sum()), int(now.item_counts.sum()))


def _shares(now: _Tables, before: _Tables) -> Iterator[tuple[str, float]]:
    """New and gone users and items, and the share of interactions that new ones have."""
    for name, ids, other, counts in (
        ("users", now.users, before.users, now.user_counts),
        ("items", now.items[c.ITEM_ID], before.items[c.ITEM_ID], now.item_counts),
    ):
        new, gone = (parquet.row_indices(some, others) < 0 for some, others in ((ids, other), (other, ids)))
        yield f"new {name}", float(new.mean())
        yield f"gone {name}", float(gone.mean())
        yield f"interactions of new {name}", float(counts[new].sum() / counts.sum())


def _changes(now: _Tables, before: _Tables) -> Iterator[tuple[str, Change]]:
    """Of interactions by category and price, and of users by their number of interactions."""
    counts = now.item_counts, before.item_counts
    yield "categories of interactions", of_words(now.categories, before.categories, *counts)
    if any(np.isfinite(tables.prices[tables.item_counts > 0]).any() for tables in (now, before)):
        index = of_numbers(now.prices, before.prices, *counts)
        means = [_mean(tables.prices, tables.item_counts) for tables in (before, now)]
        yield "prices of interactions", Change(index, "mean", *means)
    yield "interactions of a user", _of_scores(*(tables.user_counts.astype(np.float64) for tables in (now, before)))


def _of_scores(now: Values, before: Values) -> Change:
    """The change of a column of numbers that count once each."""
    means = (_mean(values, np.ones(len(values), np.int64)) for values in (before, now))
    return Change(of_numbers(now, before), "mean", *means)


def _mean(values: Values, counts: Counts) -> float | None:
    known = np.isfinite(values) & (counts > 0)
    return float(np.average(values[known], weights=counts[known])) if known.any() else None


def _first_scores(lists: Path) -> Values:
    """The score of the first entry of each list of a recommendations.parquet."""
    parts = [np.empty(0)]
    with parquet.readable(lists), pq.ParquetFile(lists) as file:
        for rows in file.iter_batches(columns=[c.RANK, c.SCORE]):
            parts.append(rows[c.SCORE].filter(pc.equal(rows[c.RANK], 1)).to_numpy().astype(np.float64))
    return np.concatenate(parts)


def of_words(
    now: pa.ChunkedArray, before: pa.ChunkedArray, counts: Counts | None = None, counts_before: Counts | None = None
) -> Change:
    """The change of a column of words, the empty one of items without a category; with ``counts`` of each cell."""
    both = pa.chunked_array([*now.chunks, *before.chunks], pa.string()).combine_chunks().dictionary_encode()
    codes, words = both.indices.to_numpy(), both.dictionary
    parts = (codes[: len(now)], counts), (codes[len(now) :], counts_before)
    of_each = [np.bincount(part, weights, len(words)).astype(np.float64) for part, weights in parts]
    shares = [each / max(each.sum(), 1) for each in of_each]
    most = int(np.abs(shares[0] - shares[1]).argmax())
    figure = f"share of {words[most].as_py() or 'items without a category'}"
    return Change(_index(*of_each), figure, float(shares[1][most]), float(shares[0][most]))


def of_numbers(now: Values, before: Values, counts: Counts | None = None, counts_before: Counts | None = None) -> float:
    """The index of two columns of numbers, cut where the tenths of the earlier one end.

    Bins of their own: numbers that are equal to such an end, as counts often are, and NaN.

    Args:
        now: the numbers now.
        before: those before.
        counts: how often each of ``now`` counts; None: once.
        counts_before: the same for ``before``.
    """
    edges = _tenths(before, np.ones(len(before), np.int64) if counts_before is None else counts_before)
    last, of_each = 2 * len(edges) + 1, []
    for values, weights in ((now, counts), (before, counts_before)):
        bins = np.searchsorted(edges, values, side="left") + np.searchsorted(edges, values, side="right")
        of_each.append(np.bincount(np.where(np.isfinite(values), bins, last), weights, last + 1).astype(np.float64))
    return _index(*of_each)


def _tenths(values: Values, counts: Counts) -> Values:
    """Where the tenths of some numbers end, each number counted so often; distinct, sorted."""
    known = np.isfinite(values) & (counts > 0)
    order = np.argsort(values[known], kind="stable")
    ends = np.cumsum(counts[known][order])
    if not len(ends):
        return np.empty(0)
    return np.unique(values[known][order][np.searchsorted(ends, np.arange(1, BINS) / BINS * ends[-1])])


def _index(now: Values, before: Values) -> float:
    shares = [np.maximum(counts, LEAST_COUNT) / max(counts.sum(), 1) for counts in (now, before)]
    some = (now > 0) | (before > 0)
    index = ((shares[0] - shares[1]) * np.log(shares[0] / shares[1]))[some].sum()
    by_chance = max(some.sum() - 1, 0) * sum(1 / max(counts.sum(), 1) for counts in (now, before))
    return max(float(index - by_chance), 0.0)
