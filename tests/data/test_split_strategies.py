"""What each strategy of the split holds out, on one shop of random purchases."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import preprocess
from facts import fails
from small import kinds, table, write

from crossrec_cli.errors import InputError

STRATEGIES = {
    "leave_last_out": {"strategy": "leave_last_out"},
    "time": {"strategy": "time", "valid_from": 0.6, "test_from": 0.8},
    "cold_users": {"strategy": "cold_users", "share": 0.2},
    "cold_items": {"strategy": "cold_items", "share": 0.2},
}


def many_rows() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Random purchases with ties in time; some people buy in one domain alone, and some items sell once."""
    rng = np.random.default_rng(3)
    rows = pd.DataFrame({"user": rng.integers(0, 70, 1200), "item": rng.integers(0, 60, 1200)})
    rows["item"] = np.where(rows["user"] < 10, rows["item"] - rows["item"] % 4 + 1, rows["item"])  # records alone
    rows["item"] = np.where(rows["user"] >= 60, rows["item"] - rows["item"] % 4, rows["item"])  # books alone
    rows["time"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 200, len(rows)) * 7, unit="h")
    late = pd.DataFrame({"user": [20, 21, 22], "item": [60, 61, 62], "time": pd.Timestamp("2024-03-30")})
    items = pd.DataFrame({"item": range(63), "title": "x"})
    items["kind"] = ["record" if item % 4 and item < 60 else "book" for item in items["item"]]
    return pd.concat([rows, late]).astype({"user": str, "item": str}), items.astype({"item": str})


def many(folder, **split):
    """Those rows, all of them, split like this."""
    shop = write(folder, shop=many_rows())
    shop.config["split"] = split
    shop.config["data"]["repeats"] = "keep"
    return preprocess(shop)


@pytest.fixture(scope="module")
def by_strategy(tmp_path_factory):
    return {name: many(tmp_path_factory.mktemp(name), **split) for name, split in STRATEGIES.items()}


@pytest.fixture(params=STRATEGIES)
def found(request, by_strategy):
    return by_strategy[request.param]


def test_a_case_says_how_much_of_the_target_is_given_and_who_and_what_is_cold(found):
    rows, cases = found["interactions"], found["cases"]
    in_training = set(rows.loc[rows["split"] == "train", "item_index"])
    lengths = []
    for user, length in cases[["user_index", "history_length"]].itertuples(index=False):
        history = rows[(rows["user_index"] == user) & (rows["position"] < length)]
        lengths.append((history["domain"] == "target").sum())
    assert cases["target_history_length"].tolist() == lengths
    assert cases["cold_user"].tolist() == [not length for length in lengths]
    assert cases["cold_item"].tolist() == [item not in in_training for item in cases["item_index"]]


def test_cold_and_other_cases_are_among_those_compared(by_strategy):
    for column, name in (("cold_user", "leave_last_out"), ("cold_user", "time"), ("cold_item", "time")):
        assert set(by_strategy[name]["cases"][column]) == {True, False}


def test_activity_and_recency_come_from_what_trains_alone(found):
    users = found["users"].set_index("user_index")
    trains = found["interactions"].query("split == 'train'")
    by_user = trains.groupby("user_index")["timestamp"]
    assert users["activity"].to_dict() == {user: by_user.size().get(user, 0) for user in users.index}
    days = (trains["timestamp"].max() - by_user.max()).dt.total_seconds() / 86400
    pd.testing.assert_series_equal(users["recency_days"], days.reindex(users.index), check_names=False)
    assert len(trains) < len(found["interactions"])


