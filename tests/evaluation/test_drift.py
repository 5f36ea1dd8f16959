"""How far a run's data are from an earlier run's."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from facts import check_failed

from crossrec_cli.errors import ExitCode
from crossrec_cli.evaluation.drift import of_numbers, of_words


def words(**counts: int) -> pa.ChunkedArray:
    return pa.chunked_array([[word for word, count in counts.items() for _ in range(count)]])


def test_the_index_of_words_is_the_sum_over_all_words():
    found = of_words(words(a=6, b=4), words(a=2, b=8))
    assert found == pytest.approx(0.4 * np.log(3) - 0.4 * np.log(0.5))
    assert of_words(words(a=3, b=1), words(b=2, a=6)) == pytest.approx(0)


def test_a_word_that_was_not_there_before_is_large_and_finite():
    assert 0.25 < of_words(words(a=5, new=5), words(a=10)) < 10


def test_the_index_of_numbers_grows_as_they_move_and_ignores_their_number():
    random = np.random.default_rng(0)
    before = random.normal(size=20_000)
    found = [of_numbers(random.normal(shift, size=4_000), before) for shift in (0, 0.3, 1)]
    assert found == pytest.approx([0, 0.09, 1], abs=0.15), "of two normal distributions: the squared shift"
    assert sorted(found) == found


def test_numbers_that_are_missing_now_are_a_difference():
    before = np.arange(100.0)
    assert of_numbers(np.where(before < 50, np.nan, before), before) > 0.25


def test_a_run_has_not_drifted_from_itself(trained, crossrec):
    done = crossrec("data", "drift", trained.path, "--against", trained.run_dir, "--limit", "0", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert set(document["shares"].values()) == {0.0}
    assert set(document["stability_indices"].values()) == {0.0}


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
    expected = (p - q) * np.log(p / q) + (q - p) * np.log((1 - p) / (1 - q))
    assert document["stability_indices"]["categories of interactions"] == pytest.approx(expected, rel=1e-6)
    assert document["stability_indices"]["interactions of a user"] > 0.1
    failed = crossrec("data", "drift", trained.path, "--against", earlier, "--limit", "0.01")
    check_failed(failed, ExitCode.REGRESSION, "0.01")


def test_a_run_that_is_not_there_is_told(trained, crossrec, tmp_path):
    check_failed(crossrec("data", "drift", trained.path, "--against", tmp_path), ExitCode.ARTIFACT, tmp_path)
