"""Rows of vectors, dense or sparse, and their products.

Shapes: B users, d the width of the vectors.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, diags_array, vstack

Floats = npt.NDArray[np.float32]
Matrix = Floats | csr_array
"""Rows of vectors, float32, dense or sparse."""


def rows_after(matrix: Matrix, more: Matrix) -> Matrix:
    """The rows of both, of the same kind and width."""
    if isinstance(matrix, np.ndarray) and isinstance(more, np.ndarray):
        return np.concatenate([matrix, more])
    return csr_array(vstack([csr_array(matrix), csr_array(more)]))


def row_lengths(matrix: Matrix) -> Floats:
    """The Euclidean length of each row."""
    if isinstance(matrix, np.ndarray):
        return np.sqrt(row_products(matrix, matrix))
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return np.sqrt(np.bincount(rows, matrix.data**2, matrix.shape[0])).astype(np.float32)


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
    return multiplied(users, columns(items))


def columns(items: Matrix) -> Matrix:
    """The transpose, of the kind that SciPy multiplies with: made once, it is not made anew in each product."""
    return items.T if isinstance(items, np.ndarray) else csr_array(items.T)


def multiplied(users: Matrix, columns: Matrix) -> Floats:
    """The inner product of each user with each of the items that ``columns`` was called with, float32 (B, n)."""
    scores = users @ columns
    return scores if isinstance(scores, np.ndarray) else scores.toarray()


def listed_products(users: Matrix, listed: Matrix) -> Floats:
    """The inner product of each user, (B, d), with each of k vectors for each, one user's after the other's; (B, k)."""
    k = listed.shape[0] // max(users.shape[0], 1)
    if isinstance(users, np.ndarray) and isinstance(listed, np.ndarray):
        inner: Floats = np.matmul(listed.reshape(len(users), k, -1), users[:, :, None])[:, :, 0]
        return inner
    return row_products(users[np.repeat(np.arange(users.shape[0]), k)], listed).reshape(-1, k)
