"""linear: what is bought together, as EASE has it, from one decomposition for every λ.

EASE (Steck 2019, https://arxiv.org/abs/1905.03375) gives the weight from item h to item i as −P(h, i) / P(i, i) with
P = (XᵀX + λ)⁻¹. With the singular values s and right vectors V of X, P = (1 − V s²/(s² + λ) Vᵀ) / λ, so for h ≠ i the
weight is W(h) · W(i) / (1 − W(i) · W(i)), W = V s/√(s² + λ): a vector and a factor for each item. Small singular values
count little beside λ, so the largest alone are kept, which can be found at any size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from crossrec_cli.interest.batches import Bools
from crossrec_cli.interest.linear import LIGHT, source_counts
from crossrec_cli.models.base import Floats, HistoryFeature, Scorer, TrainingData, scaled_columns, trained_purchases

NAME = "linear"
RANK = 256
"""Singular values that are kept."""
L2 = (30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0)
"""λ to choose from."""
TEXT_WEIGHT = 5.0
"""How much a text counts beside a purchase. An item's text stands below X as further users, one a direction (CEASE,
Jeunen et al. 2020, https://doi.org/10.1145/3383313.3418480)."""
OVERSAMPLED, ITERATIONS = 10, 4
"""Of the randomised decomposition (Halko et al. 2011, https://doi.org/10.1137/090771806)."""
LARGEST_SHARE = 0.99
"""Of an item's own singular weight: beyond, the factor would grow without bound."""


@dataclass(frozen=True)
class Decomposition:
    """The singular values of purchases and texts, the largest first."""

    values: Floats
    """(r,)."""
    vectors: Floats
    """Right singular vectors, (I, r)."""
    is_target: Bools

    def scorer(self, l2: float) -> Scorer:
        """EASE with this λ."""
        shrunk = self.vectors * (self.values / np.sqrt(self.values**2 + np.float32(l2)))
        rest = 1 - np.minimum((shrunk**2).sum(axis=1), LARGEST_SHARE)
        vectors = shrunk / rest[:, None]
        feature = HistoryFeature(NAME, vectors, self.is_target, rest, source_weight=LIGHT)
        return Scorer(NAME, vectors, (feature,))


def decompose(data: TrainingData, texts: Floats, seed: int) -> Decomposition:
    """Purchases and texts as one matrix, and its largest singular values.

    Args:
        data: its training purchases, each item once a user.
        texts: what the items' texts say, rows of length 1 or 0, float32 (I, width).
        seed: of the randomised decomposition.
    """
    counts = source_counts(data.is_target, LIGHT)
    bought = csr_array(scaled_columns(trained_purchases(data), counts))
    below = texts * (counts * np.float32(TEXT_WEIGHT**0.5))[:, None]
    rank = min(RANK, len(counts), bought.shape[0] + below.shape[1])
    basis = np.random.default_rng(seed).standard_normal((len(counts), rank + OVERSAMPLED), dtype=np.float32)
    for _ in range(ITERATIONS):
        basis, _ = np.linalg.qr(bought.T @ (bought @ basis) + below @ (below.T @ basis))
    left = np.concatenate([bought @ basis, below.T @ basis])
    squares, turned = np.linalg.eigh((left.T @ left).astype(np.float64))
    largest = np.argsort(-squares)[:rank]
    values = np.sqrt(np.maximum(squares[largest], 0)).astype(np.float32)
    return Decomposition(values, basis @ turned[:, largest].astype(np.float32), data.is_target)
