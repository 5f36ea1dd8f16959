"""The parts of every scorer: a vector for each item, and features that turn a user into a vector of the same width.

A feature's score is u(f)·v(i). ``HistoryFeature`` is the common kind: u(f) is a weighted sum over the items of the
history, so a score is the sum of one part for each history item.

Shapes: I items, B users, H interactions of all their histories, d the width of a scorer's vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.sparse import csr_array, diags_array, vstack

from crossrec_cli.artifacts import columns as c
from crossrec_cli.models.histories import Histories
from crossrec_cli.models.ragged import Bools, Ints, Ragged
from crossrec_cli.models.whitening import Whitening

Floats = npt.NDArray[np.float32]
Matrix = Floats | csr_array
"""Rows of vectors, float32, dense or sparse."""

CELLS = 2**22
"""Numbers of an intermediate matrix held at once, 16 MB."""
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
        (added, falls), products = Parts.none(histories, listed), None
        for number, feature in enumerate(self.features):
            weight, weight_without = weights[histories.rows, number, None], without[:, number, None]
            if not (weight.any() or weight_without.any()):
                continue
            if isinstance(feature, HistoryFeature):
                products = history_products(self.item_vectors, histories, listed) if products is None else products
                parts = feature.parts_of(products, histories)
            else:
                parts = feature.parts(histories, tags, listed)
            added, falls = added + weight * parts.added, falls + weight_without * parts.falls
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
        return unit_rows(self._sums(histories, self._weights(histories)))

    def parts(self, histories: Ragged, tags: Ragged, listed: Ints) -> Parts:
        """See ``Feature``; these are exact."""
        return self.parts_of(history_products(self.item_vectors, histories, listed), histories)

    def parts_of(self, products: Floats, histories: Ragged) -> Parts:
        """``parts`` from ``history_products``, (H, k).

        Without an interaction the sum has another length, which changes the whole score; the decays of the others
        stay as they are.
        """
        weights = self._weights(histories)
        sums, rows, scaled = self._sums(histories, weights), histories.rows, self._scaled(weights, histories)
        length = np.maximum(row_lengths(sums), 1e-12)[rows]
        along_sum = history_row_products(sums, self.item_vectors, histories)
        items, index = np.unique(histories.values, return_inverse=True)  # not the whole catalogue for one user
        squared_length = row_products(self.item_vectors[items], self.item_vectors[items])[index]
        length_without = np.sqrt(np.maximum(length**2 - 2 * scaled * along_sum + scaled**2 * squared_length, 1e-12))
        added = scaled[:, None] * products
        shape = len(histories.lengths), len(rows)
        totals = csr_array((np.ones(len(rows)), (rows, np.arange(len(rows)))), shape=shape) @ added
        score_without = np.where(length_without[:, None] > 1e-5, (totals[rows] - added) / length_without[:, None], 0)
        falls = totals[rows] / length[:, None] - score_without
        return Parts((added / length[:, None]).astype(np.float32), falls.astype(np.float32))

    def _weights(self, histories: Ragged) -> Floats:
        """The weight of each interaction, (H,); 0 for those that are not summed."""
        counted = self.is_target[histories.values] if self.part == "target" else np.ones(len(histories.values), bool)
        cumulative = np.append(np.cumsum(counted), 0)
        later = cumulative[histories.starts + histories.lengths - 1][histories.rows] - cumulative[:-1]
        weight = histories.weights_or_ones * np.float32(self.decay) ** later
        if self.source_weight != 1:
            weight = np.where(self.is_target[histories.values], weight, self.source_weight * weight)
        return np.where(counted & (weight >= SMALLEST_WEIGHT), weight, 0).astype(np.float32)

    def _sums(self, histories: Ragged, weights: Floats) -> Matrix:
        kept = weights > 0
        cells = (self._scaled(weights, histories)[kept], (histories.rows[kept], histories.values[kept]))
        return csr_array(cells, shape=(len(histories.lengths), len(self.is_target))) @ self.item_vectors

    def _scaled(self, weights: Floats, histories: Ragged) -> Floats:
        return weights if self.query_factors is None else weights * self.query_factors[histories.values]


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


def rows_after(matrix: Matrix, more: Matrix) -> Matrix:
    """The rows of both, of the same kind and width."""
    if isinstance(matrix, np.ndarray) and isinstance(more, np.ndarray):
        return np.concatenate([matrix, more])
    return csr_array(vstack([csr_array(matrix), csr_array(more)]))


def row_lengths(matrix: Matrix) -> Floats:
    """The Euclidean length of each row."""
    return np.sqrt(row_products(matrix, matrix))


def row_products(one: Matrix, other: Matrix) -> Floats:
    """The inner product of each row with the same row of the other matrix."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        products: Floats = np.einsum("nd,nd->n", one, other)
        return products
    return np.asarray(csr_array(one).multiply(other).sum(axis=1), np.float32).reshape(-1)


