"""linear: what is bought together, by EASE, from one decomposition for every λ.

EASE (Steck 2019, https://arxiv.org/abs/1905.03375) gives the weight from item h to item i as −P(h, i) / P(i, i) with
P = (XᵀX + λ)⁻¹. With the singular values s and right vectors V of X, P = (1 − V s²/(s² + λ) Vᵀ) / λ, so for h ≠ i the
weight is W(h) · W(i) / (1 − W(i) · W(i)), W = V s/√(s² + λ): a vector and a factor for each item. Small singular values
count little compared with λ, so only the largest are kept; these can be computed at any size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from crossrec_cli.models.base import HistoryFeature, NewItems, Scorer, TrainingData, trained_purchases
from crossrec_cli.models.ragged import Bools
from crossrec_cli.models.vectors import Floats, row_products, scaled_columns
from crossrec_cli.models.whitening import TOGETHER

NAME = "linear"
SOURCE_WEIGHT = 0.3
"""Weight of a source purchase; a target purchase has 1. Otherwise long source histories dominate the target's."""
RANK = 256
"""Singular values that are kept."""
L2 = (30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0)
"""λ to choose from."""
TEXT_WEIGHT = 5.0
"""Weight of a text; a purchase has 1. Items' texts are added below X as further users, one a direction (CEASE,
Jeunen et al. 2020, https://doi.org/10.1145/3383313.3418480)."""
OVERSAMPLED, ITERATIONS = 10, 4
"""Parameters of the randomised decomposition (Halko et al. 2011, https://doi.org/10.1137/090771806)."""
LARGEST_SHARE = 0.99
"""Upper limit of W · W: above it the factor would grow without bound."""


@dataclass(frozen=True)
class Decomposition:
    """The singular values of purchases and texts, the largest first; makes the scorer of each λ to choose from."""

    values: Floats
    """(r,)."""
    vectors: Floats
    """Right singular vectors, (I, r)."""
    of_text: Floats
    """Left singular vectors times values, of what an item's text adds; (width, r)."""
    is_target: Bools

    def __len__(self) -> int:
        return len(L2)

    def __getitem__(self, variant: int) -> Scorer:
        return self.scorer(L2[variant])

    def scorer(self, l2: float) -> Scorer:
        """EASE with this λ."""
        shrunk = self.values / np.sqrt(self.values**2 + np.float32(l2))
        text = self.of_text * (shrunk / np.maximum(self.values, 1e-6) ** 2)
        vectors = _divided(self.vectors * shrunk)
        return Scorer(NAME, vectors, features(vectors, self.is_target), {"text": text})


def features(vectors: Floats, is_target: Bools) -> tuple[HistoryFeature, ...]:
    """EASE's one feature: in a history an item counts as W, and its vector is W / (1 − W · W)."""
    factors = 2 / (1 + np.sqrt(1 + 4 * row_products(vectors, vectors)))  # 1 − W · W, from the vector's length
    return (HistoryFeature(NAME, vectors, is_target, factors.astype(np.float32), source_weight=SOURCE_WEIGHT),)


def new_vectors(scorer: Scorer, new: NewItems) -> Floats:
    """Vectors of new items, from their texts only."""
    shrunk = source_counts(new.is_target)[:, None] * new.texts @ scorer.state["text"]
    return _divided(shrunk.astype(np.float32))


def source_counts(is_target: Bools, source_weight: float = SOURCE_WEIGHT) -> Floats:
    """How much each item's purchases count: 1 in the target, else ``source_weight``; float32 (items,)."""
    return np.where(is_target, np.float32(1), np.float32(source_weight))


def _divided(shrunk: Floats) -> Floats:
    """W / (1 − W · W), (I, r)."""
    squared_lengths = row_products(shrunk, shrunk)
    limit = np.sqrt(np.minimum(LARGEST_SHARE / np.maximum(squared_lengths, 1e-12), 1))
    vectors: Floats = shrunk * (limit / (1 - np.minimum(squared_lengths, LARGEST_SHARE)))[:, None]
    return vectors


def decompose(data: TrainingData, seed: int) -> Decomposition:
    """The largest singular values of one matrix of training purchases, each item once a user, and texts."""
    counts = source_counts(data.is_target)
    bought = csr_array(scaled_columns(trained_purchases(data), counts))
    text_rows = data.texts * (counts * np.float32(TEXT_WEIGHT**0.5))[:, None]
    rank = min(RANK, len(counts), bought.shape[0] + text_rows.shape[1])
    basis = np.random.default_rng(seed).standard_normal((len(counts), rank + OVERSAMPLED), dtype=np.float32)
    for _ in range(ITERATIONS):
        product, by_text = bought.T @ (bought @ basis), text_rows.T @ basis
        for rows in _slices(len(counts)):
            product[rows] += text_rows[rows] @ by_text
        basis = _orthonormal(product)
    left = np.concatenate([bought @ basis, text_rows.T @ basis])
    squares, rotation = np.linalg.eigh((left.T @ left).astype(np.float64))
    largest = np.argsort(-squares)[:rank]
    values = np.sqrt(np.maximum(squares[largest], 0)).astype(np.float32)
    chosen = rotation[:, largest].astype(np.float32)
    of_text = left[bought.shape[0] :] @ chosen * np.float32(TEXT_WEIGHT**0.5)
    return Decomposition(values, basis @ chosen, of_text, data.is_target)


def _orthonormal(basis: Floats) -> Floats:
    """Orthonormal columns that span the same space, in place, in a third of the time of a QR decomposition."""
    squares, rotation = np.linalg.eigh((basis.T @ basis).astype(np.float64))
    kept = squares > 1e-7 * squares[-1]
    scaled = (rotation[:, kept] / np.sqrt(squares[kept])).astype(np.float32)
    for rows in _slices(len(basis)):
        basis[rows, : scaled.shape[1]] = basis[rows] @ scaled
    return basis[:, : scaled.shape[1]]


def _slices(items: int) -> Iterator[slice]:
    """Some items at a time, so that a product does not need another matrix of all of them."""
    return (slice(begin, begin + TOGETHER) for begin in range(0, items, TOGETHER))
