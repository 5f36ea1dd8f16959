"""Confidence intervals and tests of figures and differences."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crossrec_cli.evaluation.metrics import Floats

RESAMPLES = 2000
CHUNK_CELLS = 2**22
"""Numbers of one chunk of resamples, 32 MB."""


def interval(values: Floats, seed: int = 0) -> tuple[float, float]:
    """The 95 % bootstrap interval of a mean over users (Efron 1979), by the percentiles of resampled means.

    Args:
        values: one a user, float64 (n,); nan is ignored.
        seed: of the resampling.

    Returns:
        Its ends; nan without users.
    """
    low, high = intervals(values[:, None], seed)
    return float(low[0]), float(high[0])


def intervals(values: npt.NDArray[np.float64], seed: int = 0) -> tuple[Floats, Floats]:
    """``interval`` for several figures of the same users, float64 (n, figures), with the same resamples for all."""
    has_value = np.isfinite(values)
    sums = np.where(has_value, values, 0.0)
    means = [np.empty((0, values.shape[1]))]
    for counts in resamples(len(values), seed):
        with np.errstate(invalid="ignore"):
            means.append((counts @ sums) / (counts @ has_value))
    means_drawn = np.concatenate(means)
    if not len(means_drawn):
        return np.full(values.shape[1], np.nan), np.full(values.shape[1], np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a figure without users
        low, high = np.nanpercentile(means_drawn, [2.5, 97.5], axis=0)
    return low, high


def resamples(users: int, seed: int = 0) -> Iterator[npt.NDArray[np.float64]]:
    """How often each user is drawn in each resample, (chunk, users), until there are ``RESAMPLES``.

    Counts and not the draws, so that means are a matrix product instead of a gather.
    """
    rng, chunk_size = np.random.default_rng(seed), max(CHUNK_CELLS // max(users, 1), 1)
    for begin in range(0, RESAMPLES if users else 0, chunk_size):
        size = min(chunk_size, RESAMPLES - begin)
        drawn = rng.integers(users, size=(size, users)) + np.arange(size)[:, None] * users
        yield np.bincount(drawn.ravel(), minlength=size * users).reshape(size, users).astype(np.float64)


@dataclass(frozen=True)
class Difference:
    """The difference of two rankings' values, over the users of both."""

    mean: float
    low: float
    """The ends of its 95 % bootstrap interval."""
    high: float
    p: float
    """p value of the signed-rank test (Wilcoxon 1945)."""
    users: int

    @classmethod
    def of(cls, ours: Floats, theirs: Floats) -> Difference:
        """From both rankings' values for the same users; nan is ignored."""
        return cls.of_gain(ours - theirs, *interval(ours - theirs))

    @classmethod
    def of_gain(cls, gain: Floats, low: float, high: float) -> Difference:
        """From the values' difference and the ends of its interval."""
        gain = gain[np.isfinite(gain)]
        if not len(gain):
            return cls(float("nan"), float("nan"), float("nan"), 1.0, 0)
        from scipy.stats import wilcoxon  # noqa: PLC0415  takes a moment to import, and pretrain-adapt needs none

        p = float(wilcoxon(gain).pvalue) if gain.any() else 1.0
        return cls(float(gain.mean()), low, high, p, len(gain))


def differences(ours: Floats, others: Mapping[str, Floats]) -> list[tuple[str, Difference, float]]:
    """Ours compared with each other ranking: its name, the difference, and p adjusted by ``holm``."""
    if not others:
        return []
    gains = np.column_stack([ours - other for other in others.values()])
    low, high = intervals(gains)
    ends = zip(gains.T, low.tolist(), high.tolist(), strict=True)
    all_differences = [Difference.of_gain(gain, *ends_of_gain) for gain, *ends_of_gain in ends]
    adjusted = holm(np.array([difference.p for difference in all_differences])).tolist()
    return list(zip(others, all_differences, adjusted, strict=True))


def holm(p: Floats) -> Floats:
    """P values adjusted for several tests (Holm 1979): the chance of any false positive is at most the level."""
    order = np.argsort(p)
    ordered = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(ordered, 1.0)
    return adjusted
