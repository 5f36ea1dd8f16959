"""Candidates from a file for each test user, as papers publish them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.errors import InputError
from crossrec_cli.models.histories import Cases
from crossrec_cli.models.ragged import Ints, Ragged, numbered
from crossrec_cli.ranking.topk import Listed

NEGATIVES = pa.schema(
    [
        pa.field(c.USER_ID, pa.string(), nullable=False),
        pa.field(c.ITEM_ID, pa.string(), nullable=False),
    ]
)


def negatives_of(
    table: pa.Table, users: pa.Table, items: pa.Table, cases: Cases, candidates: Ints, where: str
) -> tuple[Listed, int]:
    """Each case's candidates, and how many rows name an item that is not a candidate.

    Args:
        table: as ``NEGATIVES``; users without a test case are skipped.
        users: preprocess's table.
        items: preprocess's table.
        cases: the test cases.
        candidates: item indices, sorted, int64 (C,).
        where: key and file, for messages.

    Raises:
        InputError: if a case has no candidate.
    """
    user, item = (
        parquet.row_indices(table[c.USER_ID], users[c.USER_ID]),
        parquet.row_indices(table[c.ITEM_ID], items[c.ITEM_ID]),
    )
    case = np.where(user < 0, -1, numbered(cases.users, users.num_rows)[user])
    column = np.where(item < 0, -1, numbered(candidates, items.num_rows)[item])
    kept = (case >= 0) & (column >= 0)
    pairs = np.unique(case[kept] * len(candidates) + column[kept])
    lengths = np.bincount(pairs // len(candidates), minlength=cases.count)
    if without := int((lengths == 0).sum()):
        first = users[c.USER_ID][int(cases.users[lengths.argmin()])]
        raise InputError(
            f"{where}: names no item of the target for the test user '{first}', and for {without:,} of "
            f"{cases.count:,} test users in all; each of them needs at least one"
        )
    return Listed(Ragged(pairs % len(candidates), lengths)), int((column < 0).sum())
