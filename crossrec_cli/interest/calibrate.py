"""Logits to probabilities: Platt scaling (Platt 1999), fitted on validation alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, log_expit

Floats = npt.NDArray[np.float64]
FLAT = 1e-4
"""Logits that differ by less say nothing that a scale could be fitted to; then only the base rate is."""


def fit_platt(logits: Floats, bought: Floats) -> tuple[float, float]:
    """Scale and shift for which σ(scale · logit + shift) is the most likely probability of ``bought``.

    Args:
        logits: float64 (n,).
        bought: 1.0 or 0.0, float64 (n,); n is at least 1.

    Returns:
        Scale, at least a small positive number so that no ranking changes, and shift.
    """
    base_rate = (bought.sum() + 0.5) / (len(bought) + 1)  # never 0 or 1
    log_odds = float(np.log(base_rate / (1 - base_rate)))
    center, spread = logits.mean(), logits.std()
    if spread < FLAT:
        return 1.0, log_odds - float(center)
    standard = (logits - center) / spread

    def cost(parameters: Floats) -> tuple[float, Floats]:
        line = parameters[0] * standard + parameters[1]
        miss = expit(line) - bought
        loss = -(bought * log_expit(line) + (1 - bought) * log_expit(-line)).mean()
        return loss, np.array([(miss * standard).mean(), miss.mean()])

    start = np.array([1.0, log_odds])
    found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=[(1e-3, None), (None, None)])
    scale = float(found.x[0] / spread)
    return scale, float(found.x[1] - scale * center)
