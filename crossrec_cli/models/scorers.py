"""The scorers by their names in the config: how to make and restore each, and its vectors of new items."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from crossrec_cli.config.training_fields import Interest
from crossrec_cli.models import attributes, federated, linear, neighbours, popularity, text, words
from crossrec_cli.models.base import Feature, HistoryFeature, NewItems, Scorer, TrainingData, history_features
from crossrec_cli.models.fusion import HeldOut, log_loss
from crossrec_cli.models.neural import neural_scorer
from crossrec_cli.models.ragged import Bools
from crossrec_cli.models.vectors import Matrix

DECAYS = (1.0, 0.9, 0.8, 0.7, 0.6)
"""Possible weights of a purchase, relative to the next one."""


class Variants(Protocol):
    """Variants of one scorer, with the same features; each the same whenever it is asked for, even if made then."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, variant: int, /) -> Scorer:
        """One of them."""


SCORERS: Mapping[str, Callable[[TrainingData, int], Variants]] = {
    text.NAME: lambda data, _: [text.text(data)],
    words.NAME: lambda data, _: [words.words(data)],
    attributes.NAME: lambda data, _: [attributes.attributes(data)],
    popularity.NAME: lambda data, _: [popularity.popularity(data)],
    neighbours.NAME: lambda data, _: [neighbours.neighbours(data)],
    linear.NAME: linear.decompose,
    federated.NAME: lambda data, _: federated.federated(data),
}
"""Makes the variants of one scorer; of those that need no gradients."""
NEW_VECTORS: Mapping[str, Callable[[Scorer, NewItems], Matrix]] = {
    text.NAME: text.new_vectors,
    words.NAME: words.new_vectors,
    attributes.NAME: attributes.new_vectors,
    popularity.NAME: popularity.new_vectors,
    neighbours.NAME: neighbours.new_vectors,
    linear.NAME: linear.new_vectors,
    federated.NAME: federated.new_vectors,
    neural_scorer.NAME: neural_scorer.new_vectors,
}
"""Computes the vectors of items that came after training."""


def names_of(interest: Interest, data: TrainingData) -> list[str]:
    """The scorers of a model: the config's, and ``federated`` on a platform that learns with others."""
    return [*interest.scorers, *([federated.NAME] if data.shared else [])]


def features_of(name: str, vectors: Matrix, is_target: Bools, facts: Sequence[str]) -> Sequence[Feature]:
    """A scorer's features, for its item vectors, (I, d); ``facts`` are the names of popularity's own."""
    if name == popularity.NAME:
        return popularity.features(facts, vectors.shape[1])
    if name == linear.NAME:
        return linear.features(np.asarray(vectors), is_target)
    return history_features(name, vectors, is_target)


def choose(
    variants: Variants, held_out: HeldOut, base: tuple[Scorer, Feature], decided: Scorer | None = None
) -> Scorer:
    """The variant, and the decay of each of its history features, that with ``base`` makes the purchases likeliest.

    Sales are part of the loss, so that a scorer is chosen for what it adds to them. ``decided`` has decays that were
    chosen by the same purchases already.
    """
    base_scores, weights = held_out.scores(*base), np.full(2, 0.2)

    def loss(scorer: Scorer, feature: Feature) -> float:
        least, weights[:] = log_loss([base_scores, held_out.scores(scorer, feature)], held_out, weights)
        return least  # the weights of the next one are not far from these

    def least_loss(variant: int) -> float:
        scorer = variants[variant]
        return min(loss(scorer, feature) for feature in scorer.features)

    variant = min(range(len(variants)), key=least_loss) if len(variants) > 1 else 0
    best = replace(variants[variant], variant=variant)
    if decided:
        return replace(decided.like(best), variant=variant)
    features = [min(_decays(feature), key=lambda candidate: loss(best, candidate)) for feature in best.features]
    return replace(best, features=features)


def order_matters(data: TrainingData, held_out: HeldOut) -> bool:
    """Whether a decay below 1 makes held-out purchases likelier, for the scorer ``neighbours``."""
    base = popularity.sales(data)
    (feature, _) = choose([neighbours.neighbours(data)], held_out, (base, base.features[0])).features
    return isinstance(feature, HistoryFeature) and feature.decay < 1


def _decays(feature: Feature) -> Iterator[Feature]:
    if isinstance(feature, HistoryFeature):
        yield from map(feature.with_decay, DECAYS)
    else:
        yield feature
