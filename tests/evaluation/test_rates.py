from __future__ import annotations

import math

import numpy as np
import pytest

from crossrec_cli.evaluation.rates import RateDifference, UserTotals, ValueDifference, sample_ratio_p

LOGS = 200
RATE = 0.1


def simulated(rng: np.random.Generator, users: int, lift: float = 0.0) -> UserTotals:
    """Users who come more or less often, each with a taste for clicking; the rate is RATE · (1 + lift)."""
    lists = 1 + rng.poisson(3 * rng.gamma(1, 1, users))
    taste = np.clip(rng.beta(2, 2 / RATE - 2, users) * (1 + lift), 0, 1)
    return UserTotals(lists.astype(float), rng.binomial(lists, taste).astype(float))


def differences(lift: float, users: int = 400) -> list[RateDifference]:
    rngs = [np.random.default_rng(seed) for seed in range(LOGS)]
    return [RateDifference.of(simulated(rng, users), simulated(rng, users, lift), detect=0.3) for rng in rngs]


def test_two_times_the_same_variant_differ_by_chance_in_one_of_twenty_logs():
    """Of 200 tests at a level of 5 %, between 2 and 21 fail in 99.9 % of all series."""
    found = differences(lift=0.0)
    assert 2 <= sum(one.difference.p < 0.05 for one in found) <= 21
    assert sum(one.difference.p < 0.05 for one in found) == sum(
        not one.difference.low <= 0 <= one.difference.high for one in found
    )
    assert sum(one.difference.high < 0 for one in found) <= 14, "half of them are losses"


def test_the_interval_has_the_true_lift_and_the_users_needed_find_it():
    found = differences(lift=0.3)
    covered = sum(one.difference.low <= RATE * 0.3 <= one.difference.high for one in found)
    assert 179 <= covered <= 198
    assert np.mean([one.difference.mean for one in found]) == pytest.approx(RATE * 0.3, abs=0.002)
    needed = np.mean([one.needed_users for one in found])
    rngs = [np.random.default_rng(1000 + seed) for seed in range(LOGS)]
    users = round(needed / 2)
    hits = sum(
        RateDifference.of(simulated(rng, users), simulated(rng, users, 0.3), 0.3).difference.p < 0.05 for rng in rngs
    )
    assert hits / LOGS == pytest.approx(0.8, abs=0.09)


def test_users_are_the_unit_and_not_lists():
    """One user in ten has all the clicks: many lists a user say no more of the rate than few."""
    clickers = np.repeat([1.0, 0.0], [10, 90])
    few, many = (UserTotals(np.full(100, lists), clickers * lists) for lists in (1.0, 100.0))
    for one in (few, many):
        found = RateDifference.of(one, UserTotals(one.lists, np.roll(one.rewards, 7)), 0.05)
        assert (found.a, found.b, found.difference.mean) == pytest.approx((0.1, 0.1, 0))
        assert found.difference.high == pytest.approx(1.97 * math.sqrt(2 * 0.1 * 0.9 / 99), abs=2e-3)


def test_a_rate_is_of_all_lists_and_absent_users_do_not_change_it():
    a = UserTotals(np.array([4.0, 1.0, 5.0]), np.array([2.0, 1.0, 0.0]))
    assert a.rate == pytest.approx(0.3)
    assert a.linear.mean() == pytest.approx(0.3)
    absent = UserTotals(np.append(a.lists, [0.0, 0.0]), np.append(a.rewards, [0.0, 0.0]))
    assert absent.linear.mean() == absent.rate == pytest.approx(0.3)


def test_more_users_are_needed_for_smaller_differences():
    rng = np.random.default_rng(0)
    a, b = simulated(rng, 300), simulated(rng, 300)
    needed = [RateDifference.of(a, b, detect).needed_users for detect in (0.2, 0.1, 0.05)]
    assert needed[1] / needed[0] == pytest.approx(4)
    assert needed[2] / needed[1] == pytest.approx(4)


def test_what_cannot_be_judged_has_no_interval():
    ones, zeros = np.ones(50), np.zeros(50)
    nothing = RateDifference.of(UserTotals(ones, zeros), UserTotals(ones, zeros), 0.05)
    assert (nothing.difference.mean, nothing.difference.p) == (0, 1)
    assert math.isnan(nothing.difference.low)
    assert math.isnan(nothing.needed_users)
    single = ValueDifference.of(np.array([1.0]), np.array([1.0, 2.0]))
    assert (single.mean, single.p, math.isnan(single.high)) == (0.5, 1, True)
    assert math.isnan(ValueDifference.of(np.array([]), np.ones(3)).mean)


def test_numbers_of_users_are_compared_with_the_planned_ones():
    assert sample_ratio_p(5_000, 5_080, 0.5) > 0.3
    assert sample_ratio_p(5_000, 5_500, 0.5) < 1e-5
    assert sample_ratio_p(1_000, 9_100, 0.1) > 0.3
    assert sample_ratio_p(5_000, 5_080, 0.1) < 1e-100
