"""The vectors of users and items as rows for a database, whose products are the scores of the lists.

Shapes: B users, C candidates, D dense dimensions, V sparse ones (words, attributes, buyers).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_array

from crossrec_cli.artifacts import columns as c
from crossrec_cli.models.ragged import Ints
from crossrec_cli.models.vectors import Floats, Matrix
from crossrec_cli.ranking.recommender import Recommender

ROWS_TOGETHER = 1_024
DENSE, TERMS, WEIGHTS, SHIFT, SEEN = "dense", "terms", "weights", "shift", "seen"
VECTOR = {DENSE: pa.list_(pa.float32()), TERMS: pa.list_(pa.int32()), WEIGHTS: pa.list_(pa.float32())}
ITEM_ROWS = pa.schema({c.ITEM_ID: pa.string()} | VECTOR)
USER_ROWS = pa.schema({c.USER_ID: pa.string(), SHIFT: pa.float32(), SEEN: pa.list_(pa.string())} | VECTOR)
"""``terms`` are numbered from 1, as databases count; ``seen`` are the items that the user is not shown again."""


@dataclass
class VectorTables:
    """Rows of items and users; dense and sparse products, and the user's shift, add up to the log-odds of a list."""

    recommender: Recommender
    users: Ints
    """Indices of the users."""
    cut: int = field(default=0, init=False)
    """Rows that had more weights than a database takes, and kept the largest."""

    @property
    def widths(self) -> tuple[int, int]:
        """D and V; at least 1 each, since a database knows no vector without a dimension."""
        dense, sparse = _blocks(self.recommender.scorer.vectors)
        return dense.shape[1], sparse.shape[1]

    def items(self, most: int | None) -> pa.RecordBatchReader:
        """Rows of ``ITEM_ROWS`` for all items that may be recommended; ``most`` weights in a sparse vector."""

        def parts() -> Iterator[pa.RecordBatch]:
            ids = pc.take(self.recommender.dataset.items[c.ITEM_ID], self.recommender.pool.items)
            dense, sparse = _blocks(self.recommender.scorer.vectors)
            for begin in range(0, len(ids), ROWS_TOGETHER):
                rows = slice(begin, begin + ROWS_TOGETHER)
                columns = {c.ITEM_ID: ids[rows]} | self._vectors(dense[rows], sparse[rows], most)
                yield from pa.table(columns, schema=ITEM_ROWS).to_batches()

        return pa.RecordBatchReader.from_batches(ITEM_ROWS, parts())

    def of_users(self, most: int | None) -> pa.RecordBatchReader:
        """Rows of ``USER_ROWS``; ``most`` weights in a sparse vector."""

        def parts() -> Iterator[pa.RecordBatch]:
            for begin in range(0, len(self.users), ROWS_TOGETHER):
                yield from self._users(self.users[begin : begin + ROWS_TOGETHER], most).to_batches()

        return pa.RecordBatchReader.from_batches(USER_ROWS, parts())

    def _users(self, users: Ints, most: int | None) -> pa.Table:
        recommender, pool = self.recommender, self.recommender.pool
        histories = recommender.dataset.histories
        items, tags = histories.items.take(users), histories.tags.take(users)
        barred = pool.barred.take(users)
        barred = barred.where(pool.number[barred.values] >= 0)
        columns = {
            c.USER_ID: pc.take(recommender.dataset.users[c.USER_ID], users),
            SHIFT: recommender.fused.shift(items),
            SEEN: _lists(barred.lengths, pc.take(recommender.dataset.items[c.ITEM_ID], barred.values).combine_chunks()),
        }
        dense, sparse = _blocks(recommender.scorer.user_blocks(items, tags))
        return pa.table(columns | self._vectors(dense, sparse, most), schema=USER_ROWS)

    def _vectors(self, dense: Floats, sparse: csr_array, most: int | None) -> dict[str, pa.Array]:
        sparse = csr_array(sparse, copy=True)
        sparse.sum_duplicates()
        sparse.eliminate_zeros()
        if most is not None and (long := np.flatnonzero(np.diff(sparse.indptr) > most)).size:
            self.cut += len(long)
            for row in long:
                weights = sparse.data[sparse.indptr[row] : sparse.indptr[row + 1]]
                weights[np.argsort(-np.abs(weights), kind="stable")[most:]] = 0
            sparse.eliminate_zeros()
        lengths = np.diff(sparse.indptr)
        return {
            DENSE: _lists(
                np.full(len(dense), dense.shape[1]), pa.array(np.ascontiguousarray(dense, np.float32).ravel())
            ),
            TERMS: _lists(lengths, pa.array((sparse.indices + 1).astype(np.int32))),
            WEIGHTS: _lists(lengths, pa.array(sparse.data.astype(np.float32))),
        }


def _blocks(matrices: list[Matrix]) -> tuple[Floats, csr_array]:
    """The dense and the sparse block; a missing one is a column of zeros."""
    shape = (matrices[0].shape[0], 1)
    blocks: list[Matrix] = [*matrices, np.zeros(shape, np.float32), csr_array(np.zeros(shape, np.float32))]
    dense = next(block for block in blocks if isinstance(block, np.ndarray))
    return dense, next(block for block in blocks if not isinstance(block, np.ndarray))


def _lists(lengths: npt.NDArray[np.integer], values: pa.Array) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)
