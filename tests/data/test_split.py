"""The split rules, checked against a plain loop over users on random data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import preprocess


def random_shop(shop, seed: int, users: int = 60, order: bool = False):
    """Random purchases with many ties in time, so that baskets are shared between held-out and given items."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame({"user": rng.integers(0, users, 1500).astype(str), "item": rng.integers(0, 80, 1500)})
    rows["time"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 40, len(rows)), unit="D")
    rows["place"] = rng.integers(0, 30, len(rows))
    items = pd.DataFrame(
        {"item": range(80), "title": "x", "kind": ["book" if i % 4 == 0 else "record" for i in range(80)]}
    )
    rows.to_parquet(shop.folder / "interactions.parquet")
    items.to_parquet(shop.folder / "items.parquet")
    if order:
        shop.config["data"]["platforms"][0]["interactions"]["columns"] = {
            "user_id": "user",
            "item_id": "item",
            "order": "place",
        }
    return shop


def run_split(shop) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Interactions (with user, item, time, domain) and cases, both with ids."""
    found = preprocess(shop)
    return found["interactions"], found["cases"]


@pytest.mark.parametrize("seed", range(3))
def test_leave_last_out_against_a_plain_loop(shop, seed):
    rows, cases = run_split(random_shop(shop, seed))
    assert not rows.duplicated(["user_id", "item_id"]).any()
    for user, history in rows.groupby("user_id"):
        mine = cases[cases["user_id"] == user].set_index("split")
        target = history[history["domain"] == "target"].sort_values(["timestamp", "item_id"])
        expected = dict(zip(["test", "valid"], target["item_id"].tolist()[::-1], strict=False))
        assert mine["item_id"].to_dict() == expected
        times = target.set_index("item_id")["timestamp"]
        for name, item in expected.items():
            given = history[history["position"] < mine.loc[name, "history_length"]]
            assert set(given["item_id"]) == set(history[history["timestamp"] < times[item]]["item_id"])
        first = times[expected.get("valid", expected.get("test"))] if expected else pd.Timestamp.max
        trains = history[history["split"] == "train"]
        assert set(trains["item_id"]) == set(history[history["timestamp"] < first]["item_id"])


def test_nothing_held_out_or_later_trains(shop):
    """Fails if anything leaks: compares times alone, nothing that the split itself computed but the cases."""
    rows, cases = run_split(random_shop(shop, 5))
    held_out = cases.merge(rows[["user_id", "item_id", "timestamp"]], on=["user_id", "item_id"])
    first = held_out.groupby("user_id")["timestamp"].min()
    trains = rows[rows["split"] == "train"]
    assert (trains["timestamp"] < trains["user_id"].map(first).fillna(pd.Timestamp.max)).all()
    assert len(trains) > 100
    assert not trains.merge(cases, on=["user_id", "item_id"]).shape[0]


@pytest.mark.parametrize("seed", range(3))
def test_time_against_a_plain_filter(shop, seed):
    shop = random_shop(shop, seed)
    shop.config["split"] = {"strategy": "time", "valid_from": "2024-01-20", "test_from": "2024-01-30"}
    rows, cases = run_split(shop)
    trains = rows[rows["split"] == "train"]
    assert set(trains.index) == set(rows[rows["timestamp"] < "2024-01-20"].index)
    target = rows[rows["domain"] == "target"]
    for name, begin, end in (("valid", "2024-01-20", "2024-01-30"), ("test", "2024-01-30", "2025-01-01")):
        expected = target[(target["timestamp"] >= begin) & (target["timestamp"] < end)]
        found = cases[cases["split"] == name]
        pairs = set(zip(found["user_id"], found["item_id"], strict=True))
        assert pairs == set(zip(expected["user_id"], expected["item_id"], strict=True))
        lengths = rows[rows["timestamp"] < begin].groupby("user_id").size()
        assert (found["history_length"] == found["user_id"].map(lengths).fillna(0)).all()


def test_with_an_order_alone_source_comes_before_target(shop):
    rows, cases = run_split(random_shop(shop, 1, order=True))
    for _, history in rows.groupby("user_id"):
        source = history.loc[history["domain"] == "source", "position"]
        target = history.loc[history["domain"] == "target", "position"]
        assert source.max() < target.min() or target.empty or source.empty
    assert rows["timestamp"].isna().all()
    given = rows.merge(cases[["user_index", "history_length"]], on="user_index")
    assert (
        given.loc[given["domain"] == "source", "position"] < given.loc[given["domain"] == "source", "history_length"]
    ).all()


def test_the_order_of_the_rows_in_the_file_does_not_matter(shop):
    shop = random_shop(shop, 2)
    once = run_split(shop)
    path = shop.folder / "interactions.parquet"
    pd.read_parquet(path).sample(frac=1, random_state=0).to_parquet(path)
    again = run_split(shop)
    for before, after in zip(once, again, strict=True):
        pd.testing.assert_frame_equal(before, after)
