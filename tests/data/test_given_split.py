"""A split that a column of the data gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import preprocess
from facts import Heard, fails
from small import kinds, table, write

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.job import Job
from crossrec_cli.config.load import load_config
from crossrec_cli.errors import ConfigError, InputError
from crossrec_cli.models.histories import load_cases, load_histories
from crossrec_cli.stages import preprocess as stage


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
