"""Planted shops in which one scorer alone knows the answer: the fused score must find it."""

from __future__ import annotations

import numpy as np
import pytest
import shops

from crossrec_cli.models import federated
from crossrec_cli.models.base import Scorer, TrainingData
from crossrec_cli.models.fusion import KNOTS, HeldOut, fit, knot_shares
from crossrec_cli.models.histories import Cases
from crossrec_cli.models.scorers import SCORERS, choose
from crossrec_cli.models.vectors import products

LEAST = 0.97
"""Of the NDCG@10 of the scorer that knows."""
KNOWS = {"text": "text", "words": "words", "attributes": "attributes", "linear": "linear", "popularity": "popularity"}


def ranked(scores: np.ndarray, data: TrainingData, cases: Cases) -> float:
    """NDCG@10 among the target's items that were not bought before."""
    given = data.histories.items.take(cases.users, cases.history_lengths)
    scores = scores.copy()
    scores[given.rows, given.values] = -np.inf
    scores[:, ~data.is_target] = -np.inf
    own = scores[np.arange(cases.count), cases.truth.values][:, None]
    rank = 1 + (scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) / 2
    return float(np.where(rank <= 10, 1 / np.log2(1 + rank), 0).mean())


def measured(data: TrainingData, valid: Cases, test: Cases) -> tuple[float, dict[str, float]]:
    """Test NDCG@10 of the fused score, and of the best feature of each scorer."""
    candidates = np.flatnonzero(data.is_target)
    held_out = HeldOut.of(data.histories, valid, candidates, True, 7)
    popularity = SCORERS["popularity"](data, 7)[0]
    base = popularity, popularity.features[0]
    makes = [make for name, make in SCORERS.items() if name != federated.NAME]  # it needs other platforms
    chosen: list[Scorer] = [choose(make(data, 7), held_out, base) for make in makes]
    pairs = [(scorer, feature) for scorer in chosen for feature in scorer.features]
    fusion = fit({feature.name: held_out.scores(scorer, feature) for scorer, feature in pairs}, held_out)
    users = data.histories.items.take(test.users, test.history_lengths), data.histories.tags.take(test.users)
    knots = knot_shares(data.histories.target_lengths(test.users, test.history_lengths))
    fused, best = 0.0, {}
    for number, (scorer, feature) in enumerate(pairs):
        scores = products(feature.user_vectors(*users), scorer.item_vectors)
        fused = fused + (knots @ fusion.weights[:, number])[:, None] * scores
        best[scorer.name] = max(best.get(scorer.name, 0.0), ranked(scores, data, test))
    return ranked(fused, data, test), best


@pytest.mark.parametrize("knows", sorted(KNOWS))
def test_the_scorer_that_knows_is_found(knows: str) -> None:
    fused, alone = measured(*shops.shop(knows))
    others = max(score for name, score in alone.items() if name not in (KNOWS[knows], "linear", "neighbours"))
    assert alone[KNOWS[knows]] > 1.5 * others, "the shop is planted as it should be"
    assert fused >= LEAST * max(alone.values())


@pytest.mark.parametrize(("knows", "low", "high"), [("order", 0.0, 0.7), ("text", 0.9, 1.0)])
def test_the_latest_purchase_counts_most_where_it_tells_most(knows: str, low: float, high: float) -> None:
    data, valid, _ = shops.shop(knows)
    held_out = HeldOut.of(data.histories, valid, np.flatnonzero(data.is_target), True, 7)
    popularity = SCORERS["popularity"](data, 7)[0]
    chosen = choose(SCORERS["text"](data, 7), held_out, (popularity, popularity.features[0]))
    assert low <= {feature.name: feature.decay for feature in chosen.features}["text_target"] <= high


@pytest.mark.parametrize("knows", ["text", "words"])
def test_few_validation_cases_do_little_harm(knows: str) -> None:
    data, valid, test = shops.shop(knows)
    fused, alone = measured(data, valid.of(np.arange(40)), test)
    assert fused >= 0.9 * max(alone.values())


def test_what_differs_by_rounding_alone_counts_for_nothing() -> None:
    data, valid, _ = shops.shop("text")
    held_out = HeldOut.of(data.histories, valid, np.flatnonzero(data.is_target), True, 7)
    text = SCORERS["text"](data, 7)[0]
    scored = {"text": held_out.scores(text, text.features[0])}
    rng = np.random.default_rng(0)
    noise = [(1 + 1e-7 * rng.normal(size=one.shape)).astype(np.float32) for one in scored["text"]]
    alone, with_noise = fit(scored, held_out), fit(scored | {"tag_sales": (noise[0], noise[1])}, held_out)
    assert with_noise.spread[1] == 0
    assert np.abs(with_noise.weights[:, 1]).max() < 1
    np.testing.assert_allclose(with_noise.weights[:, 0], alone.weights[:, 0], rtol=0.02)


def test_weights_follow_the_length_of_the_target_history_without_a_jump() -> None:
    shares = knot_shares(np.array([*KNOTS, 2, 6, 400]))
    np.testing.assert_array_equal(shares[: len(KNOTS)], np.eye(len(KNOTS), dtype=np.float32))
    np.testing.assert_array_equal(shares[-1], shares[len(KNOTS) - 1])
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    two = np.log(3 / 2) / np.log(4 / 2)
    np.testing.assert_allclose(shares[-3], [0, 1 - two, two, 0], rtol=1e-6)
    longer = knot_shares(np.arange(100)) @ np.arange(len(KNOTS), dtype=np.float32)
    assert (np.diff(longer) >= 0).all()
    assert np.diff(longer).max() == 1, "from no purchase to one"
