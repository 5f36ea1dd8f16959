"""recommend.rules through the real command, on the planted shop."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Shop, make_shop
from facts import check_failed, lacking, warns
from typer.testing import CliRunner

from crossrec_cli.cli import app
from crossrec_cli.errors import ExitCode


def stages_that_ran(output: str) -> list[str]:
    return [stage["stage"] for stage in json.loads(output)["stages"] if stage["ran"]]


def rules(**more: object) -> list[str]:
    """``--set`` for each of recommend.rules."""
    return [word for key, value in more.items() for word in ("--set", f"recommend.rules.{key}={json.dumps(value)}")]


def listing(folder: Path, name: str, items: list[str], **more: list[object]) -> str:
    path = folder / name
    pd.DataFrame({"item_id": items} | more).to_csv(path, index=False)
    return str(path)


def ruled(trained: Shop, crossrec, **more: object) -> tuple[pd.DataFrame, dict]:
    """The lists under some rules, and what the stage says of them."""
    done = crossrec("recommend", trained.path, "--json", *rules(**more))
    assert done.exit_code == 0, done.output
    return trained.table("recommend", "recommendations"), json.loads(done.stdout)["stages"][0]["summary"]


def test_without_rules_nothing_is_said_of_them_and_rules_that_take_nothing_change_nothing(trained, crossrec):
    before = trained.table("recommend", "recommendations")
    assert "rules" not in crossrec("recommend", trained.path, "--force").stdout
    assert trained.table("recommend", "recommendations").equals(before)
    lists, summary = ruled(trained, crossrec, min_score=0.0, diversity=0.0, per_category=5, price={"min": None})
    assert lists.equals(before)
    assert summary["items_kept_out"] == {}
    assert set(summary["places_kept_out"].values()) - {summary["places_kept_out"]["bought"]} == {0}


def test_stock_allow_and_block_lists_decide_what_is_recommended(trained, crossrec):
    books = [f"{taste}-book-{number}" for taste in ("jazz", "metal", "blues") for number in range(12)]
    stock = listing(trained.folder, "stock.csv", [*books[:30], "jazz-record-1"])
    allow = listing(trained.folder, "allow.csv", books[6:])
    block = listing(trained.folder, "block.csv", [*books[:12], "no-such-thing"])
    trained.config["recommend"]["k"] = 36
    lists, summary = ruled(trained, crossrec, in_stock=stock, allow=allow, block=block)
    assert set(lists["item_id"]) == set(books[12:30])
    assert summary["items_kept_out"] == {"in_stock": 6, "allow": 6, "block": 6}, "each book counts once"
    done = crossrec("recommend", trained.path, *rules(in_stock=stock, allow=allow, block=block), "--force")
    assert warns(done, "recommend.rules.block", "1 of 13")
    assert re.search(r"in_stock +6 *\n", done.stdout)


def test_rules_leave_in_what_was_bought_where_exclude_seen_is_off(trained, crossrec):
    trained.config["recommend"] |= {"k": 36, "exclude_seen": False}
    block = listing(trained.folder, "block.csv", ["jazz-book-1"])
    lists, summary = ruled(trained, crossrec, block=block)
    assert (lists.groupby("user_id").size() == 35).all()
    assert summary["places_kept_out"]["bought"] == 0


def test_a_rules_file_with_other_bytes_runs_the_stage_again(trained, crossrec):
    block = listing(trained.folder, "block.csv", ["jazz-book-1"])
    command = ["run", trained.path, "--json", *rules(block=block)]
    assert stages_that_ran(crossrec(*command).stdout) == ["recommend"]
    assert stages_that_ran(crossrec(*command).stdout) == []
    listing(trained.folder, "block.csv", ["jazz-book-2"])
    assert stages_that_ran(crossrec(*command).stdout) == ["recommend"]


@pytest.fixture(scope="module")
def varied(tmp_path_factory, tiny_bert) -> Shop:
    """The planted shop, trained, its books with brands, prices and a category for each taste; nobody bought three."""
    shop = make_shop(tmp_path_factory.mktemp("varied"), tiny_bert)
    path = shop.folder / "items.parquet"
    new = [
        {"item": f"new-book-{n}", "kind": "book", "title": f"{taste} book rare {50 + n}"}
        for n, taste in enumerate(("jazz", "metal", "blues"))
    ]
    items = pd.concat([pd.read_parquet(path), pd.DataFrame(new)], ignore_index=True)
    book = items["kind"] == "book"
    taste = items["title"].str.partition(" ")[0]
    items["kind"] = np.where(book, "book > " + taste + " > paper", items["kind"])
    for name, values in {"brand": ["a", "a", "a", "b", "c", None], "price": [10.0, 20.0, 30.0, None]}.items():
        items[name] = None
        items.loc[book, name] = [values[i % len(values)] for i in range(int(book.sum()))]
        shop.config["data"]["platforms"][0]["items"]["columns"][name] = name
    items.to_parquet(path)
    done = CliRunner().invoke(app, ["run", str(shop.path)])
    assert done.exit_code == 0, done.output
    return shop


def test_prices_in_the_range_alone_are_shown_and_brands_share_the_list(varied, crossrec):
    items = varied.table("preprocess", "items").set_index("item_id")
    lists, summary = ruled(varied, crossrec, price={"min": 10, "max": 20})
    assert set(lists["item_id"].map(items["price"])) == {10.0, 20.0}
    assert summary["items_kept_out"] == {"price": 19}, "30 and those without a price"
    lists, summary = ruled(varied, crossrec, per_brand=1)
    brands = lists.assign(brand=lists["item_id"].map(items["brand"])).groupby("user_id")["brand"]
    assert brands.value_counts().max() == 1
    assert brands.apply(lambda column: column.isna().sum()).max() > 1, "no brand is no brand in common"
    assert summary["places_kept_out"]["per_brand"] > 0


def test_a_category_is_told_where_the_target_divides(varied, crossrec):
    """All target items lie below book, so that the level below it is what a list should not be full of."""
    items = varied.table("preprocess", "items").set_index("item_id")
    lists, summary = ruled(varied, crossrec, per_category=2)
    tastes = lists["item_id"].map(items["category"]).groupby(lists["user_id"]).value_counts()
    assert tastes.max() == 2
    assert (lists.groupby("user_id").size() == 5).all()
    assert summary["places_kept_out"]["per_category"] > 0
    done = crossrec("recommend", varied.path, *rules(per_category=2), "--user", "new", "--why-not", "jazz-book-11")
    [line] = done.stdout.splitlines()
    kept_out, listed = not lacking(line, 2, "category book > jazz"), re.search(r"place [12]$", line)
    assert kept_out or listed, line


def test_what_was_bought_long_ago_may_come_again(trained, crossrec):
    """The newest purchases are of day 23; the readers bought their four books on days 0 to 3."""
    trained.config["data"]["repeats"] = "last"
    assert crossrec("run", trained.path).exit_code == 0
    owned = trained.table("preprocess", "interactions")
    names = trained.table("preprocess", "users").set_index("user_index")["user_id"]
    items = trained.table("preprocess", "items").set_index("item_index")["item_id"]
    age = (owned["timestamp"].max() - owned["timestamp"]).dt.days
    bought = set(zip(owned["user_index"].map(names), owned["item_index"].map(items), age, strict=True))
    trained.config["recommend"]["k"] = 36
    lists, _ = ruled(trained, crossrec, rebuy_after_days=21)
    shown = set(zip(lists["user_id"], lists["item_id"], strict=True))
    again = {days for user, item, days in bought if (user, item) in shown}
    hidden = {days for user, item, days in bought if (user, item) not in shown and "book" in item}
    assert min(again) == 22
    assert max(hidden) == 21
    today = trained.folder / "today.csv"
    today.write_text("user_id,item_id\nmetal-reader0,jazz-book-0\n")
    why = ("--user", "metal-reader0", "--why-not", "jazz-book-0", "--events", today)
    done = crossrec("recommend", trained.path, *rules(rebuy_after_days=21), *why)
    assert not lacking(done.stdout, "jazz-book-0", "metal-reader0", "recommend.rules.rebuy_after_days", 21)


def test_the_least_score_and_boosts_as_odds(trained, crossrec):
    before = trained.table("recommend", "recommendations")
    least = float(before["score"].median())
    lists, summary = ruled(trained, crossrec, min_score=least)
    assert lists["score"].min() >= least
    assert len(lists) == (before["score"] >= least).sum() == len(before) - summary["places_kept_out"]["min_score"]
    new = before[before["user_id"] == "new"].set_index("rank")
    first, second = ((new.loc[rank, "score"] / (1 - new.loc[rank, "score"])) for rank in (1, 2))
    for push, expected in ((1.02, 1), (0.98, 2)):
        file = listing(trained.folder, "boosts.csv", [new.loc[2, "item_id"]], factor=[push * first / second])
        lists, _ = ruled(trained, crossrec, boosts=file)
        mine = lists[lists["user_id"] == "new"].set_index("item_id")
        assert mine.loc[new.loc[2, "item_id"], "rank"] == expected
        assert mine.loc[new.loc[2, "item_id"], "score"] == pytest.approx(new.loc[2, "score"]), "still a probability"


def test_diversity_brings_other_tastes_into_a_list(trained, crossrec):
    def tastes(lists: pd.DataFrame) -> float:
        return lists["item_id"].str.partition("-")[0].groupby(lists["user_id"]).nunique().mean()

    before = trained.table("recommend", "recommendations")
    lists, summary = ruled(trained, crossrec, diversity=0.8)
    assert tastes(lists) > tastes(before) + 0.5
    assert summary["places_kept_out"]["diversity"] == len(
        before.merge(lists, how="left", indicator=True, on=["user_id", "item_id"]).query("_merge == 'left_only'")
    )
    firsts = [table[table["rank"] == 1].reset_index(drop=True)["item_id"] for table in (before, lists)]
    assert firsts[0].equals(firsts[1]), "the best stays the best"


def test_new_items_have_so_many_places(trained, varied, crossrec):
    found = crossrec("recommend", trained.path, *rules(new_items=1))
    assert warns(found, "recommend.rules.new_items")
    assert varied.table("preprocess", "items")["item_id"].str.startswith("new-book").sum() == 3

    def new_in(lists: pd.DataFrame) -> pd.Series:
        return lists["item_id"].str.startswith("new-book").groupby(lists["user_id"]).sum()

    without = new_in(ruled(varied, crossrec)[0])
    assert without.min() < 3
    for places in (1, 2, 3):
        lists, summary = ruled(varied, crossrec, new_items=places)
        assert new_in(lists).equals(without.clip(lower=places)), "no more than are missing"
        assert (lists.groupby("user_id").size() == 5).all()
        assert summary["places_kept_out"]["new_items"] == (places - without).clip(lower=0).sum()


@pytest.mark.parametrize(
    ("item", "facts"),
    [
        ("jazz-book-99", []),
        ("jazz-record-1", ["category", "record"]),
        ("blues-book-1", [36, 5]),
    ],
)
def test_why_not_says_what_kept_an_item_out(trained, crossrec, item, facts):
    done = crossrec("recommend", trained.path, "--user", "new", "--why-not", item)
    assert done.exit_code == 0, done.output
    [line] = done.stdout.splitlines()
    assert line.startswith(f"{item} for new: ")
    reason = line.removeprefix(f"{item} for new: ")
    assert not lacking(reason, *facts)
    assert bool(re.search(r"\d+(st|nd|rd|th)", reason)) == (item == "blues-book-1"), "what is ranked has a place"


def test_why_not_names_the_rule(trained, crossrec):
    def why(user: str, item: str, **more: object) -> str:
        done = crossrec("recommend", trained.path, "--json", "--user", user, "--why-not", item, *rules(**more))
        return json.loads(done.stdout)["why_not"]["reason"]

    before = trained.table("recommend", "recommendations").query("user_id == 'new'").set_index("rank")
    first, second, score = before.loc[1, "item_id"], before.loc[2, "item_id"], before.loc[2, "score"]
    block = listing(trained.folder, "block.csv", [first])
    stock = listing(trained.folder, "stock.csv", [second])
    owned = trained.table("preprocess", "interactions").query("original_user_id == 'jazz1'").iloc[-1]
    assert not lacking(why("new", second), 2)
    assert not lacking(why("new", first, block=block), "recommend.rules.block")
    assert not lacking(why("new", first, in_stock=stock), "recommend.rules.in_stock")
    assert not lacking(why("new", second, min_score=0.9), f"{score:.2g}", "recommend.rules.min_score")
    assert not lacking(why("jazz1", owned["original_item_id"]), f"{owned['timestamp']:%Y-%m-%d}")
    assert not lacking(why("new", second, per_category=1), "2nd", 36, 1, "category book")
    told = [why("new", item, diversity=0.9) for item in before["item_id"]]
    assert any(re.search(r"\w-book-\d+ .*recommend\.rules\.diversity", one) for one in told), told
    factors = listing(trained.folder, "boosts.csv", [first], factor=[1e-6])
    assert not lacking(why("new", first, boosts=factors), "36th", 36, 5)


def test_why_not_needs_one_user_who_is_there(trained, crossrec):
    ask = ("recommend", trained.path, "--why-not", "jazz-book-1")
    check_failed(crossrec(*ask), ExitCode.CONFIG, "--why-not", "--user")
    check_failed(crossrec(*ask, "--user", "nobody"), ExitCode.INPUT, "--user", "'nobody'")


@pytest.mark.parametrize(
    ("chosen", "content", "facts", "code"),
    [
        ({"in_stock": "no.csv"}, "", ["recommend.rules.in_stock", "no.csv"], ExitCode.INPUT),
        ({"allow": "x.csv"}, "item\n1\n", ["recommend.rules.allow", "x.csv", "'item_id'", "item"], ExitCode.INPUT),
        ({"allow": "x.csv"}, "item_id\nother\n", ["allow 36"], ExitCode.INPUT),
        ({"price": {"max": 5}}, "", ["price 36"], ExitCode.INPUT),
        ({"boosts": "x.csv"}, "item_id,factor\njazz-book-1,0\n", ["jazz-book-1", "factor", 0], ExitCode.INPUT),
        ({"boosts": "x.csv"}, "item_id,factor\njazz-book-1,a\n", ["row 1", "factor", "'a'"], ExitCode.INPUT),
        ({"boosts": "x.csv"}, "item_id,factor\njazz-book-1,2\njazz-book-1,3\n", ["jazz-book-1"], ExitCode.INPUT),
        ({"rebuy_after_days": 5}, "", ["rebuy_after_days", "data.repeats: last", "keep"], ExitCode.CONFIG),
        ({"new_items": 6}, "", ["new_items", 6, "k (5)"], ExitCode.CONFIG),
        ({"price": {"min": 5, "max": 4}}, "", ["price", "min", "max"], ExitCode.CONFIG),
        ({"diversity": 1.5}, "", ["recommend.rules.diversity", 1.5, 1], ExitCode.CONFIG),
        ({"per_catgory": 1}, "", ["'per_catgory'", "'per_category'"], ExitCode.CONFIG),
    ],
)
def test_rules_that_cannot_be_followed_say_why_and_leave_the_lists(
    chosen, content, facts, code, trained, crossrec, monkeypatch
):
    monkeypatch.chdir(trained.folder)
    if content:
        Path("x.csv").write_text(content)
    before = sorted(trained.run_dir.rglob("*"))
    done = crossrec("recommend", trained.path, *rules(**chosen))
    check_failed(done, code, *facts)
    assert len([line for line in done.stderr.splitlines() if "warning" not in line]) == 1
    assert sorted(trained.run_dir.rglob("*")) == before
