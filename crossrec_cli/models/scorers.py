"""The scorers by their names in the config: how each is made, restored, and given new items."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from crossrec_cli.models import attributes, linear, neighbours, popularity, text, words
from crossrec_cli.models.base import Feature, HistoryFeature, Matrix, NewItems, Scorer, TrainingData, whole_and_target
from crossrec_cli.models.fusion import Questions, log_loss
from crossrec_cli.models.neural import neural_scorer
from crossrec_cli.models.ragged import Bools

DECAYS = (1.0, 0.9, 0.8, 0.7, 0.6)
"""How much a purchase may count beside the next one."""


def _linear(data: TrainingData, seed: int) -> list[Scorer]:
    decomposition = linear.decompose(data, seed)
    return [decomposition.scorer(l2) for l2 in linear.L2]


SCORERS: Mapping[str, Callable[[TrainingData, int], list[Scorer]]] = {
    text.NAME: lambda data, _: [text.text(data)],
    words.NAME: lambda data, _: [words.words(data)],
    attributes.NAME: lambda data, _: [attributes.attributes(data)],
    popularity.NAME: lambda data, _: [popularity.popularity(data)],
    neighbours.NAME: lambda data, _: [neighbours.neighbours(data)],
    linear.NAME: _linear,
}
"""Each that needs no gradients gives the variants of one scorer, with the same features."""
PLACE: Mapping[str, Callable[[Scorer, NewItems], Matrix]] = {
    text.NAME: text.place,
    words.NAME: words.place,
    attributes.NAME: attributes.place,
    popularity.NAME: popularity.place,
    neighbours.NAME: neighbours.place,
    linear.NAME: linear.place,
    neural_scorer.NAME: neural_scorer.place,
}
"""Each gives the vectors of items that came after training."""


def features_of(name: str, vectors: Matrix, is_target: Bools, facts: Sequence[str]) -> Sequence[Feature]:
    """A scorer's features, for its item vectors, (I, d); ``facts`` are the names of popularity's own."""
    if name == popularity.NAME:
        return popularity.features(facts, vectors.shape[1])
    if name == linear.NAME:
        return linear.features(np.asarray(vectors), is_target)
    return whole_and_target(name, vectors, is_target)


def choose(variants: list[Scorer], questions: Questions, base: tuple[Scorer, Feature]) -> Scorer:
    """The variant, and of each of its history features the decay, that with ``base`` makes the purchases likeliest.

    How much is sold counts along: a scorer is to be chosen for what it knows beyond that.
    """
    start = questions.scores(*base)

    def loss(scorer: Scorer, feature: Feature) -> float:
        return log_loss([start, questions.scores(scorer, feature)], questions)

    number = 0
    if len(variants) > 1:
        losses = [min(loss(scorer, feature) for feature in scorer.features) for scorer in variants]
        number = int(np.argmin(losses))
    best = variants[number]
    features = [min(_decays(feature), key=lambda one: loss(best, one)) for feature in best.features]
    return replace(best, features=features, variant=number)


def order_matters(data: TrainingData, questions: Questions) -> bool:
    """Whether purchases are likelier where later ones count more, by what is bought together."""
    base = popularity.sales(data)
    (feature, _) = choose([neighbours.neighbours(data)], questions, (base, base.features[0])).features
    return isinstance(feature, HistoryFeature) and feature.decay < 1


def _decays(feature: Feature) -> Iterator[Feature]:
    if isinstance(feature, HistoryFeature):
        yield from map(feature.with_decay, DECAYS)
    else:
        yield feature
