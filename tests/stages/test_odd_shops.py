"""Shops in which something is missing, doubled or strange run to the end."""

from __future__ import annotations

import numpy as np
import pandas as pd
from conftest import ONE_EPOCH
from facts import check_failed, warns

from crossrec_cli.errors import ExitCode


def test_a_split_by_time_runs_to_the_end(shop, crossrec):
    shop.config["split"] = {"strategy": "time", "valid_from": "2024-01-21", "test_from": "2024-01-23"}
    done = crossrec("run", shop.path, *ONE_EPOCH)
    assert done.exit_code == 0, done.output
    interactions = shop.table("preprocess", "interactions")
    assert interactions.loc[interactions["split"] == "train", "timestamp"].max() < pd.Timestamp("2024-01-21")


def test_two_platforms_run_to_the_end(shop, crossrec):
    platform = shop.config["data"]["platforms"][0]
    shop.config["data"]["platforms"] = [platform, {**platform, "name": "other"}]
    assert crossrec("run", shop.path, *ONE_EPOCH).exit_code == 0
    users = set(shop.table("recommend", "recommendations")["user_id"])
    assert {"shop:new", "other:new"} <= users


def test_a_target_without_training_purchases_warns_and_still_recommends(shop, crossrec):
    path = shop.folder / "interactions.parquet"
    rows = pd.read_parquet(path)
    books = rows[rows["item"].str.contains("book")].drop_duplicates("user", keep="last")
    records = rows[rows["item"].str.contains("record")]
    pd.concat([records, books[books["user"].isin(records["user"])]]).to_parquet(path)
    done = crossrec("run", shop.path, *ONE_EPOCH)
    assert done.exit_code == 0, done.output
    assert warns(done, "target", "train")
    found = shop.table("evaluate", "metrics").query("segment == 'cold item' and metric == 'hr'").set_index("model")
    assert found.loc["crossrec", "value"] > 0.3, "5 of 12 cold books of a taste, which their text tells"
    assert found.loc["popularity", "value"] < 0.15


def test_a_split_before_all_data_is_an_input_error(shop, crossrec):
    shop.config["split"] = {"strategy": "time", "valid_from": "2001-01-01", "test_from": "2024-01-23"}
    done = crossrec("run", shop.path)
    check_failed(done, ExitCode.INPUT, "split", "domains.source")


def test_an_item_bought_twice_in_the_test_is_one_item_to_find(shop, crossrec):
    path = shop.folder / "interactions.parquet"
    rows = pd.read_parquet(path)
    pd.concat([rows, rows.assign(time=rows["time"] + pd.Timedelta(hours=1))]).to_parquet(path)
    shop.config["data"]["repeats"] = "keep"
    shop.config["split"] = {"strategy": "time", "valid_from": "2024-01-21", "test_from": "2024-01-23"}
    shop.config["evaluate"] = {"mask_seen": False, "k": [1, 5]}
    done = crossrec("run", shop.path, "--quick", "--to", "evaluate")
    assert done.exit_code == 0, done.output
    scores = shop.table("evaluate", "per_user").filter(regex="(hr|recall|precision|ndcg|mrr|map)@")
    assert scores.max().max() <= 1


def test_one_target_item_that_everybody_owns(shop, crossrec):
    path = shop.folder / "interactions.parquet"
    rows = pd.read_parquet(path)
    rows["item"] = rows["item"].where(rows["item"].str.contains("record"), "jazz-book-0")
    rows.to_parquet(path)
    done = crossrec("run", shop.path, *ONE_EPOCH)
    assert done.exit_code == 0, done.output
    assert np.isfinite(shop.table("recommend", "recommendations")["score"]).all()


def test_control_characters_in_texts_do_not_reach_the_terminal(shop, crossrec):
    path = shop.folder / "items.parquet"
    items = pd.read_parquet(path)
    items["title"] = "\x1b[31m" + items["title"] + "\nline"
    items.to_parquet(path)
    shop.config["data"]["clean"] = {"control_characters": False}
    done = crossrec("run", shop.path, "--quick")
    assert "\x1b" not in done.stdout
    assert "\\x1b[31m" in done.stdout
    assert "\\nline" in done.stdout
