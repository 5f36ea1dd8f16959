"""What every scorer has: a vector for each item, and features that turn a user into a vector of the same width.

A feature's score is u(f)·v(i). ``HistoryFeature`` is the common kind: u(f) is a weighted sum of what each item of the
history asks for, so a score is the sum of one part for each history item.

Shapes: I items, B users, H interactions of all their histories, d the width of a scorer's vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
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
"""A purchase that counts less than this beside the latest one is left out of a sum."""


@dataclass(frozen=True)
class TrainingData:
    """What a scorer may learn from."""

    histories: Histories
    items: pa.Table
    """Rows of ``schemas.ITEMS``."""
    embeddings: Floats
    """What the language model makes of the items' texts, (I, width); zeros where there is no text."""
    times: Ints | None = None
    """Of each interaction of ``histories.items``, microseconds; None where only an order is known."""

    @property
    def is_target(self) -> Bools:
        """The items to recommend, (I,)."""
        return self.histories.item_stats.is_target

    @cached_property
    def whitening(self) -> Whitening:
        """How texts are whitened."""
        return Whitening.of(self.embeddings)

    @cached_property
    def texts(self) -> Floats:
        """What the items' texts say, whitened, rows of length 1; zeros for an item without text. (I, r)."""
        return self.whitening.directions(self.embeddings, self.items)


@dataclass(frozen=True)
class KnownTexts:
    """What is known of the items of the training."""

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
    known: KnownTexts | None
    """Of the items that were there before, where texts are scored."""

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
        """(B, d), from each user's items, oldest first, and tags. A user it knows nothing about has zeros."""

    def parts(self, histories: Ragged, tags: Ragged, listed: Ints) -> Parts:
        """What each interaction does to the scores of the items listed for its user.

        Args:
            histories: as in ``user_vectors``.
            tags: likewise.
            listed: item indices, int64 (B, k).
        """


class Parts(NamedTuple):
    """What each interaction does to the scores of some items."""

    added: Floats
    """What is of it, (H, k). What of a score is of no interaction (tags, sales) is not in it."""
    falls: Floats
    """By how much the score falls without it, (H, k)."""

    @classmethod
    def none(cls, histories: Ragged, listed: Ints) -> Parts:
        """Nothing at all, of items listed for each user, (B, k)."""
        nothing = np.zeros((len(histories.values), listed.shape[1]), np.float32)
        return cls(nothing, nothing)


