from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from crossrec_cli.evaluation.calibration import BINS, Accuracy, Reliability


def test_true_probabilities_have_hardly_any_error_and_doubled_ones_are_told():
    rng = np.random.default_rng(0)
    probability = rng.beta(0.3, 30, 400_000)
    bought = (rng.random(len(probability)) < probability).astype(float)
    true, doubled = Reliability.of(probability, bought), Reliability.of(2 * probability, bought)
    np.testing.assert_allclose(true.observed, true.predicted, rtol=0.12)
    np.testing.assert_allclose(doubled.observed, doubled.predicted / 2, rtol=0.12)
    assert true.error < probability.mean() / 20
    assert doubled.error == pytest.approx(probability.mean(), rel=0.05)


def test_bins_expect_equally_many_purchases_and_hold_every_pair():
    probability = np.random.default_rng(0).uniform(0.001, 0.2, 50_000)
    found = Reliability.of(probability, np.zeros(50_000))
    assert found.pairs.sum() == 50_000
    expected = found.predicted * found.pairs
    np.testing.assert_allclose(expected, probability.sum() / BINS, rtol=0.01)
    assert (np.diff(found.predicted) > 0).all()


def test_the_error_by_hand():
    """Of 300 pairs at .1 every tenth was bought, as said; of 100 at .3 every second."""
    probability = np.repeat([0.1, 0.3], [300, 100])
    bought = np.concatenate([np.arange(300) % 10 == 0, np.arange(100) % 2 == 0]).astype(float)
    found = Reliability.of(probability, bought)
    np.testing.assert_allclose(found.observed, [0.1] * 5 + [0.5] * 5)
    assert found.error == pytest.approx(0.2 * 100 / 400)


def test_one_pair():
    found = Reliability.of(np.array([0.4]), np.array([1.0]))
    assert found.pairs.tolist() == [1]
    assert found.error == pytest.approx(0.6)


def test_accuracy_by_hand():
    pairs = np.array([0.9, 0.2, 0.4, 0.4]), np.array([1.0, 0.0, 1.0, 0.0])
    found = Accuracy.of(*pairs, Reliability.of(*pairs))
    assert found.auc == pytest.approx((1 + 1 + 1 + 0.5) / 4), "a tie is half a win"
    assert found.log_loss == pytest.approx(-np.log([0.9, 0.8, 0.4, 0.6]).mean())
    assert found.base_log_loss == pytest.approx(np.log(2)), "half were bought"
    assert found.brier == pytest.approx((0.01 + 0.04 + 0.36 + 0.16) / 4)
    assert (found.pairs, found.bought) == (4, 2)


def test_probabilities_too_small_for_a_float_are_one_bin():
    found = Reliability.of(np.zeros(5), np.array([0.0, 1, 0, 0, 0]))
    assert (found.predicted.tolist(), found.observed.tolist(), found.pairs.tolist()) == ([0], [0.2], [5])


def test_the_chance_of_the_higher_score_is_that_of_the_rank_test():
    rng = np.random.default_rng(0)
    probability, bought = rng.integers(1, 60, 500) / 100, (rng.random(500) < 0.1).astype(float)
    found = Accuracy.of(probability, bought, Reliability.of(probability, bought))
    statistic = stats.mannwhitneyu(probability[bought > 0], probability[bought == 0]).statistic
    assert found.auc == pytest.approx(statistic / (bought.sum() * (500 - bought.sum())), abs=1e-12)
