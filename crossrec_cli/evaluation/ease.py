"""EASE exactly (Steck 2019, https://arxiv.org/abs/1905.03375); ``models.linear`` approximates it at any size.

EASE's weight from item h to item i is −P(h, i) / P(i, i) with P = (XᵀX + λ)⁻¹, and 0 from an item to itself. With fewer
users than items, by Woodbury's identity, P = (1 − Xᵀ(XXᵀ + λ)⁻¹X) / λ: the weights are Xᵀ times a matrix with a row for
each user, and are never written out.

Shapes: n users or items, whichever are fewer; o outputs, which are the items that get a score; B histories.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.linalg
from scipy.sparse import csr_array

from crossrec_cli.models.ragged import Ints
from crossrec_cli.models.vectors import Floats

CELLS = 2**24
"""Products of histories and users that are held at once, 64 MB."""
Doubles = npt.NDArray[np.float64]


def ease_cells(users: int, items: int, outputs: int) -> int:
    """Numbers in the largest dense matrix that ``Ease`` needs."""
    return min(users, items) * max(min(users, items), outputs)


def ease_work(users: int, items: int, outputs: int) -> int:
    """Multiplications for the solution of one λ: Cholesky's factors, and two triangular solves for each output."""
    size = min(users, items)
    return size**2 * (size // 6 + outputs)


class EaseWeights(NamedTuple):
    """The solution for one λ."""

    weights: Floats
    """(n, o); from users to outputs, or from items."""
    own: Floats
    """What ``weights`` would add to an output's score for the output itself, (o,)."""


@dataclass(frozen=True)
class Ease:
    """EASE of one matrix for any λ: XXᵀ, or XᵀX, is computed once."""

    bought: csr_array
    """X, (users, items)."""
    outputs: Ints
    """Item indices, int64 (o,)."""
    products: Floats
    """XXᵀ or XᵀX, (n, n)."""

    @classmethod
    def of(cls, bought: csr_array, outputs: Ints) -> Ease:
        """EASE of purchases (users, items), for scores of some items."""
        by_user = bought.shape[0] < bought.shape[1]
        products = bought @ bought.T if by_user else bought.T @ bought
        return cls(bought, outputs, products.toarray())

    @property
    def by_user(self) -> bool:
        """Whether n is the number of users."""
        return self.bought.shape[0] < self.bought.shape[1]

    def solved(self, l2: float) -> EaseWeights:
        """The weights for one λ."""
        inner = self.products.astype(np.float64)
        inner[np.diag_indices(len(inner))] += l2
        factor = scipy.linalg.cho_factor(
            inner.T, overwrite_a=True, check_finite=False
        )  # as LAPACK has it, without a copy
        return self._of_users(factor) if self.by_user else self._of_items(factor)

    def _of_users(self, factor: tuple[Doubles, bool]) -> EaseWeights:
        buyers = self.bought[:, self.outputs].toarray(order="F").astype(np.float64)
        solved = scipy.linalg.cho_solve(factor, buyers, check_finite=False)
        explained = np.einsum("uo,uo->o", buyers, solved)
        solved /= 1 - explained
        return EaseWeights(solved.astype(np.float32), (explained / (1 - explained)).astype(np.float32))

    def _of_items(self, factor: tuple[Doubles, bool]) -> EaseWeights:
        each = np.arange(len(self.outputs))
        unit = np.zeros((len(self.products), len(each)), order="F")
        unit[self.outputs, each] = 1.0
        inverse = scipy.linalg.cho_solve(factor, unit, overwrite_b=True, check_finite=False)
        inverse /= -inverse[self.outputs, each]
        inverse[self.outputs, each] = 0.0
        return EaseWeights(inverse.astype(np.float32), np.zeros(len(each), np.float32))

    def scores(self, given: csr_array, solution: EaseWeights) -> Floats:
        """The scores of the outputs, float32 (B, o), for histories (B, items) that are weighted as X is."""
        scores = np.empty((given.shape[0], len(self.outputs)), np.float32)
        size = max(CELLS // max(len(self.products), 1), 1)
        for rows in (slice(begin, begin + size) for begin in range(0, len(scores), size)):
            asked = (given[rows] @ self.bought.T).toarray() if self.by_user else given[rows]
            scores[rows] = asked @ solution.weights
        themselves = given[:, self.outputs].tocoo()
        scores[themselves.row, themselves.col] -= themselves.data * solution.own[themselves.col]
        return scores
