"""Whitening of a language model's embeddings: without what all of them have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crossrec_cli.artifacts import columns as c

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
WIDTH = 256
"""Directions kept of an embedding: the rest of all-MiniLM-L6-v2's 384 carry under 2 % of its variance."""
SHRINKAGE = 0.1
"""Share of the mean variance that each direction's variance gains before it is divided by; a small catalogue adds
width/items to it, since that is how unsure its small variances are. Validation NDCG@10 on the Complete Journey, mean of
three seeds: .0799 with 0.1, .0779 with 1, .0743 with 5."""
TOGETHER = 65_536
"""Items that are multiplied or summed at once."""


@dataclass(frozen=True)
class Whitening:
    """x → (x − mean) · matrix, to uncorrelated directions of more equal variance.

    A language model's embeddings crowd into a narrow cone; whitening spreads them
    (Su et al. 2021, https://arxiv.org/abs/2103.15316). Full whitening of a catalogue hardly larger than the embedding
    makes all items equally far from each other and texts worthless, so the variances are first moved towards their
    mean (Ledoit & Wolf 2004, https://doi.org/10.1016/S0047-259X(03)00096-4). The mean square of a vector's norm is 1.
    """

    mean: Floats
    """(width,)."""
    matrix: Floats
    """(width, r), with r at most 256 and at most the rank."""

    @classmethod
    def of(cls, embeddings: Floats) -> Whitening:
        """Fit to the embeddings of a catalogue, (I, width)."""
        size, width = embeddings.shape
        mean = embeddings.mean(axis=0, dtype=np.float64)
        covariance = np.zeros((width, width))
        for begin in range(0, size, TOGETHER):
            part = embeddings[begin : begin + TOGETHER] - mean
            covariance += part.T @ part / size
        return cls.of_moments(mean, covariance, size)

    @classmethod
    def of_moments(cls, mean: Doubles, covariance: Doubles, size: int) -> Whitening:
        """Fit to the mean (width,) and the covariance (width, width) of the embeddings of ``size`` items."""
        width = len(mean)
        variance, directions = (part[..., ::-1] for part in np.linalg.eigh(covariance))  # the largest first
        floor = (SHRINKAGE + width / size) * max(variance.mean(), 0.0) + 1e-12
        kept = min(WIDTH, max(int((variance > 1e-8 * variance[0]).sum()), 1))
        matrix = directions[:, :kept] / np.sqrt(np.maximum(variance[:kept], 0.0) + floor)
        norm = math.sqrt((variance[:kept] / (variance[:kept] + floor)).sum())
        matrix /= max(norm, 1e-6)
        return cls(mean.astype(np.float32), matrix.astype(np.float32))

    def __call__(self, embeddings: Floats) -> Floats:
        """Whitened, (n, r), from (n, width)."""
        white = np.empty((len(embeddings), self.matrix.shape[1]), np.float32)
        for begin in range(0, len(embeddings), TOGETHER):
            white[begin : begin + TOGETHER] = (embeddings[begin : begin + TOGETHER] - self.mean) @ self.matrix
        return white

    @cached_property
    def _inverse(self) -> Floats:
        """(r, width)."""
        return np.linalg.pinv(self.matrix).astype(np.float32)

    def spread_back(self, white: Floats) -> Floats:
        """Embeddings less their mean, (n, width), from whitened ones, (n, r); of the kept directions."""
        back: Floats = white @ self._inverse
        return back

    def directions(self, embeddings: Floats, items: pa.Table) -> Floats:
        """Whitened, with rows of length 1; zeros for items, rows of ``schemas.ITEMS``, that have no text."""
        white = self(embeddings)
        length = np.maximum(np.linalg.norm(white, axis=1), 1e-12)
        white *= (items[c.TEXT].is_valid().to_numpy() / length).astype(np.float32)[:, None]
        return white
