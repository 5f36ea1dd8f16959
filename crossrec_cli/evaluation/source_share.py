"""How much of crossrec's scores the source says: by segment of users, and by the categories of both sides.

Shapes: B users, k items listed for each, H interactions of all their histories.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet, schemas
from crossrec_cli.artifacts.files import SOURCE_SHARE
from crossrec_cli.artifacts.job import Job, Summary
from crossrec_cli.evaluation import metrics
from crossrec_cli.evaluation.segments import ALL, segments
from crossrec_cli.evaluation.significance import interval
from crossrec_cli.models.dataset import Dataset
from crossrec_cli.models.domain_parts import DomainParts, PartedUsers
from crossrec_cli.models.fused import FusedModel
from crossrec_cli.models.histories import Cases
from crossrec_cli.models.neural.neural_scorer import NeuralFeature
from crossrec_cli.models.ragged import Bools, Ints
from crossrec_cli.models.vectors import Floats

LENGTH = 10
"""How much of each list is looked at, at most."""
USERS, USERS_OF_PAIRS, USERS_OF_SEQUENCES = 2_000, 300, 60
"""How many test users are looked at, how many for pairs of categories, and how many for these where a sequence is read
again without each purchase: about a second each."""
PAIRS, ENTRIES = 20, 50
"""How many pairs are in the summary, and how many listed items the second category must have there."""
Row = dict[str, Any]


@dataclass(frozen=True)
class ListedCases:
    """Test cases with crossrec's lists for them."""

    cases: Cases
    listed: Ints
    """Item indices, int64 (B, k); where a list is shorter, any item."""
    shown: Bools
    """Where a list has an entry, (B, k)."""

    @classmethod
    def of(cls, cases: Cases, lists: Ints, target_items: Ints, limit: int, seed: int) -> ListedCases:
        """A random sample of so many cases, or all.

        Args:
            cases: all cases.
            lists: of each, indices into the target's items, −1 where a list ends; int64 (cases, any).
            target_items: their item indices, int64 (C,).
            limit: how many cases at most.
            seed: of the sample.
        """
        numbers = np.arange(cases.count)
        chosen = Cases(numbers, cases.history_lengths, cases.truth).sample(limit, seed).users
        shortened = lists[chosen, :LENGTH]
        return cls(cases.of(chosen), target_items[shortened], shortened >= 0)

    def parts(self, fused: FusedModel, dataset: Dataset) -> DomainParts:
        """What source and target add to the listed items' scores."""
        histories = dataset.histories.items.take(self.cases.users, self.cases.history_lengths)
        return PartedUsers.of(fused, histories, dataset.histories.tags.take(self.cases.users)).parts(self.listed)


def write_source_share(job: Job, fused: FusedModel, dataset: Dataset, cases: Cases, lists: Ints) -> Summary:
    """Write source_share.parquet; arguments as in ``source_share_rows``.

    Returns:
        The mean share, null where it is not defined, and the pairs of categories with the largest shares.
    """
    rows = source_share_rows(fused, dataset, cases, lists, job.config.seed)
    columns = {name: [row[name] for row in rows] for name in schemas.SOURCE_SHARE.names}
    parquet.write_table(job.output(SOURCE_SHARE), schemas.SOURCE_SHARE, columns)
    mean = next((row[c.SHARE] for row in rows if row[c.SEGMENT] == ALL and row[c.CATEGORY] is None), None)
    shown = (c.SOURCE_CATEGORY, c.CATEGORY, c.SHARE, c.N)
    pairs = [{name: row[name] for name in shown} for row in rows if row[c.CATEGORY] is not None]
    return {c.SOURCE_SHARE: mean, "source_pairs": strongest(pairs)[:PAIRS]}


def strongest(pairs: list[Row]) -> list[Row]:
    """The pairs, in their order, whose second category is listed often enough to tell; all where none is."""
    return [row for row in pairs if row[c.N] >= ENTRIES] or pairs


def source_share_rows(fused: FusedModel, dataset: Dataset, cases: Cases, lists: Ints, seed: int) -> list[Row]:
    """Rows of ``schemas.SOURCE_SHARE``; none where source and target are the same items.

    Args:
        fused: the model.
        dataset: preprocess's tables.
        cases: the test cases.
        lists: as in ``ListedCases.of``.
        seed: of the samples.
    """
    if dataset.histories.item_stats.is_target.all():
        return []
    pair_users = USERS_OF_SEQUENCES if _reads_order(fused) else USERS_OF_PAIRS
    few, some = (ListedCases.of(cases, lists, dataset.target_items, limit, seed) for limit in (pair_users, USERS))
    return [*_by_segment(fused, dataset, some), *_by_pair(fused, dataset, few)]


