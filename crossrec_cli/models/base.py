"""The parts of every scorer: a vector for each item, and features that turn a user into a vector of the same width.

A feature's score is u(f)·v(i). ``HistoryFeature`` is the common kind: u(f) is a weighted sum over the items of the
history, so a score is the sum of one part for each history item.

Shapes: I items, B users, H interactions of all their histories, d the width of a scorer's vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from typing import Literal, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_array

from crossrec_cli.artifacts import columns as c
from crossrec_cli.models.histories import Histories
from crossrec_cli.models.history_sums import HistorySums, Parts
from crossrec_cli.models.ragged import Bools, Ints, Ragged
from crossrec_cli.models.shared_model import SharedModel
from crossrec_cli.models.vectors import Floats, Matrix, listed_products, scaled_rows
from crossrec_cli.models.whitening import Whitening

Domain = Literal["source", "target"]
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

    def scaled(self, weights: Floats) -> VectorParts:
        """Each user's times a weight, (B,)."""
        return VectorParts(
            scaled_rows(self.total, weights),
            *(None if part is None else scaled_rows(part, weights) for part in (self.of_domain, self.rest)),
        )

    def plus(self, other: VectorParts) -> VectorParts:
        """Both, added up."""
        of_domain, rest = (
            one if two is None else two if one is None else one + two
            for one, two in zip(self[1:], other[1:], strict=True)
        )
        return VectorParts(self.total + other.total, of_domain, rest)


class Explained(NamedTuple):
    """The scores of some users' listed items, and how interactions change them."""

    scores: Floats
    """By each feature, (B, k, F); 0 where it counts for no user."""
    parts: Parts
    """Of the features together, weighted."""


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

    def user_vectors(self, weights: Floats, histories: Ragged, tags: Ragged) -> Matrix:
        """The users' vectors by each feature, times the feature's weight for the user, (B, F), added up; (B, d)."""
        sums, others = self.sums(histories), self._others(weights)
        vectors = [scaled_rows(self.features[one].user_vectors(histories, tags), weights[:, one]) for one in others]
        if sums:
            vectors.append(sums.mixed(weights[:, self._summing]))
        return sum(vectors[1:], start=vectors[0])

    def vector_parts(
        self, weights: Floats, histories: Ragged, tags: Ragged, domain: Domain, sums: HistorySums | None
    ) -> VectorParts:
        """``user_vectors``, and what of them comes from one domain; ``sums`` are those of the histories."""
        others = self._others(weights)
        parts = [self.features[one].vector_parts(histories, tags, domain).scaled(weights[:, one]) for one in others]
        if sums:
            parts.append(_parts_of(sums, self._is_target, weights[:, self._summing], domain))
        return reduce(VectorParts.plus, parts)

    def explained(
        self,
        weights: Floats,
        without: Floats,
        histories: Ragged,
        tags: Ragged,
        listed: Ints,
        sums: HistorySums | None,
    ) -> Explained:
        """``Feature.parts`` of all features together, and their scores.

        Args:
            weights: the features' weights for each user, (B, F).
            without: the weights that apply without an interaction, (H, F).
            histories: as in ``Feature.parts``.
            tags: as in ``Feature.parts``.
            listed: as in ``Feature.parts``.
            sums: those of the histories.
        """
        others = self._others(weights, without)
        vectors, scores = self.item_vectors[listed.ravel()], np.zeros((*listed.shape, len(self.features)), np.float32)
        of_sums = sums.parts(vectors) if sums else []
        of_others = [
            (listed_products(one.user_vectors(histories, tags), vectors), one.parts(histories, tags, listed))
            for one in (self.features[number] for number in others)
        ]
        added, falls = Parts.none(len(histories.values), listed.shape[1])
        for number, (score, parts) in zip((*self._summing, *others), (*of_sums, *of_others), strict=True):
            scores[:, :, number] = score
            added = added + weights[histories.rows, number, None] * parts.added
            falls = falls + without[:, number, None] * parts.falls
        return Explained(scores, Parts(added, falls))

    def sums(self, histories: Ragged) -> HistorySums | None:
        """The sums of the features that sum histories; None where there are none."""
        summing = [one for one in self.features if isinstance(one, HistoryFeature)]
        return history_sums(summing, histories) if summing else None

    @property
    def _summing(self) -> list[int]:
        """The numbers of the features that sum histories."""
        return [number for number, one in enumerate(self.features) if isinstance(one, HistoryFeature)]

    @property
    def _is_target(self) -> Bools:
        return next(one.is_target for one in self.features if isinstance(one, HistoryFeature))

    def _others(self, *weights: Floats) -> list[int]:
        """The numbers of the other features with a weight for somebody; of a scorer of such alone, at least one."""
        others = [number for number in range(len(self.features)) if number not in self._summing]
        used = [number for number in others if any(some[:, number].any() for some in weights)]
        return used or (others[:1] if not self._summing else [])

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
        return history_sums([self], histories).mixed(self._once(histories))

    def vector_parts(self, histories: Ragged, tags: Ragged, domain: Domain) -> VectorParts:
        """See ``Feature``; exact but for rounding."""
        return _parts_of(history_sums([self], histories), self.is_target, self._once(histories), domain)

    def parts(self, histories: Ragged, tags: Ragged, listed: Ints) -> Parts:
        """See ``Feature``; exact but for rounding."""
        ((_, parts),) = history_sums([self], histories).parts(self.item_vectors[listed.ravel()])
        return parts

    def weights(self, histories: Ragged) -> Floats:
        """The weight of each interaction, (H,); 0 for those that are not summed."""
        counted = self.is_target[histories.values] if self.part == "target" else np.ones(len(histories.values), bool)
        cumulative = np.append(np.cumsum(counted & histories.liked), 0)
        later = cumulative[histories.starts + histories.lengths - 1][histories.rows] - cumulative[:-1]
        weight = histories.weights_or_ones * np.float32(self.decay) ** later
        if self.source_weight != 1:
            weight = np.where(self.is_target[histories.values], weight, self.source_weight * weight)
        return np.where(counted & (abs(weight) >= SMALLEST_WEIGHT), weight, 0).astype(np.float32)

    def scaled(self, histories: Ragged) -> Floats:
        """``weights``, times the query factors."""
        weights = self.weights(histories)
        return weights if self.query_factors is None else weights * self.query_factors[histories.values]

    @staticmethod
    def _once(histories: Ragged) -> Floats:
        return np.ones((len(histories.lengths), 1), np.float32)


def _parts_of(sums: HistorySums, is_target: Bools, weights: Floats, domain: Domain) -> VectorParts:
    """The users' vectors from some sums with these weights, (B, F), and what of them comes from one domain."""
    chosen = is_target[sums.histories.values] == (domain == c.TARGET)
    return VectorParts(sums.mixed(weights), sums.mixed_of(chosen, weights), None)


def history_sums(features: Sequence[HistoryFeature], histories: Ragged) -> HistorySums:
    """The sums of some features of one scorer, at least one."""
    weights = np.stack([feature.scaled(histories) for feature in features])
    return HistorySums(features[0].item_vectors, histories, weights)


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
