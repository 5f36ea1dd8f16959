"""Rates per list of two groups of users, and whether they differ by more than chance.

A rate is Σ rewards / Σ lists. Users are drawn, and not lists, so the variance of a rate is that of a ratio of two means
over users, by the delta method (Deng, Knoblich & Lu 2018, https://doi.org/10.1145/3219819.3219919).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from crossrec_cli.evaluation.metrics import Floats

LEVEL, POWER = 0.05, 0.8
"""Of the tests, and of the sample size."""


class UserTotals(NamedTuple):
    """The totals of one group's users."""

    lists: Floats
    """How many lists each user was shown, (n,); 0 for users who came at another time."""
    rewards: Floats
    """(n,)."""

    @property
    def rate(self) -> float:
        """Rewards per list; nan without lists."""
        lists = self.lists.sum()
        return float(self.rewards.sum() / lists) if lists else float("nan")

    @property
    def linear(self) -> Floats:
        """A value for each user, (n,): their mean is the rate, the variance of their mean that of the rate."""
        values: Floats = self.rate + (self.rewards - self.rate * self.lists) / self.lists.mean()
        return values


@dataclass(frozen=True)
class ValueDifference:
    """How much larger the mean of B's values is than that of A's."""

    mean: float
    low: float
    """The ends of its 95 % interval, nan where no value varies or there are fewer than two users."""
    high: float
    p: float
    """Of Welch's test (1947), 1 where there is no interval."""

    @classmethod
    def of(cls, a: Floats, b: Floats) -> ValueDifference:
        """From a value for each user of A, (n,), and of B, (m,)."""
        from scipy.stats import ttest_ind  # noqa: PLC0415  takes a moment to import

        undefined = float("nan")
        if not len(a) or not len(b):
            return cls(undefined, undefined, undefined, 1.0)
        mean = float(b.mean() - a.mean())
        if min(len(a), len(b)) < 2 or not np.isfinite(mean) or not standard_error(a, b) > 1e-12:  # rounding
            return cls(mean, undefined, undefined, 1.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the values of one group may be equal
            test = ttest_ind(b, a, equal_var=False)
        low, high = test.confidence_interval(1 - LEVEL)
        return cls(mean, float(low), float(high), float(test.pvalue))


@dataclass(frozen=True)
class RateDifference:
    """The rates of A and B, and their difference."""

    a: float
    b: float
    difference: ValueDifference
    needed_users: float
    """So many users of both together find a difference of the size that matters with a power of 80 %, with as large a
    share of them in A as there is now; nan where that is not known."""

    @classmethod
    def of(cls, a: UserTotals, b: UserTotals, detect: float) -> RateDifference:
        """Compare two groups.

        Args:
            a: the first group, with some lists.
            b: the other one.
            detect: the size of a difference that matters, as a share of A's rate.
        """
        of_a, of_b = a.linear, b.linear
        return cls(a.rate, b.rate, ValueDifference.of(of_a, of_b), _needed_users(of_a, of_b, detect * a.rate))


def standard_error(a: Floats, b: Floats) -> float:
    """Of the difference of two means."""
    return float(np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b)))


def _needed_users(a: Floats, b: Floats, size: float) -> float:
    """How many users of both together make a difference of this size significant, with ``POWER``."""
    from scipy.stats import norm  # noqa: PLC0415  takes a moment to import

    if min(len(a), len(b)) < 2 or not size > 0 or not standard_error(a, b) > 0:
        return float("nan")
    errors = norm.isf(LEVEL / 2) + norm.isf(1 - POWER)
    return float((len(a) + len(b)) * (errors * standard_error(a, b) / size) ** 2)


def sample_ratio_p(a: int, b: int, share_of_a: float) -> float:
    """How likely numbers of users as far from a share, or farther, are by chance: p value of the χ² test.

    A small one says that users were not assigned as planned, or that some are lost (Fabijan et al. 2019,
    https://doi.org/10.1145/3292500.3330722).
    """
    from scipy.stats import chisquare  # noqa: PLC0415  takes a moment to import

    users = a + b
    return float(chisquare([a, b], [users * share_of_a, users * (1 - share_of_a)]).pvalue)