def _reads_order(fused: FusedModel) -> bool:
    """Whether one of the scorers is a sequence."""
    features = [feature for scorer in fused.scorers for feature in scorer.features]
    return any(isinstance(feature, NeuralFeature) and feature.encoder.sequence is not None for feature in features)


def _by_segment(fused: FusedModel, dataset: Dataset, some: ListedCases) -> Iterator[Row]:
    """The mean share of users with little and with much target history."""
    share = np.where(some.shown, some.parts(fused, dataset).source_share, np.nan)
    number = np.isfinite(share).sum(axis=1)
    of_user = np.where(number > 0, np.nansum(share, axis=1) / np.maximum(number, 1), np.nan)
    for segment, members in segments(dataset.histories, some.cases).items():
        users = int(np.isfinite(of_user[members]).sum())
        if users and (segment == ALL or segment.startswith("target history")):
            low, high = interval(of_user[members])
            share_and_ends = {c.SHARE: metrics.mean(of_user[members]), c.LOW: low, c.HIGH: high}
            yield {c.SEGMENT: segment, c.SOURCE_CATEGORY: None, c.CATEGORY: None, **share_and_ends, c.N: users}


def _by_pair(fused: FusedModel, dataset: Dataset, some: ListedCases) -> Iterator[Row]:
    """The share of each pair of categories in the scores of the second one's listed items, the largest first."""
    sources, source_of = telling_categories(dataset.items, ~fused.is_target)
    targets, target_of = telling_categories(dataset.items, fused.is_target)
    added, whole, entries = np.zeros((len(sources), len(targets))), np.zeros(len(targets)), np.zeros(len(targets), int)
    parts, listed = some.parts(fused, dataset), target_of[some.listed]
    is_counted = some.shown & (listed >= 0)
    np.add.at(whole, listed[is_counted], (abs(parts.source) + abs(parts.target))[is_counted])
    np.add.at(entries, listed[is_counted], 1)
    histories = dataset.histories.items.take(some.cases.users, some.cases.history_lengths)
    tags = dataset.histories.tags.take(some.cases.users)
    of_purchases: Floats = np.sum(list(fused.score_parts(histories, tags, some.listed).history.values()), axis=0)
    category = np.broadcast_to(source_of[histories.values][:, None], of_purchases.shape)
    is_pair = (category >= 0) & is_counted[histories.rows]
    np.add.at(added, (category[is_pair], listed[histories.rows][is_pair]), of_purchases[is_pair])
    shares = added / np.maximum(whole, 1e-12)
    for source, target in zip(
        *np.unravel_index(np.argsort(-shares, axis=None, kind="stable"), shares.shape), strict=True
    ):
        if added[source, target]:
            pair = {c.SOURCE_CATEGORY: sources[source], c.CATEGORY: targets[target]}
            figures = {c.SHARE: float(shares[source, target]), c.LOW: None, c.HIGH: None, c.N: int(entries[target])}
            yield {c.SEGMENT: ALL, **pair, **figures}


def telling_categories(items: pa.Table, chosen: Bools) -> tuple[list[str], Ints]:
    """The chosen items' categories at the first level of the path at which they differ.

    Args:
        items: preprocess's table.
        chosen: which items, (I,).

    Returns:
        The names, sorted, and the number of each item's; −1 for other items and those without a category; (I,).
    """
    paths = [
        value.split(c.PATH) if value and wanted else None
        for value, wanted in zip(items[c.CATEGORY].to_pylist(), chosen.tolist(), strict=True)
    ]
    given = [path for path in paths if path]
    level, deepest = 0, max(map(len, given), default=1) - 1
    while level < deepest and len({path[min(level, len(path) - 1)] for path in given}) == 1:
        level += 1
    labels = [path[min(level, len(path) - 1)] if path else None for path in paths]
    names = sorted({label for label in labels if label is not None})
    number = {name: index for index, name in enumerate(names)}
    return names, np.array([-1 if label is None else number[label] for label in labels], np.int64)
