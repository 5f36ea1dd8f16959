"""Rows of vectors, dense or sparse, and their products.

Shapes: B users, H interactions of all their histories, I items, d the width of the vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, diags_array, vstack

from crossrec_cli.models.ragged import Ints, Ragged

Floats = npt.NDArray[np.float32]
Matrix = Floats | csr_array
"""Rows of vectors, float32, dense or sparse."""

DENSE_CELLS, WORTH = 2**22, 32
"""Numbers of sparse vectors that are made dense at once, 16 MB, and for how many users at least."""


def rows_after(matrix: Matrix, more: Matrix) -> Matrix:
    """The rows of both, of the same kind and width."""
    if isinstance(matrix, np.ndarray) and isinstance(more, np.ndarray):
        return np.concatenate([matrix, more])
    return csr_array(vstack([csr_array(matrix), csr_array(more)]))


def by_user(blocks: Sequence[Matrix], users: int) -> Matrix:
    """The same rows, ordered by user, of blocks with some rows for each user, one user's after the other's."""
    stacked, first, order = blocks[0], 0, []
    for block in blocks[1:]:
        stacked = rows_after(stacked, block)
    for block in blocks:
        order.append(first + np.arange(block.shape[0]).reshape(users, block.shape[0] // max(users, 1)))
        first += block.shape[0]
    return stacked[np.concatenate(order, axis=1).ravel()]


def row_lengths(matrix: Matrix) -> Floats:
    """The Euclidean length of each row."""
    return np.sqrt(row_products(matrix, matrix))


def row_products(one: Matrix, other: Matrix) -> Floats:
    """The inner product of each row with the same row of the other matrix."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        products: Floats = np.einsum("nd,nd->n", one, other)
        return products
    return np.asarray(csr_array(one).multiply(other).sum(axis=1), np.float32).reshape(-1)


def unit_rows(matrix: Matrix) -> Matrix:
    """Each row divided by its length; a row of zeros stays one."""
    return scaled_rows(matrix, inverse(row_lengths(matrix)))


def inverse(lengths: Floats) -> Floats:
    """What brings vectors of these lengths to the length 1."""
    factors: Floats = (1 / np.maximum(lengths, 1e-12)).astype(np.float32)
    return factors


def scaled_rows(matrix: Matrix, factors: Floats) -> Matrix:
    """Each row times its factor."""
    if isinstance(matrix, np.ndarray):
        return matrix * factors[:, None]
    data = matrix.data * np.repeat(factors, np.diff(matrix.indptr))
    return csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def scaled_columns(matrix: Matrix, factors: Floats) -> Matrix:
    """Each column times its factor."""
    if isinstance(matrix, np.ndarray):
        return matrix * factors
    return csr_array(matrix @ diags_array(factors))


def products(users: Matrix, items: Matrix) -> Floats:
    """The inner product of each user with each item, float32 (B, n)."""
    scores = users @ items.T
    return scores if isinstance(scores, np.ndarray) else scores.toarray()


def history_products(vectors: Matrix, histories: Ragged, others: Matrix) -> Floats:
    """The inner product of each interaction's item with each of its user's other vectors, (H, k).

    Args:
        vectors: of all items, (I, d).
        histories: of B users.
        others: k vectors for each user, one user's after the other's, (B · k, d).
    """
    users = len(histories.lengths)
    k = others.shape[0] // max(users, 1)
    inner = np.empty((len(histories.values), k), np.float32)
    bounds = np.append(histories.starts, len(histories.values))
    if isinstance(vectors, np.ndarray) and isinstance(others, np.ndarray):
        for user, (begin, end) in enumerate(pairwise(bounds)):
            inner[begin:end] = vectors[histories.values[begin:end]] @ others[user * k : (user + 1) * k].T
        return inner
    sparse, more, size = csr_array(vectors), csr_array(others), DENSE_CELLS // max(vectors.shape[1] * k, 1)
    if size < WORTH:  # wide vectors stay sparse, a user at a time
        for user, (begin, end) in enumerate(pairwise(bounds)):
            inner[begin:end] = (sparse[histories.values[begin:end]] @ more[user * k : (user + 1) * k].T).toarray()
        return inner
    for first in range(0, users, size):
        last = min(first + size, users)
        chunk = slice(bounds[first], bounds[last])
        some = more[first * k : last * k]
        inner[chunk] = _with_dense(sparse[histories.values[chunk]], histories.rows[chunk] - first, some, k)
    return inner


def _with_dense(items: csr_array, users: Ints, others: csr_array, k: int) -> Floats:
    """The products of some rows with the k vectors of their users, which are made dense, one user's below another's."""
    width, count = items.shape[1], others.shape[0] // k
    below = np.ascontiguousarray(others.toarray().reshape(count, k, width).swapaxes(1, 2)).reshape(count * width, k)
    columns = items.indices + np.repeat(users * width, np.diff(items.indptr))
    products: Floats = csr_array((items.data, columns, items.indptr), shape=(items.shape[0], len(below))) @ below
    return products
