"""The parts of every scorer: a vector for each item, and features that turn a user into a vector of the same width.

A feature's score is u(f)·v(i). ``HistoryFeature`` is the common kind: u(f) is a weighted sum over the items of the
history, so a score is the sum of one part for each history item.

Shapes: I items, B users, H interactions of all their histories, d the width of a scorer's vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_array

from crossrec_cli.artifacts import columns as c
from crossrec_cli.models.histories import Histories
from crossrec_cli.models.ragged import Bools, Ints, Ragged
from crossrec_cli.models.vectors import Floats, Matrix, by_user, history_products, row_products, scaled_rows, unit_rows
from crossrec_cli.models.whitening import Whitening

CANCELS = 1e-3
"""A difference of squared lengths below this share of them has too few digits in float32: computed from the vectors."""
SMALLEST_WEIGHT = 1e-4
"""A purchase whose weight is less than this share of the latest one's is not summed."""


@dataclass(frozen=True)
class TrainingData:
    """The data that scorers learn from."""

    histories: Histories
    items: pa.Table
    """Rows of ``schemas.ITEMS``."""
    embeddings: Floats
    """The language model's embeddings of the items' texts, (I, width); zeros where there is no text."""
    times: Ints | None = None
    """Time of each interaction of ``histories.items``, in microseconds; None where only the order is known."""

    @property
    def is_target(self) -> Bools:
        """The items to recommend, (I,)."""
        return self.histories.item_stats.is_target

    @cached_property
    def whitening(self) -> Whitening:
        """The whitening that is fitted to all texts."""
        return Whitening.of(self.embeddings)

    @cached_property
    def texts(self) -> Floats:
        """Whitened text embeddings, rows of length 1; zeros for an item without text. (I, r)."""
        return self.whitening.directions(self.embeddings, self.items)


@dataclass(frozen=True)
class TrainedTexts:
    """Texts of the items of the training."""

    texts: Floats
    """As ``TrainingData.texts``, (I, r)."""
    is_target: Bools
    """(I,)."""


@dataclass(frozen=True)
class NewItems:
    """Items that came after training."""

    items: pa.Table
    """Rows of ``schemas.ITEMS``, n of them."""
    texts: Floats
    """As ``TrainingData.texts``, (n, r)."""
    trained: TrainedTexts | None
    """Texts of the items of the training; None where texts are not scored."""

    @property
    def is_target(self) -> Bools:
        """Which of them are to be recommended, (n,)."""
        return np.array([name == c.TARGET for name in self.items[c.DOMAIN].to_pylist()], bool)


class Feature(Protocol):
    """One way to score: a vector for each user, to be multiplied with the item vectors of its scorer."""

    @property
    def name(self) -> str:
        """Unique among all scorers' features."""

    def user_vectors(self, histories: Ragged, tags: Ragged) -> Matrix:
        """(B, d), from each user's items, oldest first, and tags; zeros for a user without such information."""

    def parts(self, histories: Ragged, tags: Ragged, listed: Ints) -> Parts:
        """How each interaction changes the scores of the items listed for its user.

        Args:
            histories: as in ``user_vectors``.
            tags: as in ``user_vectors``.
            listed: item indices, int64 (B, k).
        """


class Parts(NamedTuple):
    """How each interaction changes the scores of some items."""

    added: Floats
    """What it adds, (H, k). What comes from no interaction (tags, sales) is not included."""
    falls: Floats
    """By how much the score falls without it, (H, k)."""

    @classmethod
    def none(cls, histories: Ragged, listed: Ints) -> Parts:
        """Zeros, for items listed for each user, (B, k)."""
        zeros = np.zeros((len(histories.values), listed.shape[1]), np.float32)
        return cls(zeros, zeros)


