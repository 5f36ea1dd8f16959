"""The split rules, checked against a plain loop over users on random data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import make_shop, preprocess
from small import kinds, measured, reasons, write
from test_given_split import marked_rows

from crossrec_cli.data.ledger import Reason


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


@pytest.fixture(scope="module", params=range(2))
def last_out(request, tmp_path_factory, tiny_bert):
    """A random shop, and its interactions and cases."""
    shop = random_shop(make_shop(tmp_path_factory.mktemp("last-out"), tiny_bert), request.param)
    return shop, *run_split(shop)


def test_leave_last_out_against_a_plain_loop(last_out):
    _, rows, cases = last_out
    assert not rows.duplicated(["user_id", "item_id"]).any()
    for user, history in rows.groupby("user_id"):
        mine = cases[cases["user_id"] == user].set_index("split")
        assert history.sort_values("position")["timestamp"].is_monotonic_increasing
        target = history[history["domain"] == "target"].sort_values("position")
        expected = dict(zip(["test", "valid"], target["item_id"].tolist()[::-1], strict=False))
        assert mine["item_id"].to_dict() == expected
        times = target.set_index("item_id")["timestamp"]
        for name, item in expected.items():
            given = history[history["position"] < mine.loc[name, "history_length"]]
            assert set(given["item_id"]) == set(history[history["timestamp"] < times[item]]["item_id"])
        first = times[expected.get("valid", expected.get("test"))] if expected else pd.Timestamp.max
        trains = history[history["split"] == "train"]
        assert set(trains["item_id"]) == set(history[history["timestamp"] < first]["item_id"])


def test_nothing_held_out_or_later_trains(last_out):
    """Fails if anything leaks: compares times alone, nothing that the split itself computed but the cases."""
    _, rows, cases = last_out
    held_out = cases.merge(rows[["user_id", "item_id", "timestamp"]], on=["user_id", "item_id"])
    first = held_out.groupby("user_id")["timestamp"].min()
    trains = rows[rows["split"] == "train"]
    assert (trains["timestamp"] < trains["user_id"].map(first).fillna(pd.Timestamp.max)).all()
    assert len(trains) > 100
    assert not trains.merge(cases, on=["user_id", "item_id"]).shape[0]


@pytest.mark.parametrize("seed", range(2))
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


def test_the_order_of_the_rows_in_the_file_does_not_matter(last_out, shop):
    drawn, *once = last_out
    random_shop(shop, 0)
    rows = pd.read_parquet(drawn.folder / "interactions.parquet").sample(frac=1, random_state=0)
    rows.to_parquet(shop.folder / "interactions.parquet")
    again = run_split(shop)
    for before, after in zip(once, again, strict=True):
        pd.testing.assert_frame_equal(before, after)


def baskets(folder, users: int, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """People who all buy the same four books at once: the rows and the test cases."""
    books = ["b1", "b2", "b3", "b4"]
    rows = [{"user": f"u{n}", "item": item, "time": "2024-01-01"} for n in range(users) for item in books]
    rows += [{"user": "base", "item": "r0", "time": f"2024-01-0{day}"} for day in (1, 2)]
    shop = write(folder, shop=(pd.DataFrame(rows), kinds("r0", *books)))
    shop.config["split"] = {"seed": seed}
    found = preprocess(shop)
    return found["interactions"], found["cases"].query("split == 'test'").set_index("user_id")["item_id"]


def test_a_baskets_held_out_item_is_drawn_and_drawn_alike_each_time(tmp_path):
    rows, drawn = baskets(tmp_path, 400)
    assert drawn.value_counts().between(70, 130).all()  # of 100; by item id all 400 were b4
    assert len(drawn.value_counts()) == 4
    lasts = rows[rows["user_id"] != "base"].sort_values("position").groupby("user_id")["item_id"].last()
    assert lasts.to_dict() == drawn.to_dict()
    _, fewer = baskets(tmp_path, 300)
    assert fewer.to_dict() == drawn[fewer.index].to_dict()  # whoever else is in the data
    _, other = baskets(tmp_path, 300, seed=1)
    assert 0.1 < (other == fewer).mean() < 0.4


@pytest.mark.parametrize("least", [0, 1])
def test_what_is_held_out_decides_nothing_of_the_catalogue(tmp_path, least):
    """b2 is in nobody's training. Bought later or not, it is a candidate in both cases or in neither."""
    bought = {"a": "b0 b1 b4 b5", "c": "b4 b5 b0 b1", "d": "b0 b4 b1 b5", "e": "b1 b5 b0 b4", "late": "b0 b1 b4 {}"}
    for later, expected_test in (("b2", "b4" if least else "b2"), ("r1", "b4")):
        rows = [
            {"user": user, "item": item.format(later), "time": f"2024-01-0{day}"}
            for user, items in bought.items()
            for day, item in enumerate(f"r0 r1 {items}".split(), 1)
        ]
        shop = write(tmp_path, shop=(pd.DataFrame(rows), kinds("r0", "r1", "b0", "b1", "b2", "b3", "b4", "b5")))
        shop.config["data"]["min_interactions"]["item"] = least
        found = preprocess(shop)
        never = set() if least else {"b2", "b3"}
        assert set(found["items"]["item_id"]) == {"r0", "r1", "b0", "b1", "b4", "b5"} | never
        asked = found["cases"].query("split == 'test'").set_index("user_id")["item_id"]
        assert asked["late"] == expected_test
        removed = measured(found, "removed").get(("item not in training", "interactions"), 0)
        assert removed == (later == "b2") * least == list(reasons(found).values()).count(Reason.NOT_IN_TRAINING)


@pytest.mark.parametrize("by", ["rows", "order"])
def test_where_order_decides_earlier_rows_of_the_same_time_are_history(tmp_path, by):
    """Against a plain loop; the last of a basket is the last in the file, or by its order column."""
    rows, items = marked_rows(1)
    rows = rows.drop(columns="split").drop_duplicates(["user", "item"], ignore_index=True)
    if by == "order":
        rows["order"] = np.random.default_rng(2).permutation(len(rows))
    shop = write(tmp_path, shop=(rows, items))
    shop.config["split"] = {"ties": "order"}
    found = preprocess(shop)
    written, cases = found["interactions"], found["cases"].set_index(["user_id", "split"])
    rows = rows.merge(items[["item", "kind"]]).sort_values("order") if by == "order" else rows.merge(items)
    rows = rows.sort_values("time", kind="stable")
    given_at_once = 0
    for user, history in rows.groupby("user"):
        mine = written[written["user_id"] == user].sort_values("position")
        assert mine["item_id"].tolist() == history["item"].tolist()
        last = [place for place, kind in enumerate(history["kind"]) if kind == "book"][::-1]
        for name, place in zip(("test", "valid"), last, strict=False):
            assert cases.loc[(user, name), ["item_id", "history_length"]].tolist() == [
                history["item"].iloc[place],
                place,
            ]
            given_at_once += (history["time"].iloc[:place] == history["time"].iloc[place]).sum()
        trains = last[min(1, len(last) - 1)] if last else len(history)
        assert (mine["split"] == "train").sum() == trains
    assert given_at_once > 20, "history of the same day"
