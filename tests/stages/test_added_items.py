"""Items that came after training: ``crossrec items add``."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from facts import check_failed, warns

from crossrec_cli.artifacts.files import RECOMMEND
from crossrec_cli.config.load import load_config
from crossrec_cli.data.items_file import MOVED
from crossrec_cli.errors import ExitCode
from crossrec_cli.pipeline.current import inputs_of
from crossrec_cli.text.transformer import TransformerEncoder


def new_items(shop, *rows: tuple[str, str, str], name: str = "new.parquet"):
    """A file of (item, kind, title)."""
    path = shop.folder / name
    pd.DataFrame(rows, columns=["item", "kind", "title"]).to_parquet(path)
    return path


def ranks(shop, crossrec, item: str, *more: object) -> dict[str, int]:
    """The place of an item in everybody's list, of those who have it there."""
    assert crossrec("recommend", shop.path, *more).exit_code == 0
    lists = shop.table("recommend", "recommendations")
    return lists[lists["item_id"] == item].set_index("user_id")["rank"].to_dict()


def test_a_new_book_reaches_those_whose_taste_it_is(trained, crossrec):
    done = crossrec(
        "items", "add", trained.path, new_items(trained, ("metal-new", "book", "metal book live 7")), "--json"
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["summary"]["new"] == {"source": 0, "target": 1}
    places = ranks(trained, crossrec, "metal-new", "--set", "recommend.k=100")
    people = {taste: [place for user, place in places.items() if user.startswith(taste)] for taste in ("metal", "jazz")}
    assert np.mean([place <= 12 for place in people["metal"]]) > 0.9  # there are 12 metal books in the catalogue
    assert np.mean([place > 8 for place in people["jazz"]]) > 0.9  # and 8 jazz books that each of them lacks
    shown = json.loads(
        crossrec("recommend", trained.path, "--set", "recommend.k=12", "--user", "metal3", "--json").stdout
    )
    assert "metal-new" in [row["item_id"] for row in shown["lists"]["metal3"]]


def test_the_scores_of_the_others_stay_what_they_were(trained, crossrec):
    wide = ("--set", "recommend.k=100", "--set", "recommend.reasons=0")
    crossrec("recommend", trained.path, *wide)
    before = trained.table("recommend", "recommendations").set_index(["user_id", "item_id"])["score"]
    new = [
        (f"{taste}-new{number}", "book", f"{taste} book {number}") for taste in ("jazz", "metal") for number in range(9)
    ]
    crossrec("items", "add", trained.path, new_items(trained, *new))
    crossrec("recommend", trained.path, *wide)
    after = trained.table("recommend", "recommendations").set_index(["user_id", "item_id"])["score"]
    assert len(after) > len(before)
    pd.testing.assert_series_equal(after[before.index], before, rtol=1e-5)


def test_additions_gather_and_the_latest_word_on_an_item_counts(trained, crossrec, monkeypatch):
    read, embed = [], TransformerEncoder.embed
    monkeypatch.setattr(
        TransformerEncoder, "embed", lambda self, texts, advance: [read.extend(texts), embed(self, texts, advance)][1]
    )
    first = new_items(trained, ("metal-new", "book", "metal book live"), ("other", "book", "blues book old"))
    crossrec("items", "add", trained.path, first)
    again = new_items(
        trained, ("metal-new", "book", "jazz book rare"), ("third", "record", "metal record red"), name="b.parquet"
    )
    summary = json.loads(crossrec("items", "add", trained.path, again, "--json").stdout)["summary"]
    assert summary["new"] == {"source": 1, "target": 0}
    assert summary["existing"] == {"source": 0, "target": 1}
    assert summary["changed"] == {"text": 1}
    assert summary["added_in_all"] == 3
    assert read[2:] == ["jazz book rare", "metal record red"]  # those of the first file are not read again
    table = trained.table("added-items", "added_items").set_index("item_id")
    assert table["text"].to_dict() == {
        "other": "blues book old",
        "metal-new": "jazz book rare",
        "third": "metal record red",
    }
    assert table["domain"]["third"] == "source"
    found = ranks(trained, crossrec, "metal-new", "--set", "recommend.k=12")
    assert any(user.startswith("jazz") for user in found)
    assert "third" not in set(trained.table("recommend", "recommendations")["item_id"])


def test_search_rules_events_and_why_not_know_it(trained, crossrec):
    crossrec("items", "add", trained.path, new_items(trained, ("metal-new", "book", "metal book studio 99")))
    found = json.loads(crossrec("search", trained.path, "metal book studio 99", "--json").stdout)["found"]["results"]
    assert found[0]["item_id"] == "metal-new"
    told = crossrec("recommend", trained.path, "--user", "jazz3", "--why-not", "metal-new").stdout
    assert re.fullmatch(r"metal-new for jazz3: .*\b\d+(st|nd|rd|th)\b.*\n", told), "it has a place"
    (trained.folder / "stock.csv").write_text("item_id\nmetal-new\njazz-book-1\n")
    stock = ("--set", f"recommend.rules.in_stock={trained.folder / 'stock.csv'}")
    assert ranks(trained, crossrec, "metal-new", *stock)["metal3"] == 1
    (trained.folder / "events.csv").write_text("user_id,item_id\nnobody-yet,metal-new\n")
    done = crossrec("recommend", trained.path, "--events", trained.folder / "events.csv", "--user", "nobody-yet")
    assert not warns(done, "recommend.events")
    assert "metal book" in done.stdout.splitlines()[1]


def test_what_a_file_says_of_the_catalogue_changes_what_is_shown_and_no_score(trained, crossrec):
    before = trained.table("recommend", "recommendations").set_index(["user_id", "item_id"])
    rows = (
        ("metal-book-1", "book", "metal book studio 98"),
        ("jazz-book-1", "book", None),
        ("metal-book-2", "record", "metal book moved"),
        ("x", "book", None),
        ("y", "toy", "metal toy"),
    )
    done = crossrec("items", "add", trained.path, new_items(trained, *rows), "--json")
    summary = json.loads(done.stdout)["summary"]
    assert (summary["new"], summary["existing"]["target"]) == ({"source": 1, "target": 0}, 3)
    assert summary["changed"] == {"text": 1}
    assert (summary["added_in_all"], summary["changed_in_all"]) == (1, 1)
    assert {why: count for why, count in summary["left_out"].items() if count} == {MOVED: 1, "item without text": 1}
    assert crossrec("recommend", trained.path).exit_code == 0
    after = trained.table("recommend", "recommendations").set_index(["user_id", "item_id"])
    assert after["score"].equals(before["score"])
    assert set(after.loc[after.index.get_level_values(1) == "metal-book-1", "text"]) == {"metal book studio 98"}
    others = after.index.get_level_values(1) != "metal-book-1"
    assert after.loc[others, "text"].equals(before.loc[others, "text"])
    again = crossrec("items", "add", trained.path, new_items(trained, rows[0]), "--json")
    summary = json.loads(again.stdout)["summary"]
    assert (summary["changed"], summary["changed_in_all"]) == ({}, 1)


def test_after_training_anew_additions_are_passed_over_with_a_warning(trained, crossrec):
    new = ("metal-new", "book", "metal book live")
    crossrec("items", "add", trained.path, new_items(trained, new))
    items = pd.read_parquet(trained.folder / "items.parquet")
    items.loc[items["item"] == "jazz-book-1", "title"] = "jazz book green"
    items.to_parquet(trained.folder / "items.parquet")
    done = crossrec("run", trained.path, "--set", "adapt.epochs=1", "--set", "finetune.epochs=1")
    assert done.exit_code == 0, done.output
    assert done.stderr.count("crossrec items add") == 1
    assert warns(done, "finetune/fusion.parquet", "crossrec items add", trained.run_dir / "added-items")
    config = load_config(trained.path, ["adapt.epochs=1", "finetune.epochs=1"])
    assert "added-items/added_items.parquet" not in inputs_of(config, RECOMMEND)


@pytest.mark.parametrize(
    ("arguments", "code", "facts"),
    [
        (["nowhere.parquet"], ExitCode.INPUT, ["nowhere.parquet"]),
        (["bad.csv"], ExitCode.INPUT, ["bad.csv", "'item'", "data.platforms[0].items.columns.item_id"]),
        (["new.parquet", "--platform", "mall"], ExitCode.CONFIG, ["--platform", "'mall'", "shop"]),
        (["new.parquet", "--set", "adapt.epochs=9"], ExitCode.ARTIFACT, ["adapt.epochs", "crossrec pretrain-adapt"]),
    ],
)
def test_wrong_files_add_nothing(trained, crossrec, monkeypatch, arguments, code, facts):
    monkeypatch.chdir(trained.folder)
    new_items(trained, ("metal-new", "book", "metal book live"))
    (trained.folder / "bad.csv").write_text("sku,kind,title\n1,book,jazz\n")
    check_failed(crossrec("items", "add", trained.path, *arguments), code, *facts)
    assert not (trained.run_dir / "added-items").exists()
