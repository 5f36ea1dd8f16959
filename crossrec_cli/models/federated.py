"""federated: what the buyers of all platforms of a federation teach, through texts alone.

A ridge regression predicts the text vector x of a purchase from that of the user's other purchases, h:
M = (Σ h hᵀ + λ)⁻¹ Σ h xᵀ, over the users of all platforms, who have no items in common but texts. Only M's symmetric
part is used, and of that the directions with positive eigenvalues, L Lᵀ: then an item has one vector, its text times
L, and a score is a sum over the history, as with the other scorers.
"""

from __future__ import annotations

import numpy as np

from crossrec_cli.models.base import NewItems, Scorer, TrainingData, history_features
from crossrec_cli.models.shared_model import SharedModel
from crossrec_cli.models.vectors import Floats

NAME = "federated"
RIDGE = (0.1, 1.0, 10.0, 100.0)
"""λ to choose from, as multiples of the mean diagonal of Σ h hᵀ."""


def federated(data: TrainingData) -> list[Scorer]:
    """A variant for each λ; of a shop that is in a federation."""
    assert data.shared is not None
    return [_scorer(data, text_map(data.shared, ridge)) for ridge in RIDGE]


def _scorer(data: TrainingData, directions: Floats) -> Scorer:
    vectors = data.texts @ directions
    return Scorer(NAME, vectors, history_features(NAME, vectors, data.is_target), {"map": directions})


def new_vectors(scorer: Scorer, new: NewItems) -> Floats:
    """Vectors of new items, from their texts."""
    vectors: Floats = new.texts @ scorer.state["map"]
    return vectors


def text_map(shared: SharedModel, ridge: float) -> Floats:
    """L, from whitened texts to the scorer's vectors, float32 (r, d)."""
    history, width = shared.history.astype(np.float64), len(shared.history)
    spread, axes = np.linalg.eigh((history + history.T) / 2)  # with noise for privacy it is neither symmetric nor
    history = (axes * np.maximum(spread, 0)) @ axes.T  # without negative eigenvalues
    penalty = ridge * max(np.trace(history) / width, 1e-12)
    regression = np.linalg.solve(history + penalty * np.eye(width), shared.next.astype(np.float64))
    values, directions = np.linalg.eigh((regression + regression.T) / 2)
    positive = values > 1e-6 * abs(values).max(initial=1e-12)
    mapped = np.zeros((shared.whitening.matrix.shape[1], int(positive.sum())), np.float32)
    mapped[:width] = directions[:, positive] * np.sqrt(values[positive])
    return mapped
