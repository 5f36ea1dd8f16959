"""How far a run's data are from an earlier run's."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from facts import check_failed, lacking, warns

from crossrec_cli.artifacts.store import Store
from crossrec_cli.errors import ExitCode
from crossrec_cli.evaluation.drift import of_numbers, of_words


def words(**counts: int) -> pa.ChunkedArray:
    return pa.chunked_array([[word for word, count in counts.items() for _ in range(count)]])


def test_the_index_of_words_is_the_sum_over_all_words():
    found = of_words(words(a=600, b=400), words(a=200, b=800)).stability_index
    by_chance = 1 / 1000 + 1 / 1000
    assert found == pytest.approx(0.4 * np.log(3) - 0.4 * np.log(0.5) - by_chance)
    assert of_words(words(a=3, b=1), words(b=2, a=6)).stability_index == pytest.approx(0)


def test_a_word_that_was_not_there_before_is_large_and_finite():
    assert 0.25 < of_words(words(a=50, new=50), words(a=100)).stability_index < 10


def test_the_index_of_numbers_grows_as_they_move_and_ignores_their_number():
    random = np.random.default_rng(0)
    before = random.normal(size=20_000)
    found = [of_numbers(random.normal(shift, size=4_000), before) for shift in (0, 0.3, 1)]
    assert found[:2] == pytest.approx([0, 0.09], abs=0.02), "of two normal distributions: the squared shift"
    assert found[2] == pytest.approx(1, abs=0.2)


def test_small_samples_of_one_distribution_have_not_drifted():
    random = np.random.default_rng(0)
    names = np.array([f"category {number}" for number in range(300)])
    now, before = (pa.chunked_array([random.choice(names, size).tolist()]) for size in (1_000, 50_000))
    assert of_words(now, before).stability_index < 0.1
    assert np.mean([of_numbers(random.normal(size=20), random.normal(size=20)) for _ in range(20)]) < 0.5


def test_counts_that_move_below_the_least_are_seen():
    before = np.full(1000, 5.0)
    assert of_numbers(np.full(1000, 3.0), before) > 1
    assert of_numbers(np.full(1000, 7.0), before) > 1
    assert of_numbers(before, before) == 0
    assert of_numbers(np.full(1000, np.nan), before) > 1, "all are missing"
    assert of_numbers(before, np.full(1000, np.nan)) > 1, "all were"


def test_numbers_that_are_missing_now_are_a_difference():
    before = np.arange(100.0)
    assert of_numbers(np.where(before < 50, np.nan, before), before) > 0.25


def test_a_run_has_not_drifted_from_itself(trained, crossrec):
    copy = trained.folder / "copy"
    shutil.copytree(trained.run_dir, copy, symlinks=True)
    done = crossrec("data", "drift", trained.path, "--against", copy, "--limit", "0", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert set(document["shares"].values()) == {0.0}
    assert {change["stability_index"] for change in document["distributions"].values()} == {0.0}
    assert all(before == now > 0 for before, now in document["sizes"].values())


def test_new_people_and_another_taste_are_seen(trained, crossrec):
    earlier = trained.folder / "earlier"
    shutil.copytree(trained.run_dir, earlier, symlinks=True)
    rows = pd.read_parquet(trained.folder / "interactions.parquet")
    new = rows[rows["user"].str.startswith("metal-reader")]
    new = new.assign(user="new-" + new["user"])
    rows = pd.concat([rows[~rows["user"].str.fullmatch(r"jazz\d+")], new])
    rows.to_parquet(trained.folder / "interactions.parquet")
    assert crossrec("preprocess", trained.path).exit_code == 0
    done = crossrec("data", "drift", trained.path, "--against", earlier, "--json")
    document = json.loads(done.stdout)
    assert document["shares"]["new users"] == pytest.approx(new["user"].nunique() / rows["user"].nunique())
    assert document["shares"]["interactions of new users"] == pytest.approx(len(new) / len(rows))
    assert document["shares"]["gone users"] == pytest.approx(40 / 180)
    kinds = rows["item"].str.contains("book")
    before = pd.read_parquet(earlier / "preprocess" / "current" / "interactions.parquet").merge(
        pd.read_parquet(earlier / "preprocess" / "current" / "items.parquet")
    )
    p, q = kinds.mean(), (before["category"] == "book").mean()
    expected = (p - q) * np.log(p / q) + (q - p) * np.log((1 - p) / (1 - q)) - 1 / len(rows) - 1 / len(before)
    categories = document["distributions"]["categories of interactions"]
    assert categories["stability_index"] == pytest.approx(expected, rel=1e-6)
    share = {"share of book": (q, p), "share of record": (1 - q, 1 - p)}[categories["figure"]]
    assert (categories["before"], categories["now"]) == pytest.approx(share)
    activity = document["distributions"]["interactions of a user"]
    assert activity["stability_index"] > 0.1
    assert activity["before"] == pytest.approx(len(before) / before["user_index"].nunique())
    assert activity["now"] == pytest.approx(len(rows) / rows["user"].nunique())
    assert document["sizes"]["interactions"] == [len(before), len(rows)]
    failed = crossrec("data", "drift", trained.path, "--against", earlier, "--limit", "0.01")
    check_failed(failed, ExitCode.REGRESSION, "0.01")
    own = json.loads(crossrec("data", "drift", trained.path, "--against", trained.run_dir, "--json").stdout)
    assert own["shares"] == document["shares"], "against itself: its artifact before"


def shop_without_jazz(trained) -> None:
    """Without those who buy jazz: fewer users, and other shares of the categories."""
    rows = pd.read_parquet(trained.folder / "interactions.parquet")
    rows[~rows["user"].str.fullmatch(r"jazz\d+")].to_parquet(trained.folder / "interactions.parquet")


def test_preprocess_compares_its_files_with_those_that_they_replace(trained, crossrec):
    first = Store(trained.run_dir).current("preprocess")
    assert "drift" not in first.manifest.summary
    assert "Drift" not in (first.path / "quality.html").read_text()
    shop_without_jazz(trained)
    done = crossrec("preprocess", trained.path, "--json", "--set", "drift.warn=0.01")
    assert done.exit_code == 0, done.output
    drift = json.loads(done.stdout)["stages"][0]["summary"]["drift"]
    own = json.loads(crossrec("data", "drift", trained.path, "--against", trained.run_dir, "--json").stdout)
    assert drift == own
    assert drift["sizes"]["users"] == [180, 140]
    name, change = max(drift["distributions"].items(), key=lambda pair: pair[1]["stability_index"])
    assert warns(done, name, "drift.warn", f"{change['before']:.4g}", f"{change['now']:.4g}")
    page = (trained.run_dir / "preprocess" / "current" / "quality.html").read_text()
    assert not lacking(page, name, f"{change['stability_index']:.3f}", 180, 140)


def test_files_that_differ_too_much_do_not_take_the_place_of_those_before(trained, crossrec):
    store = Store(trained.run_dir)
    before = store.current("preprocess").path
    shop_without_jazz(trained)
    failed = crossrec("run", trained.path, "--json", "--set", "drift.fail=0.01")
    check_failed(failed, ExitCode.REGRESSION, "drift.fail", 0.01)
    assert json.loads(failed.stdout)["against"]["sizes"]["users"] == [180, 140]
    assert store.current("preprocess").path == before
    assert [path.name for path in before.parent.iterdir() if path.name.startswith(".")] == []
    accepted = crossrec("preprocess", trained.path, "--set", "drift.fail=null", "--set", "drift.warn=null")
    assert accepted.exit_code == 0
    assert not warns(accepted, "drift")
    assert store.current("preprocess").path != before


def test_recommend_compares_scores_and_the_page_shows_them(trained, crossrec):
    again = ("--set", "recommend.exclude_seen=false")
    done = crossrec("recommend", trained.path, "--json", *again)
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)["stages"][0]["summary"]["drift"]
    now, before = (
        pd.read_parquet(store.file("recommend/recommendations.parquet")).query("rank == 1")["score"]
        for store in (Store(trained.run_dir).current("recommend"), Store(trained.run_dir).previous("recommend"))
    )
    change = summary["distributions"]["scores of the first entry"]
    assert change["stability_index"] == pytest.approx(of_numbers(*(one.to_numpy(np.float64) for one in (now, before))))
    assert (change["before"], change["now"]) == pytest.approx((before.mean(), now.mean()))
    assert crossrec("evaluate", trained.path).exit_code == 0
    page = (trained.run_dir / "report.html").read_text()
    assert not lacking(page, "scores of the first entry", f"{change['stability_index']:.3f}", f"{change['now']:.4g}")
    failed = crossrec("recommend", trained.path, "--set", "drift.fail=0")
    check_failed(failed, ExitCode.REGRESSION, "drift.fail")


def test_a_run_that_is_not_there_is_told(trained, crossrec, tmp_path):
    check_failed(crossrec("data", "drift", trained.path, "--against", tmp_path), ExitCode.ARTIFACT, tmp_path)
    itself = crossrec("data", "drift", trained.path, "--against", trained.run_dir)
    check_failed(itself, ExitCode.ARTIFACT, trained.run_dir)