@dataclass(frozen=True)
class Scorer:
    """One kind of knowledge about users and items."""

    name: str
    item_vectors: Matrix
    """(I, d)."""
    features: Sequence[Feature]
    state: Mapping[str, Floats] = field(default_factory=dict)
    """What else is needed to compute vectors of new items."""
    terms: Sequence[str] = ()
    """The word, or value of a column, of each dimension, where dimensions are such."""
    variant: int = 0
    """Index of the chosen variant among those that were tried."""

    def parts(self, weights: Floats, without: Floats, histories: Ragged, tags: Ragged, listed: Ints) -> Parts:
        """``Feature.parts`` of all features together.

        Args:
            weights: the features' weights for each user, (B, F).
            without: the weights that apply without an interaction, (H, F).
            histories: as in ``Feature.parts``.
            tags: as in ``Feature.parts``.
            listed: as in ``Feature.parts``.
        """
        used = [number for number in range(len(self.features)) if weights[:, number].any() or without[:, number].any()]
        summed = {number: one for number in used if isinstance(one := self.features[number], HistoryFeature)}
        parts = dict(zip(summed, history_parts(list(summed.values()), histories, listed), strict=True))
        added, falls = Parts.none(histories, listed)
        for number in used:
            part = parts.get(number) or self.features[number].parts(histories, tags, listed)
            added = added + weights[histories.rows, number, None] * part.added
            falls = falls + without[:, number, None] * part.falls
        return Parts(added, falls)

    def like(self, other: Scorer) -> Scorer:
        """Another scorer's vectors, with the decays that were chosen for this one."""
        features = [
            new.with_decay(old.decay) if isinstance(new, HistoryFeature) and isinstance(old, HistoryFeature) else new
            for new, old in zip(other.features, self.features, strict=True)
        ]
        return replace(other, features=features, variant=self.variant)


@dataclass(frozen=True)
class HistoryFeature:
    """A weighted sum over the history, of length 1; later purchases count more."""

    name: str
    item_vectors: Matrix
    """The scorer's item vectors, (I, d)."""
    is_target: Bools
    query_factors: Floats | None = None
    """An item of a history counts as its vector times this, (I,); None: 1."""
    part: Literal["all", "target"] = "all"
    """Whether it sums the whole history or the part of it that is in the target."""
    source_weight: float = 1.0
    """Weight of a source purchase; a target purchase has 1."""
    decay: float = 1.0
    """Weight of a purchase, relative to the next one."""

    def with_decay(self, decay: float) -> HistoryFeature:
        """This feature with another decay."""
        return replace(self, decay=decay)

    def user_vectors(self, histories: Ragged, tags: Ragged) -> Matrix:
        """See ``Feature``."""
        return unit_rows(self.sums(histories))

    def parts(self, histories: Ragged, tags: Ragged, listed: Ints) -> Parts:
        """See ``Feature``; exact but for rounding."""
        return history_parts([self], histories, listed)[0]

    def parts_of(self, inner: HistoryProducts, histories: Ragged, listed: Ints) -> Parts:
        """``parts`` from the products of the interactions.

        Without an interaction the sum has another length, which changes the whole score; the decays of the others
        stay as they are.
        """
        rows, scaled = histories.rows, self._scaled(self.weights(histories), histories)
        squared = row_products(inner.sums, inner.sums)
        added = scaled[:, None] * inner.with_listed
        shape = len(listed), len(rows)
        totals = csr_array((np.ones(len(rows), np.float32), (rows, np.arange(len(rows)))), shape=shape) @ added
        rest = totals[rows] - added
        squared_rest = squared[rows] - 2 * scaled * inner.with_sum + scaled**2 * inner.squared
        close = np.flatnonzero(squared_rest < CANCELS * squared[rows])
        if len(close):
            taken = scaled_rows(self.item_vectors[histories.values[close]], -scaled[close])
            left, of_rows = inner.sums[rows[close]] + taken, listed[rows[close]]
            squared_rest[close] = row_products(left, left)
            rest[close] = np.stack([row_products(left, self.item_vectors[items]) for items in of_rows.T], axis=1)
        length, length_rest = (np.sqrt(np.maximum(one, 1e-24))[:, None] for one in (squared[rows], squared_rest))
        score_rest = np.where(length_rest > 1e-5 * length, rest / length_rest, 0)
        falls = totals[rows] / length - score_rest
        return Parts((added / length).astype(np.float32), falls.astype(np.float32))

    def weights(self, histories: Ragged) -> Floats:
        """The weight of each interaction, (H,); 0 for those that are not summed."""
        counted = self.is_target[histories.values] if self.part == "target" else np.ones(len(histories.values), bool)
        cumulative = np.append(np.cumsum(counted), 0)
        later = cumulative[histories.starts + histories.lengths - 1][histories.rows] - cumulative[:-1]
        weight = histories.weights_or_ones * np.float32(self.decay) ** later
        if self.source_weight != 1:
            weight = np.where(self.is_target[histories.values], weight, self.source_weight * weight)
        return np.where(counted & (weight >= SMALLEST_WEIGHT), weight, 0).astype(np.float32)

    def sums(self, histories: Ragged) -> Matrix:
        """``user_vectors`` before they get the length 1."""
        weights = self.weights(histories)
        kept = weights > 0
        cells = (self._scaled(weights, histories)[kept], (histories.rows[kept], histories.values[kept]))
        return csr_array(cells, shape=(len(histories.lengths), len(self.is_target))) @ self.item_vectors

    def _scaled(self, weights: Floats, histories: Ragged) -> Floats:
        return weights if self.query_factors is None else weights * self.query_factors[histories.values]


