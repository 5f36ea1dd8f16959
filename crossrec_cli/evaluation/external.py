"""Another system's lists, scored by the same rules."""

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


def see_that_they_are_lists(lists: pa.Table, where: str) -> None:
    """Ranks begin at 1, and a user's are all different.

    Raises:
        InputError: if they do not, or two are alike.
    """
    rank = lists[c.RANK].to_numpy()
    if (rank < 1).any():
        row = int((rank < 1).argmax())
        raise InputError(f"{where}, row {row + 1}: rank is {rank[row]}; it has to be at least 1")
    user = lists[c.USER_ID].combine_chunks().dictionary_encode().indices.to_numpy()
    order = np.lexsort((rank, user))
    again = (np.diff(user[order]) == 0) & (np.diff(rank[order]) == 0)
    if again.any():
        row = int(order[1:][again].min())
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
    """As ``ranked``, from lists that somebody else made. What a list does not hold has an infinite rank.

    What is no candidate is left out of the lists, and what the history holds where seen items are masked; the rest
    moves up.

    Args:
        lists: as ``LISTS``.
        users: preprocess's table.
        items: preprocess's table.
        histories: everybody's.
        cases: what is asked.
        candidates: item indices, sorted, int64 (C,).
        mask_seen: whether items in the history are left out.
        k: how long the lists are to be.
    """
    case_of, place_of = numbered(cases.users, users.num_rows), numbered(candidates, items.num_rows)
    case, place = (
        np.where(index < 0, -1, number[index])
        for index, number in (
            (parquet.places(lists[c.USER_ID], users[c.USER_ID]), case_of),
            (parquet.places(lists[c.ITEM_ID], items[c.ITEM_ID]), place_of),
        )
    )
    given = histories.items.take(cases.users, cases.history_lengths)
    seen = _cells(given.rows, given.values, items.num_rows) if mask_seen else np.empty(0, np.int64)
    kept = (case >= 0) & (place >= 0)
    kept[kept] = ~np.isin(_cells(case[kept], candidates[place[kept]], items.num_rows), seen)
    order = np.lexsort((lists[c.RANK].to_numpy()[kept], case[kept]))
    case, place = case[kept][order], place[kept][order]
    rank = np.arange(len(case)) - np.searchsorted(case, case) + 1
    shown = np.full((cases.count, min(k, len(candidates))), -1)
    short = rank <= shown.shape[1]
    shown[case[short], rank[short] - 1] = place[short]
    truth = cases.truth
    wanted, listed = _cells(truth.rows, truth.values, items.num_rows), _cells(case, candidates[place], items.num_rows)
    asked = ~np.isin(wanted, seen)
    first = {cell: rank[row] for row, cell in reversed(list(enumerate(listed.tolist())))}
    ranks = np.array([first.get(cell, np.inf) for cell in wanted[asked].tolist()], np.float64)
    return Ranks(truth.rows[asked], ranks, cases.count, shown)


def _cells(rows: Ints, items: Ints, width: int) -> Ints:
    """A pair of case and item as one number."""
    return rows * width + items
