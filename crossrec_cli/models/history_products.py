"""Products of the items of each user's history with other vectors of that user, dense or sparse.

Shapes: B users, H interactions of all their histories, I items, d the width of the vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from crossrec_cli.models.ragged import Ints, Ragged
from crossrec_cli.models.vectors import Floats, Matrix

CELLS = 2**22
"""Numbers of sparse vectors that are read, or made dense, at once: 16 to 64 MB."""


def history_products(vectors: Matrix, histories: Ragged, others: Sequence[Matrix]) -> Floats:
    """The inner product of each interaction's item with each of its user's other vectors, (H, sum of k).

    Args:
        vectors: of all items, (I, d).
        histories: of B users.
        others: each with k vectors for each user, one user's after the other's, (B · k, d).
    """
    users = len(histories.lengths)
    if not len(histories.values):
        return np.empty((0, sum(block.shape[0] // max(users, 1) for block in others)), np.float32)
    if not isinstance(vectors, np.ndarray):
        blocks = [_Block.of(csr_array(block), users) for block in others]
        return _sparse(csr_array(vectors), histories, blocks)
    of_users = np.concatenate([np.asarray(some).reshape(users, -1, vectors.shape[1]) for some in others], axis=1)
    bounds = enumerate(pairwise(np.append(histories.starts, len(histories.values))))
    products = [vectors[histories.values[begin:end]] @ of_users[user].T for user, (begin, end) in bounds]
    return np.concatenate(products)


class _Block(NamedTuple):
    """The cells of sparse vectors, k for each user."""

    k: int
    users: Ints
    vectors: Ints
    """From 0 to k − 1."""
    columns: Ints
    data: Floats

    @classmethod
    def of(cls, matrix: csr_array, users: int) -> _Block:
        """From k rows for each user, one user's after the other's."""
        k, rows = matrix.shape[0] // users, np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        return cls(k, rows // k, rows % k, matrix.indices.astype(np.int64), matrix.data)

    def take(self, first: int, last: int) -> _Block:
        """The cells of some users, numbered from 0."""
        some = slice(*np.searchsorted(self.users, (first, last)))
        return _Block(self.k, self.users[some] - first, self.vectors[some], self.columns[some], self.data[some])


def _sparse(vectors: csr_array, histories: Ragged, blocks: Sequence[_Block]) -> Floats:
    """The products of interactions' items with the blocks' vectors of their users, some users at a time."""
    bounds, columns = np.append(histories.starts, len(histories.values)), sum(block.k for block in blocks)
    filled = np.append(0, np.cumsum(np.diff(vectors.indptr)[histories.values], dtype=np.int64))
    of_user = np.diff(filled[bounds])
    cells = np.maximum(of_user, columns * np.minimum(of_user, vectors.shape[1]))  # read, and at most made dense
    begins = np.unique(np.cumsum(cells) // CELLS, return_index=True)[1].tolist()
    inner = np.empty((len(histories.values), columns), np.float32)
    for first, last in pairwise([*begins, len(histories.lengths)]):
        begin, end = bounds[first], bounds[last]
        users, some = histories.rows[begin:end] - first, [block.take(first, last) for block in blocks]
        inner[begin:end] = _with_dense(vectors[histories.values[begin:end]], users, some, last - first)
    return inner


def _with_dense(items: csr_array, users: Ints, blocks: Sequence[_Block], count: int) -> Floats:
    """``_sparse`` of so many users, whose vectors are made dense, one user's below another's.

    Of wide vectors only the columns that a user's items have are made dense.
    """
    width = items.shape[1]
    cells: Ints = items.indices.astype(np.int64) + np.repeat(users * width, np.diff(items.indptr))
    height, known = count * width, None
    if len(cells) < height:
        known, cells = np.unique(cells, return_inverse=True)
        height = len(known)
    below, first = np.zeros((height, sum(block.k for block in blocks)), np.float32), 0
    for block in blocks:
        rows, columns, data = block.users * width + block.columns, first + block.vectors, block.data
        if known is not None:
            position = np.searchsorted(known, rows)
            shared = np.flatnonzero(known.take(position, mode="clip") == rows) if height else position[:0]
            rows, columns, data = position[shared], columns[shared], data[shared]
        below[rows, columns] = data
        first += block.k
    products: Floats = csr_array((items.data, cells, items.indptr), shape=(len(users), height)) @ below
    return products
