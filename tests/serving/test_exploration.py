from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from crossrec_cli.serving.exploration import explored

RANKED = [{"item_id": item, "rank": rank, "score": 1 / rank} for rank, item in enumerate("abcde", 1)]


def shown(explore: float, chance: Random, rows: list[dict] = RANKED) -> list[tuple[str, int, float]]:
    return [(one.row["item_id"], one.row["rank"], one.propensity) for one in explored(rows, explore, chance)]


@pytest.mark.parametrize("explore", [0.05, 0.5, 1.0])
def test_an_item_is_shown_at_a_rank_as_often_as_its_propensity_says(explore):
    lists, chance = 20_000, Random(1)
    times, propensity = Counter(), {}
    for _ in range(lists):
        for item, rank, probability in shown(explore, chance):
            times[item, rank] += 1
            assert propensity.setdefault((item, rank), probability) == probability
    assert times["a", 1] == lists
    assert len(times) == 1 + 4 * 4, "every other item at every other rank"
    for pair, probability in propensity.items():
        spread = (probability * (1 - probability) / lists) ** 0.5
        assert times[pair] / lists == pytest.approx(probability, abs=4 * spread + 1e-12), pair
    own, other = propensity["b", 2], propensity["b", 3]
    assert (own, other) == pytest.approx((1 - explore + explore / 4, explore / 4))


def test_without_exploration_lists_are_as_they_are_ranked():
    assert shown(0.0, Random(1)) == [(row["item_id"], row["rank"], 1.0) for row in RANKED]


def test_a_shuffled_list_has_the_same_rows_but_for_their_ranks():
    for one, rank in zip(explored(RANKED, 1.0, Random(3)), range(1, 6), strict=True):
        row = next(row for row in RANKED if row["item_id"] == one.row["item_id"])
        assert one.row == row | {"rank": rank}
    assert [row["rank"] for row in RANKED] == [1, 2, 3, 4, 5], "the list itself is as it was"


@pytest.mark.parametrize("length", [0, 1, 2])
def test_what_is_too_short_to_shuffle_is_certain(length):
    assert shown(0.3, Random(1), RANKED[:length]) == [(row["item_id"], row["rank"], 1.0) for row in RANKED[:length]]


def test_the_same_seed_gives_the_same_lists_and_no_seed_others():
    def many(chance: Random) -> list:
        return [shown(0.5, chance) for _ in range(30)]

    assert many(Random(7)) == many(Random(7))
    assert many(Random(None)) != many(Random(None))
