"""Weighted sums of the vectors of a history's items, brought to the length 1, and the part of each interaction in them.

All sums of one scorer are made together, and share the products of a history's items with the listed ones.

Shapes: B users, H interactions of all their histories, F sums for each user, k items listed for each, d the width of
the vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from crossrec_cli.models.history_products import history_products
from crossrec_cli.models.ragged import Bools, Ragged
from crossrec_cli.models.vectors import (
    Floats,
    Matrix,
    inverse,
    listed_products,
    row_lengths,
    row_products,
    scaled_rows,
)

CANCELS = 1e-3
"""A difference of squared lengths below this share of them has too few digits in float32: computed from the vectors."""


class Parts(NamedTuple):
    """How each interaction changes the scores of some items."""

    added: Floats
    """What it adds, (H, k). What comes from no interaction (tags, sales) is not included."""
    falls: Floats
    """By how much the score falls without it, (H, k)."""

    @classmethod
    def none(cls, interactions: int, listed: int) -> Parts:
        """Zeros, for so many interactions and listed items."""
        zeros = np.zeros((interactions, listed), np.float32)
        return cls(zeros, zeros)


@dataclass(frozen=True)
class HistorySums:
    """Several weighted sums over the same histories."""

    vectors: Matrix
    """Of all items, (I, d)."""
    histories: Ragged
    weights: Floats
    """Of each interaction in each sum, (F, H); 0 for those that are not in it."""
    prefix: Floats | None = None
    """What else is in a user's sums, (B, d)."""

    @cached_property
    def totals(self) -> Matrix:
        """The sums, one after the other, (F · B, d)."""
        totals = weighted_sums(self.vectors, self.histories, self.weights)
        return totals if self.prefix is None else totals + np.tile(self.prefix, (len(self.weights), 1))

    @cached_property
    def lengths(self) -> Floats:
        """Euclidean, (F, B)."""
        return row_lengths(self.totals).reshape(len(self.weights), -1)

    @property
    def scale(self) -> Floats:
        """What brings each sum to the length 1, (F, B)."""
        return inverse(self.lengths)

    def mixed(self, weights: Floats) -> Matrix:
        """The sums of length 1, each times its weight for the user, (B, F), added up; (B, d)."""
        factors, users = (self.scale * weights.T).ravel(), weights.shape[0]
        if len(self.weights) == 1:
            return scaled_rows(self.totals, factors)
        column = np.tile(np.arange(users), len(self.weights))
        mixing = csr_array((factors, (column, np.arange(len(factors)))), shape=(users, len(factors)))
        mixed: Matrix = mixing @ self.totals
        return mixed

    def mixed_of(self, chosen: Bools, weights: Floats) -> Matrix | None:
        """What some of the interactions, (H,), are of ``mixed``; None: nothing."""
        factors = (self.scale * weights.T)[:, self.histories.rows] * self.weights
        of_chosen = np.where(chosen, factors.sum(axis=0, keepdims=True), np.float32(0))
        return weighted_sums(self.vectors, self.histories, of_chosen) if of_chosen.any() else None

    def parts(self, listed: Matrix) -> list[tuple[Floats, Parts]]:
        """Of each sum of length 1: its products with some vectors, (B, k), and how interactions change them.

        Without an interaction the sum has another length, which changes the whole product. What is in no sum is not
        multiplied.

        Args:
            listed: k vectors for each user, one user's after the other's, (B · k, d).
        """
        users, sums = len(self.histories.lengths), len(self.weights)
        k, counted = listed.shape[0] // max(users, 1), (self.weights != 0).any(axis=0)
        inner = np.zeros((len(counted), k + sums), np.float32)
        totals = [self.totals[number * users : (number + 1) * users] for number in range(sums)]
        inner[counted] = history_products(self.vectors, self.histories.where(counted), [listed, *totals])
        items, index = np.unique(self.histories.values, return_inverse=True)  # not the whole catalogue for one user
        own = row_lengths(self.vectors[items])[index] ** 2
        before = 0 if self.prefix is None else listed_products(self.prefix, listed)
        parts = []
        for number, total in enumerate(totals):
            added = self.weights[number, :, None] * inner[:, :k]
            whole = self.histories.summed(added) + before
            parts.append(self._parts(number, total, listed, _Products(added, whole, inner[:, k + number], own)))
        return parts

    def _parts(self, number: int, total: Matrix, listed: Matrix, products: _Products) -> tuple[Floats, Parts]:
        """``parts`` of one sum."""
        rows, weights, added = self.histories.rows, self.weights[number], products.added
        whole, squared = products.whole, self.lengths[number] ** 2
        length = np.sqrt(np.maximum(squared, 1e-24))[:, None]
        rest = whole[rows] - added
        squared_rest = squared[rows] - 2 * weights * products.along + weights**2 * products.own
        close = np.flatnonzero(squared_rest < CANCELS * squared[rows])
        if len(close):
            left = total[rows[close]] + scaled_rows(self.vectors[self.histories.values[close]], -weights[close])
            k = added.shape[1]
            of_users = listed[(rows[close][:, None] * k + np.arange(k)).ravel()]
            rest[close], squared_rest[close] = listed_products(left, of_users), row_products(left, left)
        length_rest = np.sqrt(np.maximum(squared_rest, 1e-24))[:, None]
        falls = (whole / length)[rows] - np.where(length_rest > 1e-5 * length[rows], rest / length_rest, 0)
        return whole / length, Parts((added / length[rows]).astype(np.float32), falls.astype(np.float32))


class _Products(NamedTuple):
    """Inner products of one sum, before it gets the length 1."""

    added: Floats
    """Of each interaction's part and the listed items, (H, k)."""
    whole: Floats
    """Of the sum and the listed items, (B, k)."""
    along: Floats
    """Of each interaction's item and the sum, (H,)."""
    own: Floats
    """Of each interaction's item and itself, (H,)."""


def weighted_sums(vectors: Matrix, histories: Ragged, weights: Floats) -> Matrix:
    """Each user's items times their weights, added up, for each row of weights, (F, H); (F · B, d)."""
    kept = weights != 0
    lengths = np.concatenate([histories.counts(row) for row in kept])
    values = np.broadcast_to(histories.values, kept.shape)[kept]
    cells = (weights[kept], values, np.append(0, np.cumsum(lengths)))
    sums: Matrix = csr_array(cells, shape=(len(lengths), vectors.shape[0])) @ vectors
    return sums
