"""How sure a figure is, and a difference."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import wilcoxon

from crossrec_cli.evaluation.metrics import Floats

RESAMPLES = 2000
TOGETHER = 2**22
"""Numbers of one lot of resamples, 32 MB."""


def interval(values: Floats, seed: int = 0) -> tuple[float, float]:
    """The 95 % bootstrap interval of a mean over users (Efron 1979), by the percentiles of resampled means.

    Args:
        values: one a user, float64 (n,); nan counts for nothing.
        seed: of the resampling.

    Returns:
        Its ends; nan if there is no user.
    """
    low, high = intervals(values[:, None], seed)
    return float(low[0]), float(high[0])


def intervals(values: npt.NDArray[np.float64], seed: int = 0) -> tuple[Floats, Floats]:
    """The same for several figures of the same users, float64 (n, figures), with the same resamples for all."""
    known = np.isfinite(values)
    sums = np.where(known, values, 0.0)
    means = [np.empty((0, values.shape[1]))]
    for times in resamples(len(values), seed):
        with np.errstate(invalid="ignore"):
            means.append((times @ sums) / (times @ known))
    drawn = np.concatenate(means)
    if not len(drawn):
        return np.full(values.shape[1], np.nan), np.full(values.shape[1], np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a figure that nobody has
        low, high = np.nanpercentile(drawn, [2.5, 97.5], axis=0)
    return low, high


def resamples(users: int, seed: int = 0) -> Iterator[npt.NDArray[np.float64]]:
    """How often each user is drawn in each resample, (some, users), until there are ``RESAMPLES``.

    In place of the draws themselves: a matrix product instead of a gather.
    """
    rng, lot = np.random.default_rng(seed), max(TOGETHER // max(users, 1), 1)
    for begin in range(0, RESAMPLES if users else 0, lot):
        size = min(lot, RESAMPLES - begin)
        drawn = rng.integers(users, size=(size, users)) + np.arange(size)[:, None] * users
        yield np.bincount(drawn.ravel(), minlength=size * users).reshape(size, users).astype(np.float64)


@dataclass(frozen=True)
class Difference:
    """How much more one ranking gives than another, over the users of both."""

    mean: float
    low: float
    """The ends of its 95 % bootstrap interval."""
    high: float
    p: float
    """Of the signed-rank test (Wilcoxon 1945): how likely a difference at least so large is where there is none."""
    users: int

    @classmethod
    def of(cls, ours: Floats, theirs: Floats) -> Difference:
        """From both rankings' values for the same users; nan counts for nothing."""
        return cls.of_gain(ours - theirs, *interval(ours - theirs))

    @classmethod
    def of_gain(cls, gain: Floats, low: float, high: float) -> Difference:
        """The same from their difference and the ends of its interval."""
        gain = gain[np.isfinite(gain)]
        if not len(gain):
            return cls(float("nan"), float("nan"), float("nan"), 1.0, 0)
        p = float(wilcoxon(gain).pvalue) if gain.any() else 1.0
        return cls(float(gain.mean()), low, high, p, len(gain))


def differences(ours: Floats, others: Mapping[str, Floats]) -> list[tuple[str, Difference, float]]:
    """Ours beside each other ranking: its name, the difference, and p raised for there being several."""
    if not others:
        return []
    gains = np.column_stack([ours - theirs for theirs in others.values()])
    low, high = intervals(gains)
    ends = zip(gains.T, low.tolist(), high.tolist(), strict=True)
    found = [Difference.of_gain(gain, *of_gain) for gain, *of_gain in ends]
    raised = holm(np.array([difference.p for difference in found])).tolist()
    return list(zip(others, found, raised, strict=True))


def holm(p: Floats) -> Floats:
    """P values raised for there being several (Holm 1979): below .05, the chance that any of them is luck is too."""
    order = np.argsort(p)
    raised = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    found = np.empty(len(p))
    found[order] = np.minimum(raised, 1.0)
    return found
