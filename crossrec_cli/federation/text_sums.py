"""What a platform counts of its texts and purchases: sums over items and over users, without any names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from crossrec_cli.models.base import TrainingData
from crossrec_cli.models.linear import source_counts
from crossrec_cli.models.ragged import Ints, Ragged
from crossrec_cli.models.vectors import Floats
from crossrec_cli.models.whitening import TOGETHER, Doubles, Whitening

SHORTEST = 1e-4
"""A shorter sum of text vectors is only rounding."""
SENSITIVITY = 6**0.5
"""How far one user's other purchases can move the two sums over users together, in Frobenius norm. A user adds means of
products of vectors of length 1: two positive semidefinite matrices of norm 1 differ by √2 at most, two others by 2."""


def text_moments(embeddings: Floats, has_text: np.ndarray) -> tuple[Doubles, Doubles, int]:
    """Mean (width,) and mean product (width, width) of the embeddings of the items with a text, and their number."""
    some = embeddings[has_text]
    size, width = some.shape
    second = np.zeros((width, width))
    for begin in range(0, size, TOGETHER):
        part = some[begin : begin + TOGETHER].astype(np.float64)
        second += part.T @ part / size
    return some.mean(axis=0, dtype=np.float64), second, size


def whitening_of(mean: Doubles, second: Doubles, items: int) -> Whitening:
    """The whitening of texts of which only moments are known."""
    return Whitening.of_moments(mean, second - np.outer(mean, mean), items)


def co_purchases(data: TrainingData, directions: int) -> tuple[Floats, Floats, int]:
    """Means over users of h hᵀ and h xᵀ, (d, d) each, and the number of users; see ``Pairs``.

    Each user counts 1, spread over the user's purchases.
    """
    d = min(directions, data.texts.shape[1])
    history, following = np.zeros((d, d)), np.zeros((d, d))
    for pairs in Pairs.of(data, directions):
        history += (pairs.history * pairs.share[:, None]).T @ pairs.history
        following += (pairs.history * pairs.share[:, None]).T @ pairs.next
    users = int((_with_text(data).lengths > 1).sum())
    scale = 1 / max(users, 1)
    return (history * scale).astype(np.float32), (following * scale).astype(np.float32), users


class Pairs(NamedTuple):
    """Some purchases and what their users bought besides."""

    user: Ints
    """(n,)."""
    history: Floats
    """h, of the user's other purchases, in which a source purchase counts less, with length 1; (n, d)."""
    next: Floats
    """x, the text vector of the purchase, (n, d)."""
    share: Floats
    """Of the user's purchases, (n,); 0 where nothing is known of the others."""

    @classmethod
    def of(cls, data: TrainingData, directions: int) -> Iterator[Pairs]:
        """All training purchases with a text, some at a time."""
        texts, histories = data.texts[:, :directions], _with_text(data)
        counts = source_counts(data.is_target)[histories.values]
        weights = csr_array((counts, (histories.rows, histories.values)), (len(histories.lengths), len(texts)))
        totals = weights @ texts
        for chunk in np.array_split(np.arange(len(histories.values)), -(-len(histories.values) // TOGETHER) or 1):
            items, users = histories.values[chunk], histories.rows[chunk]
            others = totals[users] - counts[chunk, None] * texts[items]
            length = np.linalg.norm(others, axis=1)
            share = (length > SHORTEST) / histories.lengths[users]
            others /= np.maximum(length, SHORTEST)[:, None]
            yield cls(users, others, texts[items], share.astype(np.float32))


def _with_text(data: TrainingData) -> Ragged:
    histories = data.histories.training
    return histories.where(histories.liked & (data.texts[histories.values] != 0).any(axis=1))


def noisy(means: tuple[Floats, Floats], users: int, deviation: float, rng: np.random.Generator) -> list[Floats]:
    """Means over users with Gaussian noise.

    Args:
        means: of ``co_purchases``.
        users: their number, which is no secret.
        deviation: of the noise in each cell of the sums, for a sensitivity of 1.
        rng: must not be predictable.
    """
    scale = deviation * SENSITIVITY / max(users, 1)
    return [(mean + rng.normal(0, scale, mean.shape)).astype(np.float32) for mean in means]
