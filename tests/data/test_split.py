"""The split rules, checked against a plain loop over users on random data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import make_shop, preprocess
from facts import Heard, fails
from small import kinds, measured, reasons, table, write

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.job import Job
from crossrec_cli.config.load import load_config
from crossrec_cli.data.ledger import Reason
from crossrec_cli.errors import ConfigError, InputError
from crossrec_cli.models.histories import load_cases, load_histories
from crossrec_cli.stages import preprocess as stage


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


def marked_rows(seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Random purchases with ties in time, and what each is for: mostly as papers split, now and then in disorder."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame({"user": rng.integers(0, 60, 900).astype(str), "item": rng.integers(0, 80, 900).astype(str)})
    rows["time"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 20, len(rows)), unit="D")
    rows = rows.drop_duplicates(["user", "item", "time"], ignore_index=True)
    late = rows["time"] + pd.to_timedelta(rng.integers(-3, 4, len(rows)), unit="D")
    words = np.where(late < "2024-01-14", "train", np.where(late < "2024-01-17", "valid", "test")).astype(object)
    words[(words == "train") & (rng.random(len(rows)) < 0.3)] = None
    words[(words == "valid") & (rng.random(len(rows)) < 0.5)] = " validation"
    kind = ["book" if item % 4 == 0 else "record" for item in range(80)]
    items = pd.DataFrame({"item": map(str, range(80)), "title": "x", "kind": kind})
    return rows.assign(split=words), items


def warned(shop) -> list[str]:
    """What preprocess warns of."""
    report, out = Heard(), shop.folder / "out"
    out.mkdir()
    stage.run(Job(load_config(shop.path), {}, out, report, None))
    return report.warnings


def given(folder, seed: int = 0, **split):
    """A shop of those rows, split as the column says."""
    shop = write(folder, shop=marked_rows(seed))
    shop.config["split"] = {"strategy": "given", "column": "split", **split}
    shop.config["data"]["repeats"] = "keep"
    return shop


def marks_of(rows: pd.DataFrame, folder) -> pd.Series:
    """What the file says of each written row."""
    raw = pd.read_parquet(folder / "shop-interactions.parquet").rename(
        columns={"user": "user_id", "item": "item_id", "time": "timestamp", "split": "mark"}
    )
    raw["mark"] = raw["mark"].fillna("train").str.strip().replace("validation", "valid")
    return rows.merge(raw, how="left")["mark"]


@pytest.mark.parametrize("ties", ["strict", "order"])
def test_a_given_split_against_a_plain_loop(tmp_path, ties):
    found = preprocess(given(tmp_path, ties=ties))
    rows, cases = found["interactions"].assign(mark=marks_of(found["interactions"], tmp_path)), found["cases"]
    assert rows["split"].tolist() == rows["mark"].replace("test", "held_out").tolist()
    expected = []
    for user, history in rows.groupby("user_index"):
        for name in ("test", "valid"):
            asked = history[(history["domain"] == "target") & (history["mark"] == name)]
            if len(asked):
                first = asked.sort_values("position").iloc[0]
                before = history["timestamp"] < first["timestamp"]
                if ties == "order":
                    before = history["position"] < first["position"]
                expected += [(name, user, item, before.sum()) for item in asked["item_index"].unique()]
    named = cases[["split", "user_index", "item_index", "history_length"]]
    assert set(named.itertuples(index=False, name=None)) == set(expected)
    assert len(named) == len(expected)
    assert set(rows["mark"]) == {"train", "valid", "test"}
    assert not rows.query("domain == 'source' and mark == 'test'").empty, "nobody asks for these, and they do not train"


def test_what_a_given_split_lets_training_see_is_a_warning_with_its_count(tmp_path):
    shop = given(tmp_path)
    told = [warning for warning in warned(shop) if "split.column" in warning]
    rows, cases = (pd.read_parquet(shop.folder / f"out/{name}.parquet") for name in ("interactions", "cases"))
    expected = []
    for asked, mark in (("test", "train"), ("test", "valid"), ("valid", "train")):
        first = cases[cases["split"] == asked].groupby("user_index")["history_length"].first()
        late = rows[(rows["split"] == mark) & (rows["position"] >= rows["user_index"].map(first))]
        assert len(late), (asked, mark)
        expected.append(f"{len(late):,} {mark} rows of {late['user_index'].nunique():,} users")
    assert len(told) == 3
    assert all(any(count in warning for warning in told) for count in expected)


def test_a_given_split_without_a_leak_is_told_of_none(tmp_path):
    rows, items = marked_rows()
    rows["split"] = np.where(
        rows["time"] < "2024-01-14", "train", np.where(rows["time"] < "2024-01-17", "valid", "test")
    )
    shop = write(tmp_path, shop=(rows, items))
    shop.config["split"] = {"strategy": "given", "column": "split"}
    assert not [warning for warning in warned(shop) if "split.column" in warning]


def test_only_rows_marked_train_are_trained_on_wherever_they_stand(tmp_path):
    rows = table(
        "user item time split",
        """
        a r0 2024-01-01 train
        a b0 2024-01-02 test
        a r1 2024-01-03 train
        a b1 2024-01-04 valid
        a b2 2024-01-05
        b b0 2024-01-01
        """,
    )
    shop = write(tmp_path, shop=(rows, kinds("r0", "r1", "b0", "b1", "b2")))
    shop.config["split"] = {"strategy": "given", "column": "split"}
    assert not (shop.run_dir / "preprocess").exists()
    warned(shop)
    written = {
        name: parquet.read_table(shop.folder / f"out/{name}.parquet") for name in ("interactions", "items", "users")
    }
    ids = written["items"][c.ITEM_ID].to_pylist()
    trained = {}
    for validated in (False, True):
        histories = load_histories(*written.values(), [], validated=validated)
        starts = np.cumsum(histories.training.lengths)[:-1]
        trained[validated] = [[ids[item] for item in part] for part in np.split(histories.training.values, starts)]
        assert histories.train_lengths.tolist() == [1, 1], "so much comes before anything that is held out"
    assert trained == {False: [["r0", "r1", "b2"], ["b0"]], True: [["r0", "r1", "b1", "b2"], ["b0"]]}
    cases = parquet.read_table(shop.folder / "out/cases.parquet")
    asked = {name: load_cases(cases, name) for name in ("valid", "test")}
    assert {name: case.history_lengths.tolist() for name, case in asked.items()} == {"valid": [3], "test": [1]}


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_another_word_in_the_split_column_is_an_error_with_its_place(tmp_path, form):
    rows, _ = marked_rows()
    rows.loc[[41, 7], "split"] = "dev"
    shop = given(tmp_path)
    spec = shop.config["data"]["platforms"][0]["interactions"]
    if form == "csv":
        spec["path"] = spec["path"].replace("parquet", "csv")
        rows.to_csv(spec["path"], index=False)
    else:
        rows.to_parquet(spec["path"])
    with fails(InputError, spec["path"], "row 8", "'split'", "'dev'"):
        preprocess(shop)


def test_a_split_column_that_is_not_there_is_an_error_with_the_nearest(tmp_path):
    with fails(InputError, "shop-interactions.parquet", "'splt'", "split.column", "'split'"):
        preprocess(given(tmp_path, column="splt"))


def test_the_column_goes_with_the_strategy(tmp_path):
    for split in ({"strategy": "given"}, {"column": "split"}):
        shop = given(tmp_path)
        shop.config["split"] = split
        with fails(ConfigError, "split", "column", "strategy: given"):
            load_config(shop.path)


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
