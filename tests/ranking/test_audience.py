"""Audiences: who is likeliest to buy some items."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from facts import check_failed

from crossrec_cli.artifacts.files import AUDIENCE
from crossrec_cli.errors import ExitCode


def audience(crossrec, shop, *arguments: object) -> tuple[dict, pd.DataFrame]:
    done = crossrec("audience", shop.path, *arguments, "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    return document, pd.read_parquet(document["path"])


def buyers(shop, item: str) -> set[str]:
    rows = pd.read_parquet(shop.folder / "interactions.parquet")
    return set(rows.loc[rows["item"] == item, "user"])


def test_a_books_audience_is_of_its_taste_and_has_no_owner(trained, crossrec):
    document, table = audience(crossrec, trained, "metal-book-3", "--size", "30")
    assert document["path"] == str(trained.run_dir / AUDIENCE)
    assert len(table) == document["users"] == 30
    assert table["user_id"].str.startswith("metal").mean() > 0.9
    owners = buyers(trained, "metal-book-3")
    assert owners
    assert not owners & set(table["user_id"])
    assert document["owners_left_out"] == len(owners)
    assert table["score"].is_monotonic_decreasing
    assert document["expected_buyers"] == pytest.approx(table["score"].sum(), rel=1e-5)
    assert document["expected_lift"] > 1.5
    assert table["because"].str.len().min() > 10, "recommend.reasons is 3"


def test_less_than_one_expected_buyer_is_not_printed_as_none(trained, crossrec):
    printed = crossrec("audience", trained.path, "jazz-book-3", "--size", "1").output
    document, _ = audience(crossrec, trained, "jazz-book-3", "--size", "1")
    assert 0 < document["expected_buyers"] < 1
    assert f"{document['expected_buyers']:.3f} expected" in printed


def test_a_probability_is_that_of_the_users_list(trained, crossrec):
    _, table = audience(crossrec, trained, "jazz-book-3", "--size", "1")
    user, score = table.loc[0, ["user_id", "score"]]
    done = crossrec("recommend", trained.path, "--user", user, "--json", "--set", "recommend.k=36")
    (listed,) = [row for row in json.loads(done.stdout)["lists"][user] if row["item_id"] == "jazz-book-3"]
    assert score == pytest.approx(listed["score"], rel=1e-4)


def test_of_several_items_one_is_enough(trained, crossrec):
    parts = [audience(crossrec, trained, item, "--size", "500")[1] for item in ("jazz-book-3", "metal-book-3")]
    document, both = audience(crossrec, trained, "metal-book-3", "jazz-book-3", "--size", "500")
    single = [part.set_index("user_id")["score"] for part in parts]
    either = 1 - (1 - single[0]).mul(1 - single[1], fill_value=1)
    merged = both.set_index("user_id")["score"]
    np.testing.assert_allclose(merged, either[merged.index], rtol=1e-4)
    assert document["owners_left_out"] == len(buyers(trained, "jazz-book-3") & buyers(trained, "metal-book-3"))
    named = both.set_index("user_id")["item_id"]
    assert (named.filter(like="metal").iloc[:10] == "metal-book-3").all()
    assert set(named) == {"jazz-book-3", "metal-book-3"}


def test_a_text_finds_those_who_like_what_reads_alike(trained, crossrec):
    document, table = audience(crossrec, trained, "--text", "blues book", "--size", "30")
    assert table["user_id"].str.startswith("blues").mean() > 0.7
    assert table["item_id"].isna().all()
    assert document["owners_left_out"] == 0


def test_a_text_is_read_after_items_were_added(trained, crossrec):
    new = trained.folder / "new.parquet"
    pd.DataFrame({"item": ["n"], "kind": ["book"], "title": ["blues book new"]}).to_parquet(new)
    assert crossrec("items", "add", trained.path, new).exit_code == 0
    for what in (["--text", "blues book"], ["n"]):
        _, table = audience(crossrec, trained, *what, "--size", "30")
        assert table["user_id"].str.startswith("blues").mean() > 0.7


def test_where_it_cannot_be_written_nothing_is_left(trained, crossrec):
    (trained.folder / "folder.parquet").mkdir()
    for out in ("folder.parquet", "none/x.parquet", "x.csv"):
        failed = crossrec("audience", trained.path, "jazz-book-3", "--out", trained.folder / out)
        check_failed(failed, ExitCode.CONFIG, "--out")
    assert not [path for path in trained.folder.iterdir() if path.name[0] == "."]


@pytest.mark.parametrize("wrong", [[], ["jazz-book-3", "--text", "x"], ["--text", " "], ["jazz-book-3", "--size", "0"]])
def test_wrong_options_end_it(trained, crossrec, wrong):
    assert crossrec("audience", trained.path, *wrong).exit_code == ExitCode.CONFIG


def test_an_item_that_is_not_there_ends_it_and_leaves_the_last_audience(trained, crossrec):
    audience(crossrec, trained, "jazz-book-3")
    before = (trained.run_dir / AUDIENCE).read_bytes()
    check_failed(crossrec("audience", trained.path, "gone"), ExitCode.INPUT, "gone")
    assert (trained.run_dir / AUDIENCE).read_bytes() == before
