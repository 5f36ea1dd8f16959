"""The check of the written files, on good ones and on the same with one leak planted in them."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import preprocess
from facts import fails
from small import write

from crossrec_cli.config.load import load_config
from crossrec_cli.data import engine, leaks

SPLITS = {
    "leave_last_out": {"strategy": "leave_last_out"},
    "time": {"strategy": "time", "valid_from": "2024-02-20", "test_from": "2024-03-01"},
    "cold_users": {"strategy": "cold_users", "share": 0.2},
    "cold_items": {"strategy": "cold_items", "share": 0.2},
}
ORDER = {"strategy": "leave_last_out", "ties": "order"}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """For each strategy, its config, a folder with good tables, and these."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"user": rng.integers(0, 30, 600).astype(str), "item": rng.integers(0, 40, 600).astype(str)})
    rows["time"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 80, len(rows)), unit="D")
    items = pd.DataFrame({"item": map(str, range(40)), "title": "x", "kind": ["book", "record"] * 20})
    shop = write(tmp_path_factory.mktemp("shop"), shop=(rows, items))
    found = {}
    for name, split in (SPLITS | {"order": ORDER}).items():
        shop.config["split"] = split
        tables = preprocess(shop)
        folder = tmp_path_factory.mktemp(name)
        for table in ("interactions", "cases", "items"):
            tables[table].to_parquet(folder / f"{table}.parquet")
        found[name] = (load_config(shop.path), folder, tables)
    return found


def check(config, folder) -> None:
    paths = [folder / f"{name}.parquet" for name in ("interactions", "cases", "items")]
    with engine.connect("duckdb", folder / ".scratch", config.runtime) as tables:
        leaks.check(tables, *paths, config.split)


def check_planted(good, strategy, tmp_path, **planted) -> None:
    """Check the good tables with these in place of their own."""
    config, folder, _ = good[strategy]
    copy = tmp_path / "planted"
    shutil.copytree(folder, copy)
    for name, table in planted.items():
        table.to_parquet(copy / f"{name}.parquet")
    check(config, copy)


@pytest.mark.parametrize("strategy", SPLITS)
def test_good_tables_pass(good, strategy):
    config, folder, tables = good[strategy]
    assert set(tables["cases"]["split"]) == {"valid", "test"}
    check(config, folder)


def asked(tables) -> pd.DataFrame:
    """Every case with the place in the interactions of a row that it asks for."""
    rows, cases = tables["interactions"], tables["cases"]
    keys = ["user_index", "item_index"]
    found = rows.reset_index(names="place").merge(cases[[*keys, "split", "history_length"]], on=keys)
    return found[found["position"] >= found["history_length"]]


@pytest.mark.parametrize("strategy", SPLITS)
def test_a_held_out_row_that_trains_is_found(good, strategy, tmp_path):
    tables = good[strategy][2]
    rows = tables["interactions"].copy()
    rows.loc[asked(tables)["place"].iloc[0], "split"] = "train"
    with fails(leaks.LeakError, "position", 1):
        check_planted(good, strategy, tmp_path, interactions=rows)


@pytest.mark.parametrize("strategy", SPLITS)
def test_training_beyond_what_is_given_is_found(good, strategy, tmp_path):
    """A shared basket: what was bought with the held-out item trains, and is not given."""
    tables = good[strategy][2]
    cases = tables["cases"].copy()
    trained = tables["interactions"].query("split == 'train'").groupby("user_index").size()
    user = cases.loc[cases["user_index"].map(trained) > 1, "user_index"].iloc[0]
    cases.loc[cases["user_index"] == user, "history_length"] = trained[user] - 1
    with fails(leaks.LeakError, "row", "given"):
        check_planted(good, strategy, tmp_path, cases=cases)


@pytest.mark.parametrize("strategy", SPLITS)
def test_training_at_the_time_of_a_held_out_row_is_found(good, strategy, tmp_path):
    tables = good[strategy][2]
    rows, first = tables["interactions"].copy(), asked(tables).groupby("user_index")["timestamp"].min()
    theirs = rows[(rows["split"] == "train") & rows["user_index"].isin(first.index)].index[0]
    rows.loc[theirs, "timestamp"] = first[rows.loc[theirs, "user_index"]]
    with fails(leaks.LeakError, "before", "time", 1):
        check_planted(good, strategy, tmp_path, interactions=rows)


@pytest.mark.parametrize("strategy", ["leave_last_out", "time"])
def test_an_answer_among_what_is_given_is_found(good, strategy, tmp_path):
    tables = good[strategy][2]
    cases, places = tables["cases"].copy(), asked(tables)
    last = places.loc[places["split_y"] == "test"].iloc[0]
    mine = (cases["user_index"] == last["user_index"]) & (cases["item_index"] == last["item_index"])
    cases.loc[mine, "history_length"] = last["position"] + 1
    with fails(leaks.LeakError, "bought", "given history", 1):
        check_planted(good, strategy, tmp_path, cases=cases)


def test_a_question_about_what_was_never_bought_is_found(good, tmp_path):
    cases = good["leave_last_out"][2]["cases"].copy()
    cases.loc[0, "item_index"] = 10_000
    with fails(leaks.LeakError, "bought", "given history", 1):
        check_planted(good, "leave_last_out", tmp_path, cases=cases)


