"""The scorers by their names in the config, each in the variants that validation chooses from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from crossrec_cli.models.attributes import attributes
from crossrec_cli.models.base import Feature, HistoryFeature, Scorer, TrainingData
from crossrec_cli.models.fusion import Questions, log_loss
from crossrec_cli.models.linear import L2, decompose
from crossrec_cli.models.neighbours import neighbours
from crossrec_cli.models.popularity import popularity
from crossrec_cli.models.text import text, text_vectors
from crossrec_cli.models.words import words

DECAYS = (1.0, 0.9, 0.8, 0.7, 0.6)
"""How much a purchase may count beside the next one."""


def _linear(data: TrainingData, seed: int) -> list[Scorer]:
    decomposition = decompose(data, text_vectors(data), seed)
    return [decomposition.scorer(l2) for l2 in L2]


SCORERS: Mapping[str, Callable[[TrainingData, int], list[Scorer]]] = {
    "text": lambda data, _: [text(data)],
    "words": lambda data, _: [words(data)],
    "attributes": lambda data, _: [attributes(data)],
    "popularity": lambda data, _: [popularity(data)],
    "neighbours": lambda data, _: [neighbours(data)],
    "linear": _linear,
}
"""Each gives the variants of one scorer, with the same features."""


def choose(variants: list[Scorer], questions: Questions, base: tuple[Scorer, Feature]) -> Scorer:
    """The variant, and of each of its history features the decay, that with ``base`` makes the purchases likeliest.

    How much is sold counts along: a scorer is to be chosen for what it knows beyond that.
    """
    start = questions.scores(*base)

    def loss(scorer: Scorer, feature: Feature) -> float:
        return log_loss([start, questions.scores(scorer, feature)], questions)

    best = variants[0]
    if len(variants) > 1:
        best = min(variants, key=lambda scorer: min(loss(scorer, feature) for feature in scorer.features))
    features = [min(_decays(feature), key=lambda one: loss(best, one)) for feature in best.features]
    return Scorer(best.name, best.item_vectors, features)


def _decays(feature: Feature) -> Iterator[Feature]:
    if isinstance(feature, HistoryFeature):
        yield from map(feature.with_decay, DECAYS)
    else:
        yield feature
