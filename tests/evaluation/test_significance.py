from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from crossrec_cli.evaluation import significance
from crossrec_cli.evaluation.significance import Difference, differences, holm, interval, intervals, resamples


@pytest.mark.parametrize("users", [400, 3000])
def test_an_interval_is_as_wide_as_theory_says(users):
    values = np.random.default_rng(0).normal(2, 1, users)
    low, high = interval(values)
    error = values.std() / np.sqrt(users)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)
    assert interval(values, seed=1) != (low, high)


@pytest.mark.parametrize("users", [50, 2500])
def test_the_ends_are_percentiles_of_the_means_of_the_users_drawn(users):
    """Of each figure alone, whatever others there are."""
    values = np.random.default_rng(0).random((users, 3))
    values[::5, 1] = np.nan
    drawn = np.concatenate([counts for _, counts in resamples(users)])
    low, high = intervals(values)
    for column in range(3):
        known = np.isfinite(values[:, column])
        means = values[known, column] @ drawn[known] / drawn[known].sum(axis=0)
        assert (low[column], high[column]) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])), abs=1e-7)


def test_few_users_are_drawn_as_often_as_they_are_many():
    [(users, counts)] = resamples(40)
    assert users == slice(0, 40)
    assert counts.shape == (40, 2000)
    assert (counts.sum(axis=0) == 40).all()
    assert counts.var() == pytest.approx(1 - 1 / 40, abs=0.02)


def test_many_users_are_drawn_by_poissons_law_in_blocks_of_any_size(monkeypatch):
    counts = np.concatenate([counts for _, counts in resamples(2100)])
    monkeypatch.setattr(significance, "BLOCK", 600)
    blocks = list(resamples(2100))
    assert [users.stop - users.start for users, _ in blocks] == [600, 600, 600, 300]
    assert (np.concatenate([block for _, block in blocks]) == counts).all()
    shares = np.bincount(counts.astype(int).ravel(), minlength=6)[:6] / counts.size
    np.testing.assert_allclose(shares, stats.poisson.pmf(np.arange(6), 1), atol=0.001)
    assert np.abs(np.corrcoef(counts[:50])[np.triu_indices(50, 1)]).max() < 0.1, "one user's are another's chance"


def test_who_has_no_value_counts_for_nothing():
    values = np.random.default_rng(0).random(300)
    gaps = np.column_stack([values, np.where(np.arange(300) < 150, values, np.nan), np.full(300, np.nan)])
    low, high = intervals(gaps)
    expected = interval(values[:150])
    assert low[1] == pytest.approx(expected[0], abs=0.01)
    assert high[1] == pytest.approx(expected[1], abs=0.01)
    assert np.isnan([low[2], high[2]]).all()
    assert np.isnan(interval(np.array([]))).all()


def test_a_difference_is_told_from_chance_where_there_is_one():
    rng = np.random.default_rng(0)
    theirs = rng.random(500)
    better = Difference.of(theirs + rng.normal(0.05, 0.1, 500), theirs)
    assert better.p < 0.001
    assert better.low > 0
    assert better.mean == pytest.approx(0.05, abs=0.02)
    same = Difference.of(theirs, theirs)
    assert (same.mean, same.low, same.high, same.p, same.users) == (0, 0, 0, 1, 500)
    assert Difference.of(np.array([np.nan]), np.array([1.0])).users == 0


def test_the_p_value_is_wilcoxons_over_those_with_both_values():
    rng = np.random.default_rng(1)
    ours, theirs = rng.random(80), rng.random(80)
    ours[:5], theirs[5:9] = np.nan, np.nan
    found = Difference.of(ours, theirs)
    assert found.users == 71
    assert found.p == stats.wilcoxon(ours[9:], theirs[9:]).pvalue


def test_holm_by_hand():
    """Holm's own example: sorted times 4, 3, 2, 1, never falling, at most 1."""
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.6, 0.9])).tolist() == [1.0, 1.0]
    assert holm(np.array([])).tolist() == []


def test_beside_nothing_there_is_no_difference():
    assert differences(np.linspace(0, 1, 9), {}) == []
