from __future__ import annotations

import numpy as np

from crossrec_cli.models.ragged import Ragged

LISTS = [[3, 1, 4], [], [1, 5, 9, 2, 6], [5]]


def lists(of: Ragged) -> list[list[int]]:
    return [part.tolist() for part in np.split(of.values, np.cumsum(of.lengths)[:-1])]


def test_take_reorders_repeats_and_cuts():
    whole = Ragged.of(LISTS)
    assert lists(whole.take(np.array([2, 0, 1, 2]))) == [LISTS[2], LISTS[0], [], LISTS[2]]
    assert lists(whole.take(np.array([2, 0]), np.array([2, 9]))) == [[1, 5], [3, 1, 4]]


def test_slice_where_and_padded():
    whole = Ragged.of(LISTS)
    assert lists(whole.slice(np.array([2, 0]), np.array([1, 3]), np.array([4, 3]))) == [[5, 9, 2], []]
    assert lists(whole.where(whole.values > 3)) == [[4], [], [5, 9, 6], [5]]
    matrix, filled = whole.take(np.array([0, 1, 3])).padded()
    assert matrix.tolist() == [[3, 1, 4], [0, 0, 0], [5, 0, 0]]
    assert filled.sum(axis=1).tolist() == [3, 0, 1]


def weighted(of: Ragged) -> Ragged:
    """Each value weighs a tenth more than itself, so that a weight tells whose it is."""
    return Ragged(of.values, of.lengths, of.values.astype(np.float32) + np.float32(0.1))


def test_weights_stay_with_their_values():
    whole, order = weighted(Ragged.of(LISTS)), np.array([2, 0, 1, 2])
    for part in (
        whole.take(order),
        whole.take(order, np.array([2, 9, 0, 1])),
        whole.slice(order, np.array([1, 3, 0, 0]), np.array([4, 3, 0, 5])),
        whole.where(whole.values > 3),
        whole.where(whole.values > 3).take(order),
    ):
        assert part.weights.dtype == np.float32
        np.testing.assert_array_equal(part.weights, weighted(part).weights)


def test_without_weights_each_value_counts_one():
    part = Ragged.of(LISTS).take(np.array([2, 0]))
    assert part.weights is None
    assert part.weights_or_ones.dtype == np.float32
    assert part.weights_or_ones.tolist() == [1.0] * 8


def test_no_list_at_all():
    nothing = np.empty(0, dtype=np.int64)
    assert Ragged.of(LISTS).take(nothing).padded()[0].shape == (0, 0)