@pytest.mark.parametrize("strategy", SPLITS)
def test_a_test_row_that_trains_once_validation_is_over_is_found(good, strategy, tmp_path):
    tables = good[strategy][2]
    rows, places = tables["interactions"].copy(), asked(tables)
    rows.loc[places.loc[places["split_y"] == "test", "place"].iloc[0], "split"] = "valid"
    with fails(leaks.LeakError, "position", "validation", 1):
        check_planted(good, strategy, tmp_path, interactions=rows)


def test_a_basket_that_tells_of_itself_is_found(good, tmp_path):
    """What was bought at the very time of the test purchase is given to find it."""
    tables = good["leave_last_out"][2]
    rows, places = tables["interactions"].copy(), asked(tables)
    test = places[(places["split_y"] == "test") & (places["history_length"] > 0)].iloc[0]
    given = (rows["user_index"] == test["user_index"]) & (rows["position"] == test["history_length"] - 1)
    rows.loc[given, ["timestamp", "split"]] = [test["timestamp"], "held_out"]
    with fails(leaks.LeakError, "given history", "before", 1):
        check_planted(good, "leave_last_out", tmp_path, interactions=rows)


def test_a_cold_user_who_is_given_target_history_is_found(good, tmp_path):
    """One of the purchases that are asked for is given with the question about another."""
    tables = good["cold_users"][2]
    cases, places = tables["cases"].copy(), asked(tables).sort_values("timestamp")
    last = places.groupby("user_index").last().query("position > history_length").iloc[0]
    mine = (cases["user_index"] == last.name) & (cases["item_index"] == last["item_index"])
    before = places[(places["user_index"] == last.name) & (places["timestamp"] < last["timestamp"])]
    cases.loc[mine, "history_length"] = before["position"].max() + 1
    with fails(leaks.LeakError, "given history", "case", 1):
        check_planted(good, "cold_users", tmp_path, cases=cases)


def test_training_after_the_cut_off_is_found_of_somebody_who_is_asked_nothing(good, tmp_path):
    rows, cases = (good["time"][2][name].copy() for name in ("interactions", "cases"))
    late = rows[rows["split"] == "held_out"].index[-1]
    rows.loc[late, ["user_index", "position", "original_user_id", "split"]] = [10_000, 0, "somebody", "train"]
    cases = cases[cases["user_index"] != good["time"][2]["interactions"].loc[late, "user_index"]]
    with fails(leaks.LeakError, "user's training", "time", 1):
        check_planted(good, "time", tmp_path, interactions=rows, cases=cases)


def test_a_person_who_is_two_users_is_found(good, tmp_path):
    rows = good["leave_last_out"][2]["interactions"].copy()
    rows.loc[rows["user_index"] == 1, "original_user_id"] = rows.loc[rows["user_index"] == 0, "original_user_id"].iloc[
        0
    ]
    with fails(leaks.LeakError, "platform's user", "two", 1):
        check_planted(good, "leave_last_out", tmp_path, interactions=rows)


def test_a_cold_item_in_somebody_elses_training_is_found(good, tmp_path):
    rows, cases = (good["cold_items"][2][name] for name in ("interactions", "cases"))
    others = rows[(rows["split"] == "train") & ~rows["user_index"].isin(cases["user_index"])]
    rows = rows.copy()
    rows.loc[others.index[:2], "item_index"] = cases["item_index"].iloc[0]
    with fails(leaks.LeakError, "cold", 2):
        check_planted(good, "cold_items", tmp_path, interactions=rows)


def test_target_training_of_a_cold_user_is_found(good, tmp_path):
    """Under an item that is not asked for, so that nothing else gives it away."""
    tables = good["cold_users"][2]
    rows, cases = tables["interactions"].copy(), tables["cases"]
    user = cases.loc[cases["history_length"] > 0, "user_index"].iloc[0]
    mine = cases.loc[cases["user_index"] == user, "item_index"]
    books = tables["items"].query("domain == 'target'")["item_index"]
    first = rows[(rows["user_index"] == user) & (rows["position"] == 0)].index
    rows.loc[first, "item_index"] = books[~books.isin(mine)].iloc[0]
    with fails(leaks.LeakError, "cold", 1):
        check_planted(good, "cold_users", tmp_path, interactions=rows)


def test_where_order_decides_a_basket_is_no_leak_and_a_later_day_is(good, tmp_path):
    config, folder, tables = good["order"]
    check(config, folder)
    rows, places = tables["interactions"].copy(), asked(tables)
    test = places[(places["split_y"] == "test") & (places["history_length"] > 0)].iloc[0]
    given = (rows["user_index"] == test["user_index"]) & (rows["position"] == test["history_length"] - 1)
    rows.loc[given, ["timestamp", "split"]] = [test["timestamp"], "held_out"]
    check_planted(good, "order", tmp_path / "same", interactions=rows)
    rows.loc[given, "timestamp"] = test["timestamp"] + pd.Timedelta(days=1)
    with fails(leaks.LeakError, "given history", "before", 1):
        check_planted(good, "order", tmp_path / "later", interactions=rows)


def test_where_order_decides_a_held_out_row_that_trains_is_found(good, tmp_path):
    tables = good["order"][2]
    rows = tables["interactions"].copy()
    rows.loc[asked(tables)["place"].iloc[0], "split"] = "train"
    with fails(leaks.LeakError, "position", 1):
        check_planted(good, "order", tmp_path, interactions=rows)
