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
from crossrec_cli.models.shared_model import SharedModel
from crossrec_cli.models.vectors import (
    Floats,
    Matrix,
    by_user,
    history_products,
    inverse,
    row_lengths,
    row_products,
    scaled_rows,
    unit_rows,
)
from crossrec_cli.models.whitening import Whitening

Domain = Literal["source", "target"]
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

    earlier_whitening: Whitening | None = None
    """The whitening of an earlier model, whose text map goes on to be used; None: one is fitted."""
    shared: SharedModel | None = None
    """What other platforms taught; its whitening is used."""

    @property
    def is_target(self) -> Bools:
        """The items to recommend, (I,)."""
        return self.histories.item_stats.is_target

    @cached_property
    def whitening(self) -> Whitening:
        """The earlier or shared whitening, or one that is fitted to all texts."""
        if self.shared:
            return self.shared.whitening
        return self.earlier_whitening or Whitening.of(self.embeddings)

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

    def vector_parts(self, histories: Ragged, tags: Ragged, domain: Domain) -> VectorParts:
        """``user_vectors``, and what of them comes from one domain."""

    def parts(self, histories: Ragged, tags: Ragged, listed: Ints) -> Parts:
        """How each interaction changes the scores of the items listed for its user.

        Args:
            histories: as in ``user_vectors``.
            tags: as in ``user_vectors``.
            listed: item indices, int64 (B, k).
        """


class VectorParts(NamedTuple):
    """Users' vectors, (B, d), and what of them comes from where. What is left comes from the other domain."""

    total: Matrix
    of_domain: Matrix | None
    """From the interactions of one domain, dislikes among them; None: nothing."""
    rest: Matrix | None
    """From no interaction; None: nothing."""


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
    """A weighted sum over the history, of length 1; later purchases count more, and dislikes are subtracted."""

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

    def vector_parts(self, histories: Ragged, tags: Ragged, domain: Domain) -> VectorParts:
        """See ``Feature``; exact but for rounding."""
        weights = self.scaled(histories)
        sums = self._summed(histories, weights)
        scale = inverse(row_lengths(sums))
        unit = scaled_rows(sums, scale)
        if self.part == "target":
            return VectorParts(unit, unit if domain == c.TARGET else None, None)
        chosen = self.is_target[histories.values] == (domain == c.TARGET)
        of_domain = self._summed(histories, np.where(chosen, weights, np.float32(0)))
        return VectorParts(unit, scaled_rows(of_domain, scale), None)

    def parts(self, histories: Ragged, tags: Ragged, listed: Ints) -> Parts:
        """See ``Feature``; exact but for rounding."""
        return history_parts([self], histories, listed)[0]

    def weights(self, histories: Ragged) -> Floats:
        """The weight of each interaction, (H,); 0 for those that are not summed."""
        counted = self.is_target[histories.values] if self.part == "target" else np.ones(len(histories.values), bool)
        cumulative = np.append(np.cumsum(counted & histories.liked), 0)
        later = cumulative[histories.starts + histories.lengths - 1][histories.rows] - cumulative[:-1]
        weight = histories.weights_or_ones * np.float32(self.decay) ** later
        if self.source_weight != 1:
            weight = np.where(self.is_target[histories.values], weight, self.source_weight * weight)
        return np.where(counted & (abs(weight) >= SMALLEST_WEIGHT), weight, 0).astype(np.float32)

    def sums(self, histories: Ragged) -> Matrix:
        """``user_vectors`` before they get the length 1."""
        return self._summed(histories, self.scaled(histories))

    def _summed(self, histories: Ragged, weights: Floats) -> Matrix:
        """Each user's items times these weights, (H,), in one vector."""
        kept = weights != 0
        cells = (weights[kept], (histories.rows[kept], histories.values[kept]))
        return csr_array(cells, shape=(len(histories.lengths), len(self.is_target))) @ self.item_vectors

    def scaled(self, histories: Ragged) -> Floats:
        """``weights``, times the query factors."""
        weights = self.weights(histories)
        return weights if self.query_factors is None else weights * self.query_factors[histories.values]


def history_parts(features: Sequence[HistoryFeature], histories: Ragged, listed: Ints) -> list[Parts]:
    """``Feature.parts`` of some features of one scorer."""
    if not features or not len(histories.values):
        return [Parts.none(histories, listed)] * len(features)
    vectors = features[0].item_vectors
    sums = [WeightedSum(feature.sums(histories), feature.scaled(histories)) for feature in features]
    return sum_parts(vectors, histories, vectors[listed.ravel()], sums)


class WeightedSum(NamedTuple):
    """A weighted sum of each user's items; it may have more in it."""

    total: Matrix
    """(B, d)."""
    weights: Floats
    """Of each interaction, (H,); 0 for those that are not in it."""


def sum_parts(vectors: Matrix, histories: Ragged, listed: Matrix, sums: Sequence[WeightedSum]) -> list[Parts]:
    """How interactions change the products of some vectors with users' sums that are brought to the length 1.

    Without an interaction the sum has another length, which changes the whole score. What is in no sum is not
    multiplied.

    Args:
        vectors: of all items, (I, d).
        histories: of B users.
        listed: k vectors for each user, one user's after the other's, (B · k, d).
        sums: of the same users.
    """
    users = len(histories.lengths)
    k = listed.shape[0] // users
    counted = np.any([one.weights != 0 for one in sums], axis=0)
    inner = np.zeros((len(counted), k + len(sums)), np.float32)
    others = by_user([listed, *(one.total for one in sums)], users)
    inner[counted] = history_products(vectors, histories.where(counted), others)
    items, index = np.unique(histories.values, return_inverse=True)  # not the whole catalogue for one user
    own = row_products(vectors[items], vectors[items])[index]

    def with_listed(matrix: Matrix, of_users: Ints) -> Floats:
        """The products of some rows with the k vectors of their users."""
        index = (of_users[:, None] * k + np.arange(k)).ravel()
        return row_products(matrix[np.repeat(np.arange(len(of_users)), k)], listed[index]).reshape(-1, k)

    def parts(one: WeightedSum, along: Floats) -> Parts:
        rows, added = histories.rows, one.weights[:, None] * inner[:, :k]
        whole, squared = with_listed(one.total, np.arange(users))[rows], row_products(one.total, one.total)[rows]
        rest, squared_rest = whole - added, squared - 2 * one.weights * along + one.weights**2 * own
        close = np.flatnonzero(squared_rest < CANCELS * squared)
        if len(close):
            left = one.total[rows[close]] + scaled_rows(vectors[histories.values[close]], -one.weights[close])
            rest[close], squared_rest[close] = with_listed(left, rows[close]), row_products(left, left)
        length, length_rest = (np.sqrt(np.maximum(some, 1e-24))[:, None] for some in (squared, squared_rest))
        falls = whole / length - np.where(length_rest > 1e-5 * length, rest / length_rest, 0)
        return Parts((added / length).astype(np.float32), falls.astype(np.float32))

    return [parts(one, inner[:, k + number]) for number, one in enumerate(sums)]


def purchases(histories: Ragged, number: Ints, items: int) -> csr_array:
    """Purchase matrix, float32 (lists, items), each item once; ``number`` is an item's column, −1 for none."""
    of_items = histories.where((number[histories.values] >= 0) & histories.liked)
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
