"""Lists that are shuffled now and then, so that it can be learned what users would think of others."""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

from crossrec_cli.artifacts import columns as c

Row = dict[str, Any]


class ShownItem(NamedTuple):
    """An item of a list as it is shown."""

    row: Row
    """With its rank as shown."""
    propensity: float
    """The probability that it is shown at this rank."""


def explored(rows: list[Row], explore: float, chance: Random) -> list[ShownItem]:
    """A list with, by chance, all items below the first in a random order.

    Of n items the first always keeps its rank. The others have each of the n − 1 further ranks with the probability
    explore / (n − 1), and their own with 1 − explore more.

    Args:
        rows: the list as it is ranked, best first.
        explore: the probability of a random order.
        chance: the random numbers.
    """
    order = list(range(1, len(rows)))
    if chance.random() < explore:
        chance.shuffle(order)
    by_chance = explore / max(len(order), 1)
    return [ShownItem(row, 1.0) for row in rows[:1]] + [
        ShownItem(
            rows[ranked] | {c.RANK: position + 1}, min(by_chance + (1 - explore if ranked == position else 0.0), 1.0)
        )
        for position, ranked in enumerate(order, 1)
    ]
