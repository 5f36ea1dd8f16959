"""Products of users' purchases with other vectors, dense and sparse alike."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array, random_array

from crossrec_cli.models import history_products as module
from crossrec_cli.models.history_products import history_products
from crossrec_cli.models.ragged import Ragged


@pytest.mark.parametrize(("kind", "width"), [("dense", 40), ("sparse", 40), ("wide", 1000)])
def test_each_purchase_is_multiplied_with_its_own_users_vectors(kind, width, monkeypatch):
    monkeypatch.setattr(module, "CELLS", 300)  # a user or two at a time
    rng = np.random.default_rng(0)
    items = csr_array(random_array((30, width), density=0.2, dtype=np.float32, rng=rng))
    histories = Ragged.of([[3, 4, 3], [], [29], rng.integers(0, 30, 50).tolist()])
    listed, sums = items[rng.integers(0, 30, 4 * 2)], items[[5, 6, 7, 8]]
    if kind == "dense":
        items, listed, sums = items.toarray(), listed.toarray(), sums.toarray()
    found = history_products(items, histories, [listed, sums])
    plain = [one if kind == "dense" else one.toarray() for one in (items, listed, sums)]
    for row, (user, item) in enumerate(zip(histories.rows, histories.values, strict=True)):
        others = [*plain[1][2 * user : 2 * user + 2], plain[2][user]]
        np.testing.assert_allclose(found[row], [plain[0][item] @ other for other in others], rtol=1e-5)


@pytest.mark.parametrize("kind", [np.asarray, csr_array])
def test_nobody_has_no_products(kind):
    items = kind(np.ones((3, 2), np.float32))
    found = history_products(items, Ragged.of([]), [items[:0], items[:0]])
    assert len(found) == 0


def test_vectors_of_no_dimension_have_products_of_0():
    nothing = csr_array((3, 0), dtype=np.float32)
    found = history_products(nothing, Ragged.of([[0, 1], [2]]), [nothing[[0, 1]], nothing[[1, 2]]])
    np.testing.assert_array_equal(found, np.zeros((3, 2)))
