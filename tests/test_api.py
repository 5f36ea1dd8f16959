"""A trained run from Python, as in a notebook."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
from facts import fails

import crossrec_cli
from crossrec_cli.errors import ArtifactError, ConfigError, InputError
from crossrec_cli.export import write


@pytest.fixture(scope="module")
def shop(pristine):
    """The planted shop, restored once: nothing here changes it but a search index."""
    shop, copy = pristine
    shutil.rmtree(shop.folder)
    shutil.copytree(copy, shop.folder, symlinks=True)
    return shop


@pytest.fixture(scope="module")
def run(shop):
    return crossrec_cli.open(shop.run_dir)


def of_command(crossrec, shop, *arguments: object) -> dict:
    done = crossrec(*arguments[:1], shop.path, *arguments[1:], "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_lists_are_those_of_the_command(run, shop, crossrec):
    lists = run.recommend(["jazz3", "metal7"])
    assert lists.groupby("user_id").size().to_dict() == {"jazz3": 5, "metal7": 5}
    theirs = of_command(crossrec, shop, "recommend", "--user", "jazz3")["lists"]["jazz3"]
    mine = lists[lists["user_id"] == "jazz3"]
    assert mine["item_id"].tolist() == [row["item_id"] for row in theirs]
    assert mine["because"].tolist() == [row["because"] for row in theirs]
    assert len(run.recommend(["jazz3"], k=2)) == 2
    assert len(run.recommend(["jazz3"])) == 5, "the other call's k is forgotten"


def test_a_history_stands_for_somebody_without_an_id(run):
    lists = run.recommend(history=["metal-record-1", "metal-record-2"])
    assert lists["item_id"].str.startswith("metal").all()
    assert (lists["user_id"] == "").all()
    assert len(run.recommend(history=["metal-record-1"], k=2)) == 2


def test_similar_items_audiences_and_searches_are_those_of_the_commands(run, shop, crossrec):
    theirs = pd.DataFrame(of_command(crossrec, shop, "similar", "jazz-book-2", "--k", "4")["similar"]["jazz-book-2"])
    mine = run.similar(["jazz-book-2"], k=4).drop(columns="item_id")
    pd.testing.assert_frame_equal(mine, theirs, check_dtype=False, rtol=1e-5)
    path = of_command(crossrec, shop, "audience", "jazz-book-2", "--size", "9")["path"]
    pd.testing.assert_frame_equal(run.audience(["jazz-book-2"], size=9), pd.read_parquet(path))
    assert run.audience(text="blues book", size=5)["user_id"].str.startswith("blues").all()
    results = of_command(crossrec, shop, "search", "jazz book", "--user", "jazz3")["found"]["results"]
    found = run.search("jazz book", "jazz3")
    assert found["item_id"].tolist() == [row["item_id"] for row in results]


def test_figures_are_those_of_evaluate(run, shop):
    pd.testing.assert_frame_equal(run.metrics, shop.table("evaluate", "metrics"))


def test_a_notebook_shows_what_there_is(run):
    html = run._repr_html_()
    assert "156" in html  # items
    assert "36" in html  # books


def test_a_config_file_and_an_export_open_too(shop, crossrec, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "write_graph", lambda path, *_: path.touch())  # test_export.py has one
    wanted = crossrec_cli.open(shop.run_dir).recommend(["jazz3"])["item_id"].tolist()
    assert crossrec_cli.open(shop.path).recommend(["jazz3"])["item_id"].tolist() == wanted
    assert len(crossrec_cli.open(str(shop.path), ["recommend.k=3"]).recommend(["jazz3"])) == 3
    assert crossrec("export", shop.path, tmp_path / "model").exit_code == 0
    assert crossrec_cli.open(tmp_path / "model").recommend(["jazz3"])["item_id"].tolist() == wanted


def test_what_is_wrong_is_told_in_one_line(run, tmp_path):
    with fails(ArtifactError, tmp_path):
        crossrec_cli.open(tmp_path)
    with fails(InputError, "nobody"):
        run.recommend(["nobody"])
    with fails(ConfigError, "history"):
        run.recommend()
    with fails(InputError, "gone"):
        run.similar(["gone"])
    for wrong in ({}, {"text": " "}, {"items": ["jazz-book-2"], "text": ""}, {"items": ["jazz-book-2"], "size": 0}):
        with fails(ConfigError):
            run.audience(**wrong)
    with fails(ConfigError, "k"):
        run.recommend(["jazz3"], k=0)


def test_one_id_may_stand_for_itself_and_one_named_twice_counts_once(run):
    assert run.recommend("jazz3")["user_id"].unique().tolist() == ["jazz3"]
    assert len(run.similar(["jazz-book-2", "jazz-book-2"], k=3)) == 3
