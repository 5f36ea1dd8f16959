from __future__ import annotations

from random import Random

import numpy as np
import pyarrow as pa
import pytest
from facts import fails

from crossrec_cli.errors import InputError
from crossrec_cli.evaluation.feedback import Impressions
from crossrec_cli.serving.exploration import explored

USERS = pa.table({"user_id": [f"u{n}" for n in range(300)]})
ITEMS = pa.table({"item_id": [f"i{n}" for n in range(20)]})


def shop(seed: int, biased: bool) -> tuple[Impressions, np.ndarray, float]:
    """Everybody likes items by their number; each user was shown ten of twenty, and wants the lists of the first five.

    Returns:
        The impressions, which of them stand in crossrec's lists, and what these lists would really bring an impression.
    """
    rng = np.random.default_rng(seed)
    chance = np.linspace(0.9, 0.1, 20)
    seen = np.clip(0.2 + 0.04 * np.arange(20), 0, 1) if biased else np.full(20, 0.5)
    shown = rng.random((300, 20)) < seen
    user, item = np.nonzero(shown)
    clicks = (rng.random(len(user)) < chance[item]).astype(float)
    rows = {"user_id": [f"u{u}" for u in user], "item_id": [f"i{i}" for i in item], "click": clicks}
    table = pa.table({**rows, "propensity": seen[item]})
    return Impressions.of(table, USERS, ITEMS, "file"), item < 5, float(chance[:5].mean())


def figures(found: Impressions, held: np.ndarray) -> dict[str, object]:
    rank = held * (found.item + 1) if held.dtype == bool else held
    rows = found.judged(rank, [5], {"all": np.arange(len(held))})
    return {row.measure: row for row in rows}


@pytest.mark.parametrize("biased", [False, True])
def test_snips_finds_what_the_lists_would_bring_though_the_log_showed_others(biased):
    """The truth is in the 95 % interval in at least 17 of 20 logs, and what was logged is far from it."""
    inside, values = 0, []
    for seed in range(20):
        found, held, truth = shop(seed, biased)
        snips = figures(found, held)["snips"]
        inside += snips.low <= truth <= snips.high
        values.append(snips.value)
        assert figures(found, held)["logged"].high < truth - 0.1
    assert inside >= 17
    assert np.mean(values) == pytest.approx(truth, abs=0.01)


def test_by_hand():
    rows = {
        "user_id": ["u1", "u1", "u2", "nobody"],
        "item_id": ["i1", "i2", "i1", "i1"],
        "rating": [4.0, None, 2.0, 5.0],
    }
    found = Impressions.of(pa.table({**rows, "rank": [2.0, 1.0, 4.0, 1.0]}), USERS, ITEMS, "file")
    assert found.rank.tolist() == [2.0, 1.0, 4.0]
    told = figures(found, np.array([1, 3, 2]))
    assert told["logged"].value == pytest.approx((4 + 2) / 2), "who gave no rating says nothing"
    assert told["ips"].value == pytest.approx((2 / 1 * 4 + 4 / 2 * 2) / 2)
    assert told["snips"].value == pytest.approx((2 * 4 + 2 * 2) / (2 + 2))
    assert told["snips"].effective == pytest.approx(4**2 / (4 + 4))
    assert told["snips"].impressions == 2
    nothing = figures(found, np.zeros(3, np.int64))["snips"]
    assert np.isnan(nothing.value)
    assert nothing.effective == 0


@pytest.mark.parametrize("column", ["rank", "propensity"])
def test_lists_like_those_that_were_logged_bring_what_was_logged(column):
    """Four places a user, of which each holds one of eight items, and crossrec's are the same."""
    rng = np.random.default_rng(0)
    user, rank = np.repeat(np.arange(300), 4), np.tile(np.arange(1, 5), 300)
    item = np.concatenate([rng.permutation(8)[:4] for _ in range(300)])
    rows = {"user_id": [f"u{u}" for u in user], "item_id": [f"i{i}" for i in item]}
    value = rank.astype(float) if column == "rank" else np.full(len(rank), 1 / 4)
    clicks = (rng.random(len(rank)) < 0.3).astype(float)
    found = Impressions.of(pa.table({**rows, "click": clicks, column: value}), USERS, ITEMS, "file")
    told = {row.measure: row.value for row in found.judged(rank, [4], {"all": np.arange(len(rank))})}
    assert told["ips"] == told["snips"] == pytest.approx(told["logged"])


def test_a_propensity_next_to_nothing_overflows_nothing():
    rows = {"user_id": ["u1", "u2"], "item_id": ["i1", "i1"], "click": [1.0, 1.0], "propensity": [1e-200, 1.0]}
    told = figures(Impressions.of(pa.table(rows), USERS, ITEMS, "file"), np.array([1, 1]))
    assert told["snips"].value == pytest.approx(1)
    assert told["snips"].effective == pytest.approx(1)


