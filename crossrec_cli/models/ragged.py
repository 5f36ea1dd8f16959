"""Lists of different lengths as flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Weights = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Ragged:
    """Lists of different lengths, one after the other.

    ``values`` int64 (sum of lengths,), ``lengths`` int64 (lists,), ``weights`` float32 (sum of lengths,).
    """

    values: Ints
    lengths: Ints
    weights: Weights | None = None
    """How much each value counts, not 0; below 0: a dislike. None: 1 each."""

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]]) -> Ragged:
        """From plain lists."""
        flat = np.fromiter(chain.from_iterable(lists), dtype=np.int64)
        return cls(flat, np.array([len(values) for values in lists], dtype=np.int64))

    @cached_property
    def starts(self) -> Ints:
        """Where each list begins in ``values``."""
        return np.cumsum(self.lengths) - self.lengths

    @cached_property
    def rows(self) -> Ints:
        """For each value, the list that it is in."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @property
    def weights_or_ones(self) -> Weights:
        """How much each value counts, float32 (sum of lengths,)."""
        return np.ones(len(self.values), np.float32) if self.weights is None else self.weights

    @property
    def liked(self) -> Bools:
        """Which values are no dislikes, (sum of lengths,)."""
        return np.ones(len(self.values), np.bool_) if self.weights is None else self.weights > 0

    def take(self, lists: Ints, first: Ints | None = None) -> Ragged:
        """Some of the lists, each cut to its ``first`` values where that is given."""
        lengths = self.lengths[lists] if first is None else np.minimum(first, self.lengths[lists])
        return self.slice(lists, np.zeros_like(lengths), lengths)

    def slice(self, lists: Ints, begins: Ints, ends: Ints) -> Ragged:
        """Values ``begins`` (included) to ``ends`` (not included) of some of the lists."""
        lengths = ends - begins
        skip = self.starts[lists] + begins - (np.cumsum(lengths) - lengths)
        return self._pick(np.arange(lengths.sum()) + np.repeat(skip, lengths), lengths)

    def where(self, keep: Bools) -> Ragged:
        """The values for which ``keep`` holds, in the same lists."""
        return self._pick(keep, self.counts(keep))

    def counts(self, keep: Bools) -> Ints:
        """For how many values of each list ``keep`` holds, int64 (lists,)."""
        return np.bincount(self.rows[keep], minlength=len(self.lengths))

    def summed(self, of_values: Weights) -> Weights:
        """The sum over each list's values of a row for each of them, (sum of lengths, n); (lists, n)."""
        sums = np.zeros((len(self.lengths), of_values.shape[1]), of_values.dtype)
        filled = np.flatnonzero(self.lengths)
        if len(filled):
            sums[filled] = np.add.reduceat(of_values, self.starts[filled], axis=0)
        return sums

    def renamed(self, number: Ints) -> Ragged:
        """The same lists, with each value ``v`` replaced by ``number[v]``."""
        return Ragged(number[self.values], self.lengths, self.weights)

    def _pick(self, selection: Ints | Bools, lengths: Ints) -> Ragged:
        """Some of the values with their weights, in new lists."""
        return Ragged(self.values[selection], lengths, None if self.weights is None else self.weights[selection])

    def padded(self) -> tuple[Ints, Bools]:
        """A matrix (lists, longest) filled up with 0 on the right, and where it holds values."""
        width = int(self.lengths.max(initial=0))
        filled = np.arange(width) < self.lengths[:, None]
        matrix = np.zeros(filled.shape, dtype=np.int64)
        matrix[filled] = self.values
        return matrix, filled


def numbered(chosen: Ints, size: int) -> Ints:
    """For each of 0 … size − 1, its position in ``chosen``, −1 where it is not in it."""
    number = np.full(size, -1)
    number[chosen] = np.arange(len(chosen))
    return number
