"""Which purchases the reasons of an entry name."""

from __future__ import annotations

import numpy as np
import pytest

from crossrec_cli.ranking.named_purchases import NamedPurchases


def named(falls: np.ndarray, parts: np.ndarray | None = None, most: int = 3) -> list[int]:
    """Positions, for one entry."""
    column = np.asarray(falls, np.float32)[:, None]
    some = column if parts is None else np.asarray(parts, np.float32)[:, None]
    count = len(column)
    return NamedPurchases.of(np.arange(count), np.zeros(count, bool), some[None], column, most).items.tolist()


@pytest.mark.parametrize("count", [1, 3, 4, 500])
def test_of_equal_falls_the_oldest_are_named(count):
    assert named(np.ones(count)) == list(range(min(count, 3)))


def test_those_without_which_the_score_falls_most_come_first():
    falls = np.zeros(100)
    falls[[7, 50, 90, 99]] = 2, 5, 2, 1
    assert named(falls) == [50, 7, 90]


def test_what_takes_from_the_score_or_raises_it_when_gone_is_not_named():
    assert named(np.array([3.0, 2.0, -1.0]), np.array([1.0, -1.0, 1.0])) == [0]
    assert named(np.empty(0)) == []