def test_what_is_held_out_is_asked_once_and_trains_nowhere(found):
    """Of what is asked, no row of that user and item from the first question on trains, nor anything later."""
    cases, rows = found["cases"], found["interactions"]
    assert not cases.duplicated(["split", "user_index", "item_index"]).any()
    asked = rows.merge(cases[["user_index", "item_index", "history_length", "split"]], on=["user_index", "item_index"])
    asked = asked[asked["position"] >= asked["history_length"]]
    assert len(asked.drop_duplicates(["user_index", "item_index", "split_y"])) == len(cases)
    first = rows["user_index"].map(asked.groupby("user_index")["timestamp"].min())
    trains = rows["split"] == "train"
    assert not (trains & (rows["timestamp"] >= first)).any()
    assert (cases["item_index"].map(rows.groupby("item_index")["domain"].first()) == "target").all()


def test_once_validation_is_over_all_trains_that_the_test_does_not_hold_out(by_strategy):
    """Of users without test cases everything, but by time what lies before the test period."""
    for strategy, found in by_strategy.items():
        rows, cases = found["interactions"], found["cases"]
        tested = cases[cases["split"] == "test"].groupby("user_index")["history_length"].min()
        free = rows["position"] < rows["user_index"].map(tested).fillna(len(rows))
        if strategy == "time":
            times = rows["timestamp"].sort_values(ignore_index=True)
            free = rows["timestamp"] < times[int(len(rows) * STRATEGIES["time"]["test_from"])]
        pd.testing.assert_series_equal(rows["split"] != "held_out", free, check_names=False)
        only_valid = rows[rows["split"] == "valid"]
        assert set(only_valid["user_index"]) - set(tested.index) or strategy == "leave_last_out"
        assert only_valid["domain"].eq("target").any()


def test_time_by_shares_cuts_where_so_many_of_all_interactions_lie_before(by_strategy, tmp_path):
    rows, cases = by_strategy["time"]["interactions"], by_strategy["time"]["cases"]
    times = rows["timestamp"].sort_values(ignore_index=True)
    valid_from, test_from = (times[int(len(rows) * share)] for share in (0.6, 0.8))
    assert (rows["split"].eq("train") == rows["timestamp"].lt(valid_from)).all()
    assert 0.57 < (rows["timestamp"] < valid_from).mean() <= 0.6
    by_date = many(tmp_path, strategy="time", valid_from=valid_from.isoformat(), test_from=test_from.isoformat())
    pd.testing.assert_frame_equal(by_date["cases"], cases)


def asked_in(found, column: str) -> dict[str, set[str]]:
    cases = found["cases"]
    return {name: set(part[column]) for name, part in cases.groupby("split")}


def test_of_cold_users_all_target_purchases_are_asked_for_and_none_is_given(by_strategy):
    found = by_strategy["cold_users"]
    rows, cases = found["interactions"], found["cases"]
    firsts = rows[rows["domain"] == "target"].groupby("user_id")["timestamp"].min()
    before = rows[rows["timestamp"] < rows["user_id"].map(firsts)]
    eligible = set(before["user_id"])
    chosen = asked_in(found, "user_id")
    size = round(0.2 * len(eligible))
    assert {name: len(users) for name, users in chosen.items()} == {"test": size, "valid": size}
    assert not chosen["test"] & chosen["valid"]
    assert chosen["test"] | chosen["valid"] <= eligible < set(rows["user_id"])
    for user, theirs in cases.groupby("user_id"):
        history = rows[rows["user_id"] == user]
        assert set(theirs["item_id"]) == set(history.loc[history["domain"] == "target", "item_id"])
        given = history[history["position"] < theirs["history_length"].iloc[0]]
        assert given.equals(history[history["timestamp"] < firsts[user]])
        assert theirs["history_length"].nunique() == 1
        assert set(given["domain"]) == {"source"}
        assert history[history["split"] == "train"].equals(given)
    others = rows[~rows["user_id"].isin(set(cases["user_id"]))]
    assert (others["split"] == "train").all()
    assert cases["cold_user"].all()


