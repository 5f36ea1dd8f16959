from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from crossrec_cli.evaluation.external import LISTS, external_ranks
from crossrec_cli.models.histories import Cases, Histories, ItemStats
from crossrec_cli.models.ragged import Ragged

USERS = pa.table({"user_id": ["ann", "bob", "eve"]})
ITEMS = pa.table({"item_id": list("abcdef")})
TARGET = np.array([1, 2, 3, 4])
WORLD = Histories(
    Ragged.of([[0, 2], [1], [5]]),
    np.array([2, 1, 1]),
    Ragged.of([[], [], []]),
    ItemStats(np.isin(np.arange(6), TARGET), np.ones(6, int)),
)
CASES = Cases(np.array([0, 1]), np.array([2, 1]), Ragged.of([[4, 3], [2]]))


def ranks(rows: list[tuple[str, str, int]], mask_seen: bool = True, k: int = 3):
    lists = pa.table(dict(zip(LISTS.names, map(list, zip(*rows, strict=True)), strict=True)), schema=LISTS)
    return external_ranks(lists, USERS, ITEMS, WORLD, CASES, TARGET, mask_seen, k)


def test_what_is_no_candidate_unknown_or_owned_is_left_out_and_the_rest_moves_up():
    rows = [("ann", "e", 9), ("ann", "a", 1), ("ann", "c", 2), ("ann", "zzz", 3), ("nobody", "e", 1), ("ann", "b", 4)]
    found = ranks(rows)
    assert found.lists.tolist() == [[0, 3, -1], [-1, -1, -1]], "b, e as places among the candidates"
    assert found.case.tolist() == [0, 0, 1]
    assert found.rank.tolist() == [2, np.inf, np.inf]
    assert found.cases == 2


def test_what_is_owned_counts_where_it_is_not_masked():
    found = ranks([("ann", "c", 1), ("ann", "e", 2)], mask_seen=False)
    assert found.lists[0].tolist() == [1, 3, -1]
    assert found.rank.tolist() == [2, np.inf, np.inf]


def test_a_list_longer_than_k_still_ranks_what_lies_beyond():
    found = ranks([("bob", item, rank) for rank, item in enumerate("edc", 1)], k=2)
    assert found.lists[1].tolist() == [3, 2]
    assert found.rank.tolist() == [np.inf, np.inf, 3]


def test_a_user_who_is_not_asked_does_not_matter():
    assert np.isinf(ranks([("eve", "c", 1)]).rank).all()


@pytest.mark.parametrize("mask_seen", [True, False])
def test_a_true_item_that_is_owned_is_asked_for_only_where_it_can_be_found(mask_seen):
    again = Cases(np.array([0]), np.array([2]), Ragged.of([[2]]))
    lists = pa.table({"user_id": ["ann"], "item_id": ["c"], "rank": [1]}, schema=LISTS)
    found = external_ranks(lists, USERS, ITEMS, WORLD, again, TARGET, mask_seen, 3)
    assert found.rank.tolist() == ([] if mask_seen else [1])
