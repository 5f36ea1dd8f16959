"""How much an interaction counts: by its event's word, by repeats, by its age."""

from __future__ import annotations

import pandas as pd
import pytest
from conftest import preprocess
from small import BASE, days_of, kinds, reasons, ruled, table, with_base, write

EVENTS = {"view": {"weight": 0.25}, "buy": {"weight": 2.0}, "stars": {"weight": 0.5, "at_least": 4}}
FIVE_EVENTS = """
    base  r0  2024-01-01  buy    -  -
    base  b0  2024-01-02  buy    -  -
    base  b1  2024-01-03  buy    -  -
    ann   r0  2024-02-01  view   3  -
    ann   r0  2024-02-02  buy    2  -
    ann   r0  2024-02-03  buy    -  -
    ann   r0  2024-02-04  stars  -  4
    ann   r0  2024-02-05  stars  -  3.9
    ann   r0  2024-02-06  stars  -  -
    ann   r0  2024-02-07  wish   -  5
    ann   r0  2024-02-08  view   -  1
    bob   r0  2024-02-01  view   1  -
    cat   r0  2024-02-01  -      1  -
"""


def event_shop(folder, repeats="keep"):
    rows = table("user item time event quantity rating", FIVE_EVENTS)
    shop = write(folder, shop=(rows, kinds("r0", "b0", "b1")))
    shop.config["data"]["platforms"][0]["interactions"]["events"] = EVENTS
    shop.config["data"]["repeats"] = repeats
    return shop


def test_events_bear_the_weights_of_their_words_and_others_are_left_out(tmp_path):
    found = preprocess(event_shop(tmp_path))
    assert days_of(found, "ann") == [(1, 0.25), (2, 2.0), (3, 2.0), (4, 0.5), (8, 0.25)]
    rows = found["interactions"]
    assert rows.loc[rows["user_id"] == "ann", "event"].tolist() == ["view", "buy", "buy", "stars", "view"]
    assert reasons(found) == {
        8: "rating too low",
        9: "rating too low",
        10: "unknown event",
        13: "unknown event",
    }


@pytest.mark.parametrize(
    ("repeats", "expected"),
    [
        ("strongest", [(2, 2.0)]),  # not the first, and the earlier of two
        ("first", [(1, 0.25)]),
        ("last", [(8, 0.25)]),
        ("sum", [(1, 3 * 0.25 + 2 * 2.0 + 2.0 + 0.5 + 0.25)]),
    ],
)
def test_several_interactions_with_an_item_become_one(tmp_path, repeats, expected):
    found = ruled(event_shop(tmp_path, repeats))
    assert days_of(found, "ann") == expected
    assert days_of(found, "bob") == [(1, 0.25)]
    assert list(reasons(found).values()).count("repeat of user and item") == 4


def test_too_low_a_rating_is_no_rating_where_there_is_no_event_column(tmp_path):
    rows = table("user item time", BASE).assign(rating="5")
    rows = pd.concat([rows, rows[:1].assign(user="ann", rating="2")])
    shop = write(tmp_path, shop=(rows, kinds("r0", "b0", "b1")))
    shop.config["data"]["platforms"][0]["interactions"]["events"] = {"rating": {"weight": 3.0, "at_least": 4}}
    found = preprocess(shop)
    assert reasons(found) == {4: "rating too low"}
    assert set(found["interactions"]["event"]) == {"rating"}
    assert set(found["interactions"]["weight"]) == {3.0}
    assert set(found["interactions"]["rating"]) == {5.0}


def test_without_events_every_row_is_a_purchase_of_weight_1(tmp_path):
    rows = preprocess(write(tmp_path, shop=(table("user item time", BASE), kinds("r0", "b0", "b1"))))["interactions"]
    assert set(rows["event"]) == {"purchase"}
    assert set(rows["weight"]) == {1.0}
    assert rows[["rating", "quantity"]].isna().all(axis=None)


def test_every_word_counts_1_where_none_is_named(tmp_path):
    shop = event_shop(tmp_path)
    shop.config["data"]["platforms"][0]["interactions"]["events"] = {}
    found = preprocess(shop)
    assert reasons(found) == {}
    assert days_of(found, "ann") == [(day, 1.0) for day in range(1, 9)]
    assert found["interactions"]["event"].isna().sum() == 1


HALVED = {
    "keep": [(1, 2.0 / 4), (11, 4.0 / 2), (16, 4.0 / 2**0.5)],
    "sum": [(1, (2.0 + 4.0 + 4.0) / 4)],
}


@pytest.mark.parametrize("repeats", HALVED)
def test_weights_halve_with_age_down_from_the_newest_interaction(tmp_path, repeats):
    more = "ann r0 2024-02-01 view\n ann r0 2024-02-11 buy\n ann r0 2024-02-16 buy\n bob r0 2024-02-21 view"
    shop = with_base(tmp_path, "event", more, event="view")
    shop.config["data"]["platforms"][0]["interactions"]["events"] = {"view": {"weight": 2.0}, "buy": {"weight": 4.0}}
    shop.config["data"] |= {"repeats": repeats, "half_life_days": 10}
    found = ruled(shop)
    assert days_of(found, "ann") == [(day, pytest.approx(weight)) for day, weight in HALVED[repeats]]
    assert days_of(found, "bob") == [(21, 2.0)]


def test_the_oldest_weight_is_small_but_not_nothing(tmp_path):
    shop = write(tmp_path, shop=(table("user item time", BASE), kinds("r0", "b0", "b1")))
    shop.config["data"]["half_life_days"] = 0.01
    assert ruled(shop)["interactions"]["weight"].tolist() == pytest.approx([1e-6, 1e-6, 1.0])


def test_what_has_neither_weight_nor_quantity_sums_to_the_number_of_purchases(shop):
    shop.config["data"]["repeats"] = "sum"
    path = shop.folder / "interactions.parquet"
    rows = pd.read_parquet(path)
    pd.concat([rows, rows.head(5).assign(time=rows["time"] + pd.Timedelta(hours=1))]).to_parquet(path)
    found = ruled(shop)
    assert len(found["interactions"]) == len(rows)
    assert sorted(found["interactions"]["weight"])[-6:] == [1, 2, 2, 2, 2, 2]
