"""Confidence intervals and tests of figures and differences."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crossrec_cli.evaluation.metrics import Floats

RESAMPLES = 2000
FEW_USERS = 2048
"""Below so many users each resample has exactly as many; above, the number varies by Poisson's law."""
BLOCK = 512
"""Users whose counts are held at once, 4 MB."""
ENDS = (2.5, 97.5)
"""The percentiles between which 95 % of the resamples are."""


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
    number = has_value.sum(axis=0)
    mean = np.where(has_value, values, 0.0).sum(axis=0) / np.maximum(number, 1)
    from_mean = np.where(has_value, values - mean, 0.0).astype(np.float32)  # small numbers, so float32 is enough
    gaps = number < len(values)
    sums, drawn = np.zeros((2, values.shape[1], RESAMPLES))
    for users, counts in resamples(len(values), seed):
        sums += from_mean[users].T @ counts
        drawn[~gaps] += counts.sum(axis=0)
        drawn[gaps] += has_value[users][:, gaps].T.astype(np.float32) @ counts
    with np.errstate(invalid="ignore"):
        means = mean[:, None] + sums / drawn
    undefined = np.isnan(means).any(axis=1)  # not drawn in some resample, or in none
    ends = np.empty((2, len(means)))
    ends[:, ~undefined] = np.percentile(means[~undefined], ENDS, axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a figure without users
        ends[:, undefined] = np.nanpercentile(means[undefined], ENDS, axis=1)
    return ends[0], ends[1]


def resamples(users: int, seed: int = 0) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
    """How often each user is drawn in each resample, float32 (users of a block, ``RESAMPLES``), block by block.

    Counts and not the draws, so that means are a matrix product instead of a gather. With many users the counts are
    independent and Poisson (Hanley & MacGibbon 2006, https://doi.org/10.1016/j.cmpb.2006.04.006), from a table of the
    law at each of 2¹⁶ random numbers; they can be drawn a block at a time.
    """
    if not users:
        return
    if users < FEW_USERS:
        drawn = np.random.default_rng(seed).integers(users, size=(RESAMPLES, users))
        cells = drawn * RESAMPLES + np.arange(RESAMPLES)[:, None]
        counts = np.bincount(cells.ravel(), minlength=users * RESAMPLES).reshape(users, RESAMPLES)
        yield slice(0, users), counts.astype(np.float32)
        return
    law = np.cumsum([math.exp(-1) / math.factorial(count) for count in range(16)])
    table = np.searchsorted(law, (np.arange(2**16) + 0.5) / 2**16).astype(np.float32)
    generator = np.random.PCG64(seed)
    for begin in range(0, users, BLOCK):
        size = min(BLOCK, users - begin)
        random = generator.random_raw(size * RESAMPLES // 4).view(np.uint16)
        yield slice(begin, begin + size), table[random].reshape(size, RESAMPLES)


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