def test_cold_items_are_in_nobodys_training(by_strategy):
    found = by_strategy["cold_items"]
    rows, cases = found["interactions"], found["cases"]
    target = rows[rows["domain"] == "target"]
    chosen = asked_in(found, "item_id")
    size = round(0.2 * target["item_id"].nunique())
    assert {name: len(items) for name, items in chosen.items()} == {"test": size, "valid": size}
    assert not chosen["test"] & chosen["valid"]
    assert not set(rows.loc[rows["split"] == "train", "item_id"]) & (chosen["test"] | chosen["valid"])
    assert cases["cold_item"].all()
    first_of_any = {}
    for name, items in chosen.items():
        bought = target[target["item_id"].isin(items)]
        first = bought.groupby("user_id")["timestamp"].min()
        mine = cases[cases["split"] == name]
        pairs = set(zip(mine["user_id"], mine["item_id"], strict=True))
        assert pairs == set(zip(bought["user_id"], bought["item_id"], strict=True))
        lengths = rows[rows["timestamp"] < rows["user_id"].map(first)].groupby("user_id").size()
        assert mine["history_length"].tolist() == [lengths.get(user, 0) for user in mine["user_id"]]
        for user, moment in first.items():
            first_of_any[user] = min(moment, first_of_any.get(user, moment))
    since = rows["user_id"].map(first_of_any).fillna(pd.Timestamp("2100"))
    assert (rows["split"].eq("train") == rows["timestamp"].lt(since)).all()


def test_the_seed_chooses_who_is_cold(by_strategy, tmp_path):
    once = asked_in(by_strategy["cold_users"], "user_id")
    assert asked_in(many(tmp_path, **STRATEGIES["cold_users"], seed=0), "user_id") == once
    for strategy, column in (("cold_users", "user_id"), ("cold_items", "item_id")):
        once = asked_in(by_strategy[strategy], column)
        other = asked_in(many(tmp_path, **STRATEGIES[strategy], seed=1), column)
        assert other["test"] != once["test"]
        assert len(other["test"]) == len(once["test"])


def one_each(folder, **split):
    rows = table("user item time", "a r0 2024-01-01\n a b0 2024-01-02\n b b1 2024-01-03\n c r0 2024-01-04")
    shop = write(folder, shop=(rows, kinds("r0", "b0", "b1")))
    shop.config["split"] = split
    return shop


@pytest.mark.parametrize(
    ("split", "facts"),
    [
        ({"strategy": "cold_users", "share": 0.4}, ["0.4", "1 users"]),
        ({"strategy": "cold_items", "share": 0.1}, ["0.1", "2 items"]),
        ({"strategy": "time", "valid_from": "2024-01-02", "test_from": "2024-01-04"}, ["test"]),
    ],
)
def test_a_split_that_holds_out_nothing_is_told(tmp_path, split, facts):
    with fails(InputError, *facts):
        preprocess(one_each(tmp_path, **split))


def test_with_one_target_purchase_it_is_the_test(tmp_path):
    found = preprocess(one_each(tmp_path, strategy="leave_last_out"))
    cases = found["cases"][["split", "user_id", "item_id", "history_length"]].to_numpy().tolist()
    assert cases == [["test", "a", "b0", 1], ["test", "b", "b1", 0]]
    assert found["interactions"]["split"].tolist() == ["train", "held_out", "held_out", "train"]


@pytest.mark.parametrize("name", STRATEGIES)
def test_order_among_ties_goes_with_every_strategy(by_strategy, tmp_path, name):
    """Histories are never shorter than with strict ties, and by the check of leaks nothing later is given."""
    strict, found = by_strategy[name]["cases"], many(tmp_path, **STRATEGIES[name], ties="order")["cases"]
    assert len(found) > 10
    if name == "time":
        pd.testing.assert_frame_equal(found, strict)
    elif name == "cold_items":
        both = found.merge(strict, on=["user_id", "split", "item_id"], suffixes=("", "_strict"))
        assert len(both) == len(found) == len(strict)
        assert (both["history_length"] >= both["history_length_strict"]).all()
        assert (both["history_length"] > both["history_length_strict"]).any()
