"""Another system's lists, evaluated by the same rules."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.errors import InputError
from crossrec_cli.models.histories import Cases, Histories
from crossrec_cli.models.ragged import Ints, numbered
from crossrec_cli.ranking.topk import Ranks

LISTS = pa.schema(
    [
        pa.field(c.USER_ID, pa.string(), nullable=False),
        pa.field(c.ITEM_ID, pa.string(), nullable=False),
        pa.field(c.RANK, pa.int64(), nullable=False),  # 1 is best
    ]
)


def check_lists(lists: pa.Table, where: str) -> None:
    """Check that ranks begin at 1, and that a user's ranks are all different.

    Raises:
        InputError: if a rank is below 1, or a user has it twice.
    """
    rank = lists[c.RANK].to_numpy()
    if (rank < 1).any():
        row = int((rank < 1).argmax())
        raise InputError(f"{where}, row {row + 1}: rank is {rank[row]}; it must be at least 1")
    user = lists[c.USER_ID].combine_chunks().dictionary_encode().indices.to_numpy()
    order = np.lexsort((rank, user))
    repeated = (np.diff(user[order]) == 0) & (np.diff(rank[order]) == 0)
    if repeated.any():
        row = int(order[1:][repeated].min())
        raise InputError(f"{where}, row {row + 1}: user {lists[c.USER_ID][row]} has rank {rank[row]} twice")


def external_ranks(
    lists: pa.Table,
    users: pa.Table,
    items: pa.Table,
    histories: Histories,
    cases: Cases,
    candidates: Ints,
    mask_seen: bool,
    k: int,
) -> Ranks:
    """As ``ranked``, from another system's lists. Items that are not in the list have an infinite rank.

    Items that are not candidates are removed from the lists, and so are seen items where these are masked; the other
    items move up.

    Args:
        lists: as ``LISTS``.
        users: preprocess's table.
        items: preprocess's table.
        histories: of all users.
        cases: the test cases.
        candidates: item indices, sorted, int64 (C,).
        mask_seen: whether items in the history are excluded.
        k: the length of the lists that are returned.
    """
    case_of, column_of = numbered(cases.users, users.num_rows), numbered(candidates, items.num_rows)
    case, column = (
        np.where(index < 0, -1, number[index])
        for index, number in (
            (parquet.row_indices(lists[c.USER_ID], users[c.USER_ID]), case_of),
            (parquet.row_indices(lists[c.ITEM_ID], items[c.ITEM_ID]), column_of),
        )
    )
    history_parts = histories.items.take(cases.users, cases.history_lengths)
    seen = _cells(history_parts.rows, history_parts.values, items.num_rows) if mask_seen else np.empty(0, np.int64)
    kept = (case >= 0) & (column >= 0)
    kept[kept] = ~np.isin(_cells(case[kept], candidates[column[kept]], items.num_rows), seen)
    order = np.lexsort((lists[c.RANK].to_numpy()[kept], case[kept]))
    case, column = case[kept][order], column[kept][order]
    rank = np.arange(len(case)) - np.searchsorted(case, case) + 1
    shown = np.full((cases.count, min(k, len(candidates))), -1)
    short = rank <= shown.shape[1]
    shown[case[short], rank[short] - 1] = column[short]
    truth = cases.truth
    true_cells, listed = (
        _cells(truth.rows, truth.values, items.num_rows),
        _cells(case, candidates[column], items.num_rows),
    )
    rankable = ~np.isin(true_cells, seen)
    rank_of_cell = {cell: rank[row] for row, cell in reversed(list(enumerate(listed.tolist())))}
    ranks = np.array([rank_of_cell.get(cell, np.inf) for cell in true_cells[rankable].tolist()], np.float64)
    return Ranks(truth.rows[rankable], ranks, cases.count, shown)


def _cells(rows: Ints, items: Ints, width: int) -> Ints:
    """A pair of case and item as one number."""
    return rows * width + items
