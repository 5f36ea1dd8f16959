from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from facts import fails

from crossrec_cli.errors import InputError
from crossrec_cli.evaluation.negatives import NEGATIVES, negatives_of
from crossrec_cli.models.histories import Cases
from crossrec_cli.models.ragged import Ragged

USERS = pa.table({"user_id": ["ann", "bob", "eve"]})
ITEMS = pa.table({"item_id": list("abcdef")})
TARGET = np.array([1, 2, 4])
CASES = Cases(np.array([0, 2]), np.array([2, 1]), Ragged.of([[4], [2]]))


def read(rows: list[tuple[str, str]]):
    table = pa.table(dict(zip(NEGATIVES.names, map(list, zip(*rows, strict=True)), strict=True)), schema=NEGATIVES)
    return negatives_of(table, USERS, ITEMS, CASES, TARGET, "evaluate.negatives: theirs.csv")


def test_each_case_has_its_own_candidates_once_and_unknown_items_are_counted():
    found, unknown = read(
        [("eve", "e"), ("ann", "c"), ("ann", "b"), ("ann", "c"), ("ann", "a"), ("ann", "zzz"), ("bob", "b"), ("?", "b")]
    )
    assert found.columns.lengths.tolist() == [2, 1]
    assert found.columns.values.tolist() == [0, 1, 2], "places among the candidates"
    assert unknown == 2, "one is in the source and one in nothing"


@pytest.mark.parametrize("rows", [[("bob", "b")], [("bob", "b"), ("ann", "a"), ("eve", "zzz")]])
def test_test_users_without_candidates_are_an_error_that_names_the_first(rows):
    with fails(InputError, "evaluate.negatives", "theirs.csv", "'ann'", "2 of 2"):
        read(rows)


def test_one_user_without_candidates_is_named():
    with fails(InputError, "'eve'", "1 of 2"):
        read([("ann", "b")])