def history_row_products(users: Matrix, vectors: Matrix, histories: Ragged) -> Floats:
    """The inner product of each interaction's user, (B, d), with its item, (I, d); (H,).

    Sparse users are made dense, some at a time, so that only the cells of the items have to be multiplied.
    """
    inner = np.empty(len(histories.values), np.float32)
    bounds = np.append(histories.starts, len(histories.values))
    if isinstance(users, np.ndarray) and isinstance(vectors, np.ndarray):
        for user, (begin, end) in zip(users, pairwise(bounds), strict=True):
            inner[begin:end] = vectors[histories.values[begin:end]] @ user
        return inner
    size = max(CELLS // max(vectors.shape[1], 1), 1)
    for first in range(0, len(histories.lengths), size):
        some_users = csr_array(users)[first : first + size].toarray()
        chunk = slice(bounds[first], bounds[min(first + size, len(histories.lengths))])
        items = csr_array(vectors)[histories.values[chunk]]
        row = np.repeat(np.arange(items.shape[0]), np.diff(items.indptr))
        cells = items.data * some_users[histories.rows[chunk][row] - first, items.indices]
        inner[chunk] = np.bincount(row, cells, items.shape[0])
    return inner


def history_products(vectors: Matrix, histories: Ragged, listed: Ints) -> Floats:
    """The inner product of each interaction's item with each item that is listed for its user, (H, k)."""
    inner = np.empty((len(histories.values), listed.shape[1]), np.float32)
    if isinstance(vectors, np.ndarray):
        size = max(CELLS // max(vectors.shape[1], 1), 1)
        for chunk in map(slice, range(0, len(inner), size), range(size, len(inner) + size, size)):
            history_vectors, items_of_rows = vectors[histories.values[chunk]], listed[histories.rows[chunk]]
            for position, listed_item in enumerate(items_of_rows.T):
                inner[chunk, position] = np.einsum("nd,nd->n", history_vectors, vectors[listed_item])
        return inner
    items = np.unique(listed)
    column = np.searchsorted(items, listed)
    size = max(CELLS // max(len(items), 1), 1)
    for chunk in map(slice, range(0, len(inner), size), range(size, len(inner) + size, size)):
        history_items = np.unique(histories.values[chunk])
        row = np.searchsorted(history_items, histories.values[chunk])[:, None]
        inner[chunk] = products(vectors[history_items], vectors[items])[row, column[histories.rows[chunk]]]
    return inner


def unit_rows(matrix: Matrix) -> Matrix:
    """Each row divided by its length; a row of zeros stays one."""
    return scaled_rows(matrix, (1 / np.maximum(row_lengths(matrix), 1e-12)).astype(np.float32))


def scaled_rows(matrix: Matrix, factors: Floats) -> Matrix:
    """Each row times its factor."""
    if isinstance(matrix, np.ndarray):
        return matrix * factors[:, None]
    return csr_array(diags_array(factors) @ matrix)


def scaled_columns(matrix: Matrix, factors: Floats) -> Matrix:
    """Each column times its factor."""
    if isinstance(matrix, np.ndarray):
        return matrix * factors
    return csr_array(matrix @ diags_array(factors))


def history_features(name: str, vectors: Matrix, is_target: Bools) -> tuple[HistoryFeature, HistoryFeature]:
    """Two features of a scorer: the whole history, and its target part."""
    return (
        HistoryFeature(name, vectors, is_target),
        HistoryFeature(f"{name}_target", vectors, is_target, part="target"),
    )


def products(users: Matrix, items: Matrix) -> Floats:
    """The inner product of each user with each item, float32 (B, n)."""
    scores = users @ items.T
    return scores if isinstance(scores, np.ndarray) else scores.toarray()
