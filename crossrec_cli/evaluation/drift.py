"""Drift: how far a run's data and scores are from those of an earlier run.

A distribution's drift is the population stability index, Σ (p − q) · ln(p / q) over its bins, p now and q before. Below
0.1 it is usually taken as none, above 0.25 as large (Siddiqi 2006, Credit Risk Scorecards). What two samples of one
distribution would give by chance, (bins − 1) · (1 / n + 1 / m), is taken off: small samples do not seem to drift.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import INTERACTIONS, ITEMS, RECOMMENDATIONS, USERS
from crossrec_cli.artifacts.store import Artifact

BINS: Final = 10
"""Of a number, with equal shares before."""
LEAST_COUNT = 0.5
"""Of a bin, so that one which was empty before has a finite index."""
MODERATE, LARGE = 0.1, 0.25
Values = npt.NDArray[np.float64]


class Snapshot(NamedTuple):
    """What one run has."""

    preprocess: Artifact
    recommend: Artifact | None
    """None where it has no lists."""


@dataclass(frozen=True)
class Drift:
    """The measures of two runs."""

    shares: dict[str, float]
    """By name, shares that are new, and that are gone."""
    indices: dict[str, float]
    """By name, population stability indices."""

    @classmethod
    def of(cls, now: Snapshot, before: Snapshot) -> Drift:
        """Compare two runs of one shop."""
        tables = [_Tables.of(snapshot) for snapshot in (now, before)]
        return cls(dict(_shares(*tables)), dict(_indices(*tables)))

    def above(self, limit: float) -> list[str]:
        """The names of the indices above a limit, the largest first."""
        names = sorted(self.indices, key=lambda name: -self.indices[name])
        return [name for name in names if self.indices[name] > limit]


class _Tables(NamedTuple):
    """The columns of a run that are compared."""

    users: pa.ChunkedArray
    """The ids of the users who have interactions."""
    items: pa.Table
    user: npt.NDArray[np.int64]
    """The user of each interaction, as a row of ``users``."""
    item: npt.NDArray[np.int64]
    """The item of each interaction, as a row of ``items``."""
    scores: Values | None
    """Of the first entry of each list."""

    @classmethod
    def of(cls, snapshot: Snapshot) -> _Tables:
        made, lists = snapshot.preprocess, snapshot.recommend
        rows = parquet.read_table(made.file(INTERACTIONS), [c.USER_INDEX, c.ITEM_INDEX])
        with_some, user = np.unique(rows[c.USER_INDEX].to_numpy(), return_inverse=True)
        scores = None
        if lists:
            table = parquet.read_table(lists.file(RECOMMENDATIONS), [c.RANK, c.SCORE])
            scores = table.filter(pc.equal(table[c.RANK], 1))[c.SCORE].to_numpy().astype(np.float64)
        return cls(
            pc.take(parquet.read_table(made.file(USERS), [c.USER_ID])[c.USER_ID], with_some),
            parquet.read_table(made.file(ITEMS), [c.ITEM_ID, c.DOMAIN, c.CATEGORY, c.PRICE]),
            user,
            rows[c.ITEM_INDEX].to_numpy().astype(np.int64),
            scores,
        )


def _shares(now: _Tables, before: _Tables) -> Iterator[tuple[str, float]]:
    """New and gone users and items, and the share of interactions that new ones have."""
    for name, ids, other, index in (
        ("users", now.users, before.users, now.user),
        ("items", now.items[c.ITEM_ID], before.items[c.ITEM_ID], now.item),
    ):
        new, gone = (parquet.row_indices(some, others) < 0 for some, others in ((ids, other), (other, ids)))
        yield f"new {name}", float(new.mean())
        yield f"gone {name}", float(gone.mean())
        yield f"interactions of new {name}", float(new[index].mean())


def _indices(now: _Tables, before: _Tables) -> Iterator[tuple[str, float]]:
    """Of interactions by category and price, of users by their number of interactions, and of lists by their scores."""
    yield "categories of interactions", of_words(*(_categories(tables) for tables in (now, before)))
    prices = [tables.items[c.PRICE].to_numpy(zero_copy_only=False)[tables.item] for tables in (now, before)]
    if any(np.isfinite(some).any() for some in prices):
        yield "prices of interactions", of_numbers(*prices)
    counts = [np.bincount(tables.user, minlength=len(tables.users)).astype(np.float64) for tables in (now, before)]
    yield "interactions of a user", of_numbers(*counts)
    if now.scores is not None and before.scores is not None:
        yield "scores of the first entry", of_numbers(now.scores, before.scores)


def _categories(tables: _Tables) -> pa.ChunkedArray:
    """The category of each interaction's item at the two widest levels, as far as there are so many."""
    paths = pc.fill_null(tables.items[c.CATEGORY], "")
    return pc.take(pc.replace_substring_regex(paths, f"^([^>]*{c.PATH}[^>]*?){c.PATH}.*$", r"\1"), tables.item)


def of_words(now: pa.ChunkedArray, before: pa.ChunkedArray) -> float:
    """The index of two columns of words."""
    both = pa.chunked_array([*now.chunks, *before.chunks]).combine_chunks().dictionary_encode()
    codes, kinds = both.indices.to_numpy(), len(both.dictionary)
    return _index(*(np.bincount(part, minlength=kinds) for part in (codes[: len(now)], codes[len(now) :])))


def of_numbers(now: Values, before: Values) -> float:
    """The index of two columns of numbers, cut where the tenths of the earlier one end.

    Bins of their own: numbers that are equal to such an end, as counts often are, and NaN.
    """
    known = before[np.isfinite(before)]
    edges = np.unique(np.quantile(known, np.arange(1, BINS) / BINS)) if len(known) else np.empty(0)
    last, counts = 2 * len(edges) + 1, []
    for values in (now, before):
        bins = np.searchsorted(edges, values, side="left") + np.searchsorted(edges, values, side="right")
        counts.append(np.bincount(np.where(np.isfinite(values), bins, last), minlength=last + 1))
    return _index(*counts)


def _index(now: npt.NDArray[np.int64], before: npt.NDArray[np.int64]) -> float:
    shares = [np.maximum(counts, LEAST_COUNT) / max(counts.sum(), 1) for counts in (now, before)]
    some = (now > 0) | (before > 0)
    index = ((shares[0] - shares[1]) * np.log(shares[0] / shares[1]))[some].sum()
    by_chance = max(some.sum() - 1, 0) * sum(1 / max(counts.sum(), 1) for counts in (now, before))
    return max(float(index - by_chance), 0.0)