@dataclass(frozen=True)
class Scorer:
    """One kind of knowledge about users and items."""

    name: str
    item_vectors: Matrix
    """(I, d)."""
    features: Sequence[Feature]
    state: Mapping[str, Floats] = field(default_factory=dict)
    """What else it takes to place new items."""
    terms: Sequence[str] = ()
    """What the dimensions stand for, where they are words or values of columns."""
    variant: int = 0
    """Which of the variants that were tried it is."""

    def parts(self, weights: Sequence[Floats], histories: Ragged, tags: Ragged, listed: Ints) -> Parts:
        """The same of all features together, whose weights for each user are given, (B,) each."""
        (added, falls), products = Parts.none(histories, listed), None
        for feature, weight in zip(self.features, weights, strict=True):
            if not weight.any():
                continue
            if isinstance(feature, HistoryFeature):
                products = history_products(self.item_vectors, histories, listed) if products is None else products
                parts = feature.parts_of(products, histories)
            else:
                parts = feature.parts(histories, tags, listed)
            of_row = weight[histories.rows, None]
            added, falls = added + of_row * parts.added, falls + of_row * parts.falls
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
    """Of the scorer, (I, d)."""
    is_target: Bools
    query_factors: Floats | None = None
    """What each item asks for when it is in a history is its vector times this, (I,); None: 1."""
    part: Literal["all", "target"] = "all"
    """Whether it sums the whole history or the part of it that is in the target."""
    source_weight: float = 1.0
    """How much a source purchase counts where a target purchase counts 1."""
    decay: float = 1.0
    """Each purchase counts so many times as much as the next one."""

    def with_decay(self, decay: float) -> HistoryFeature:
        """The same with another decay."""
        return replace(self, decay=decay)

    def user_vectors(self, histories: Ragged, tags: Ragged) -> Matrix:
        """See ``Feature``."""
        return unit_rows(self._sums(histories, self._weights(histories)))

    def parts(self, histories: Ragged, tags: Ragged, listed: Ints) -> Parts:
        """See ``Feature``; exact."""
        return self.parts_of(history_products(self.item_vectors, histories, listed), histories)

    def parts_of(self, products: Floats, histories: Ragged) -> Parts:
        """The same from ``history_products``, (H, k).

        Without an interaction the sum is longer or shorter, by which all of the score changes; the decays of the others
        are taken as they are.
        """
        weights = self._weights(histories)
        sums, rows, scaled = self._sums(histories, weights), histories.rows, self._scaled(weights, histories)
        length, vectors = np.maximum(row_lengths(sums), 1e-12)[rows], self.item_vectors[histories.values]
        along, own = row_products(sums[rows], vectors), row_products(vectors, vectors)
        rest = np.sqrt(np.maximum(length**2 - 2 * scaled * along + scaled**2 * own, 1e-12))
        added = scaled[:, None] * products
        shape = len(histories.lengths), len(rows)
        whole = csr_array((np.ones(len(rows)), (rows, np.arange(len(rows)))), shape=shape) @ added
        left = np.where(rest[:, None] > 1e-5, (whole[rows] - added) / rest[:, None], 0)
        falls = whole[rows] / length[:, None] - left
        return Parts((added / length[:, None]).astype(np.float32), falls.astype(np.float32))

    def _weights(self, histories: Ragged) -> Floats:
        """How much each interaction counts, (H,); 0 for those that are not summed."""
        counted = self.is_target[histories.values] if self.part == "target" else np.ones(len(histories.values), bool)
        until = np.append(np.cumsum(counted), 0)
        later = until[histories.starts + histories.lengths - 1][histories.rows] - until[:-1]
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
    """Who bought what, float32 (lists, items), each item once; ``number`` is an item's column, −1 for none."""
    known = histories.where(number[histories.values] >= 0)
    ones = np.ones(len(known.values), np.float32)
    matrix = csr_array((ones, (known.rows, number[known.values])), shape=(len(known.lengths), items))
    matrix.data[:] = 1  # what stood there twice was added up
    return matrix


def trained_purchases(data: TrainingData) -> csr_array:
    """Who bought what in training, 1 each, float32 (users, I)."""
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


def history_products(vectors: Matrix, histories: Ragged, listed: Ints) -> Floats:
    """The inner product of each interaction's item with each item that is listed for its user, (H, k)."""
    found = np.empty((len(histories.values), listed.shape[1]), np.float32)
    if isinstance(vectors, np.ndarray):
        size = max(CELLS // vectors.shape[1], 1)
        for some in map(slice, range(0, len(found), size), range(size, len(found) + size, size)):
            of_history, wanted = vectors[histories.values[some]], listed[histories.rows[some]]
            for number, of_list in enumerate(wanted.T):
                found[some, number] = np.einsum("nd,nd->n", of_history, vectors[of_list])
        return found
    items = np.unique(listed)
    column = np.searchsorted(items, listed)
    size = max(CELLS // max(len(items), 1), 1)
    for some in map(slice, range(0, len(found), size), range(size, len(found) + size, size)):
        given = np.unique(histories.values[some])
        row = np.searchsorted(given, histories.values[some])[:, None]
        found[some] = products(vectors[given], vectors[items])[row, column[histories.rows[some]]]
    return found


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


def whole_and_target(name: str, vectors: Matrix, is_target: Bools) -> tuple[HistoryFeature, HistoryFeature]:
    """Two features of a scorer: the whole history, and its target part."""
    return (
        HistoryFeature(name, vectors, is_target),
        HistoryFeature(f"{name}_target", vectors, is_target, part="target"),
    )


def products(users: Matrix, items: Matrix) -> Floats:
    """The inner product of each user with each item, float32 (B, n)."""
    found = users @ items.T
    return found if isinstance(found, np.ndarray) else found.toarray()