class HistoryProducts(NamedTuple):
    """Inner products of the items of interactions."""

    with_listed: Floats
    """With each item listed for the user, (H, k)."""
    with_sum: Floats
    """With the user's weighted sum, (H,)."""
    squared: Floats
    """With itself, (H,)."""
    sums: Matrix
    """Each user's weighted sum, (B, d)."""


def history_parts(features: Sequence[HistoryFeature], histories: Ragged, listed: Ints) -> list[Parts]:
    """``Feature.parts`` of some features of one scorer.

    What no feature counts, since too much was bought after it, is not multiplied.
    """
    if not features or not len(histories.values):
        return [Parts.none(histories, listed)] * len(features)
    vectors, k = features[0].item_vectors, listed.shape[1]
    sums = [feature.sums(histories) for feature in features]
    counted = np.any([feature.weights(histories) > 0 for feature in features], axis=0)
    items, index = np.unique(histories.values, return_inverse=True)  # not the whole catalogue for one user
    inner = np.zeros((len(counted), k + len(features)), np.float32)
    others = by_user([vectors[listed.ravel()], *sums], len(listed))
    inner[counted] = history_products(vectors, histories.where(counted), others)
    squared = row_products(vectors[items], vectors[items])[index]
    return [
        feature.parts_of(HistoryProducts(inner[:, :k], inner[:, k + number], squared, total), histories, listed)
        for number, (feature, total) in enumerate(zip(features, sums, strict=True))
    ]


def purchases(histories: Ragged, number: Ints, items: int) -> csr_array:
    """Purchase matrix, float32 (lists, items), each item once; ``number`` is an item's column, −1 for none."""
    of_items = histories.where(number[histories.values] >= 0)
    ones = np.ones(len(of_items.values), np.float32)
    matrix = csr_array((ones, (of_items.rows, number[of_items.values])), shape=(len(of_items.lengths), items))
    matrix.data[:] = 1  # repeated purchases were summed
    return matrix


def trained_purchases(data: TrainingData) -> csr_array:
    """Purchase matrix of the training, 1 each, float32 (users, I)."""
    items = len(data.is_target)
    return purchases(data.histories.training, np.arange(items), items)


def history_features(name: str, vectors: Matrix, is_target: Bools) -> tuple[HistoryFeature, HistoryFeature]:
    """Two features of a scorer: the whole history, and its target part."""
    return (
        HistoryFeature(name, vectors, is_target),
        HistoryFeature(f"{name}_target", vectors, is_target, part="target"),
    )
