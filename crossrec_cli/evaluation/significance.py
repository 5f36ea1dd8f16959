"""How sure a difference is."""

from __future__ import annotations

import numpy as np

from crossrec_cli.evaluation.metrics import Floats

RESAMPLES = 2000


def interval(differences: Floats, seed: int = 0) -> tuple[float, float]:
    """The 95 % bootstrap interval of a mean over users (Efron 1979), by the percentiles of resampled means.

    Args:
        differences: one value a user, float64 (n,); nan counts for nothing.
        seed: of the resampling.

    Returns:
        Its ends; nan if there is no user.
    """
    known = differences[np.isfinite(differences)]
    if not len(known):
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    # How often each user is drawn, in place of the draws: a matrix product instead of a gather.
    means = [rng.multinomial(len(known), np.full(len(known), 1 / len(known))) @ known for _ in range(RESAMPLES)]
    low, high = np.percentile(np.array(means) / len(known), [2.5, 97.5])
    return float(low), float(high)