def explored_log(seed: int, explore: float, lists: int) -> tuple[Impressions, np.ndarray, float]:
    """Lists of five items that the server shuffles now and then, clicked by item and rank, whatever stands around it.

    Returns:
        The log, the rank of each of its items in other lists with the same first item, and these lists' rate of clicks.
    """
    random, rng = Random(seed), np.random.default_rng(seed)
    taste = rng.uniform(0.5, 1, (300, 1)) * np.array([0.9, 0.9, 0.5, 0.4, 0.1])
    seen = np.array([0.9, 0.7, 0.8, 0.2, 0.05])
    other = np.array([0, 4, 3, 1, 2])
    """The other lists: of each rank from 0, the item's rank in the logged ones."""
    rows = []
    for number in range(lists):
        user = number % 300
        ranked = [{"item_id": f"i{item}", "rank": item + 1} for item in range(5)]
        for row, propensity in explored(ranked, explore, random):
            chance = taste[user, int(row["item_id"][1:])] * seen[row["rank"] - 1]
            rows.append((f"u{user}", row["item_id"], float(row["rank"]), propensity, float(rng.random() < chance)))
    names = ("user_id", "item_id", "rank", "propensity", "click")
    found = Impressions.of(pa.table(dict(zip(names, zip(*rows, strict=True), strict=True))), USERS, ITEMS, "file")
    return found, np.argsort(other)[found.item] + 1, float((taste[:, other] * seen).mean())


@pytest.mark.parametrize("explore", [0.05, 0.4])
def test_an_explored_log_tells_what_another_ranking_would_bring(explore):
    """The truth is in the 95 % interval in at least 17 of 20 logs, and the lists that were logged bring more."""
    inside, values = 0, []
    for seed in range(20):
        found, rank, truth = explored_log(seed, explore, lists=3_000)
        told = figures(found, rank)
        inside += told["ips"].low <= truth <= told["ips"].high
        values.append(told["ips"].value / truth)
        assert told["logged"].low > truth
        assert told["ips"].effective < told["ips"].impressions
    assert inside >= 17
    assert np.mean(values) == pytest.approx(1, abs=0.04)


def test_a_logged_list_of_ten_says_of_five_what_its_first_five_say():
    rows = {"user_id": ["u1"] * 10, "item_id": [f"i{n}" for n in range(10)], "rank": np.arange(1.0, 11)}
    rows |= {"propensity": np.ones(10), "click": np.array([1.0, 0, 1, 0, 0, 1, 1, 1, 1, 1])}
    told = figures(Impressions.of(pa.table(rows), USERS, ITEMS, "file"), np.arange(1, 11))
    assert told["logged"].value == told["ips"].value == told["snips"].value == pytest.approx(2 / 5)
    assert told["ips"].impressions == 5


def test_empty_lists_and_people_without_an_id_are_no_impressions():
    rows = {
        "user_id": ["u1", None, "u2", "u3"],
        "item_id": ["i1", "i1", None, "i2"],
        "rank": [1.0, 1.0, None, 2.0],
        "propensity": [1.0, 1.0, None, 0.5],
        "click": [1.0, 1.0, None, 0.0],
    }
    found = Impressions.of(pa.table(rows), USERS, ITEMS, "file")
    assert (found.user.tolist(), found.item.tolist()) == ([1, 3], [1, 2])
    assert found.rewards["click"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("columns", "facts"),
    [
        ({"rank": [1.0]}, ["'click'", "'purchase'", "'rating'"]),
        ({"click": [1.0]}, ["'rank'", "'propensity'"]),
        ({"click": [1.0], "rank": [1.0], "propensity": [1.5]}, ["row 1", "propensity", "1.5", 0, 1]),
        ({"click": [1.0], "rank": [None], "propensity": [1.0]}, ["row 1", "rank", "nan", 1]),
        ({"click": [1.0], "rank": [1.0], "item_id": [None]}, ["row 1", "item_id"]),
        ({"click": [1.0], "rank": [0.0]}, ["row 1", "rank", 0, 1]),
        ({"click": [1.0], "propensity": [0.0]}, ["row 1", "propensity", 0, 1]),
        ({"click": [1.0], "propensity": [np.nan]}, ["row 1", "propensity", "nan"]),
        ({"click": [1.0], "rank": [np.nan]}, ["row 1", "rank", "nan"]),
        ({"click": [-3.0], "rank": [1.0]}, ["row 1", "click", "-3", 0]),
        ({"rating": [np.inf], "rank": [1.0]}, ["row 1", "rating", "inf"]),
        ({"click": [1.0], "rank": [1.0], "user_id": ["nobody"]}, ["1 impressions"]),
    ],
)
def test_what_cannot_be_used_is_told(columns, facts):
    with fails(InputError, "file", *facts):
        Impressions.of(pa.table({"user_id": ["u1"], "item_id": ["i1"], **columns}), USERS, ITEMS, "file")
