"""What a user disliked, and what resembles it, in the lists."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from conftest import Shop, make_shop

DISLIKED = ["jazz-book-0", "jazz-book-1"]
QUICK = ("--set", "interest.scorers=[text, words, popularity, neighbours, linear]")


@pytest.fixture(scope="module")
def disliking(tmp_path_factory, tiny_bert) -> Shop:
    """The planted shop; each of two new users bought a metal record, and one of them dislikes two jazz books."""
    shop = make_shop(tmp_path_factory.mktemp("disliking"), tiny_bert)
    rows = pd.read_parquet(shop.folder / "interactions.parquet").assign(event="buy")
    late = pd.Timestamp("2024-06-01")
    bought = [
        {"user": user, "item": item, "time": late, "event": "buy"}
        for user in ("open", "cross")
        for item in ("metal-record-3", "jazz-record-4")
    ]
    said = [
        {"user": "cross", "item": item, "time": late + pd.Timedelta(days=1), "event": "not for me"} for item in DISLIKED
    ]
    pd.concat([rows, pd.DataFrame([*bought, *said])]).to_parquet(shop.folder / "interactions.parquet")
    interactions = shop.config["data"]["platforms"][0]["interactions"]
    interactions["columns"]["event"] = "event"
    interactions["events"] = {"buy": {}, "not for me": {"weight": -1}}
    shop.config["recommend"] |= {"k": 36}
    return shop


@pytest.fixture
def listed(disliking, crossrec):
    done = crossrec("run", disliking.path, *QUICK)
    assert done.exit_code == 0, done.output

    def lists(*more: str) -> dict[str, list[dict]]:
        users = [word for user in ("open", "cross") for word in ("--user", user)]
        return json.loads(crossrec("recommend", disliking.path, *QUICK, *users, *more, "--json").stdout)["lists"]

    return lists


def test_a_dislike_keeps_its_item_out_lowers_what_is_like_it_and_is_no_reason(listed):
    lists = listed()
    ranks = {user: {row["item_id"]: row["rank"] for row in rows} for user, rows in lists.items()}
    assert set(DISLIKED) < set(ranks["open"])
    assert not set(DISLIKED) & set(ranks["cross"])
    mean = {
        user: sum(rank for item, rank in rank_of.items() if item.startswith("jazz") and item not in DISLIKED)
        for user, rank_of in ranks.items()
    }
    assert mean["cross"] > mean["open"] + 10 * 5  # ten more jazz books, each some places lower
    named = {reason["item_id"] for row in lists["cross"] for reason in row["reasons"]}
    assert named and not named & set(DISLIKED)


def test_it_comes_again_if_asked_and_stays_away_where_what_was_bought_may_come(listed, disliking, crossrec):
    assert set(DISLIKED) < {row["item_id"] for row in listed("--set", "recommend.exclude_disliked=false")["cross"]}
    lists = listed("--set", "recommend.exclude_seen=false")
    assert not set(DISLIKED) & {row["item_id"] for row in lists["cross"]}
    why = crossrec("recommend", disliking.path, *QUICK, "--user", "cross", "--why-not", DISLIKED[0], "--json")
    assert "disliked" in json.loads(why.stdout)["why_not"]["reason"]


def test_a_dislike_since_the_data_were_read_counts_at_once(listed, tmp_path):
    events = pd.DataFrame({"user_id": ["open"], "item_id": ["jazz-book-5"], "event": ["not for me"]})
    events.to_csv(tmp_path / "events.csv", index=False)
    lists = listed("--events", str(tmp_path / "events.csv"))
    before, after = listed()["open"], lists["open"]
    assert "jazz-book-5" in {row["item_id"] for row in before}
    assert "jazz-book-5" not in {row["item_id"] for row in after}
    ranks = [
        sum(row["rank"] for row in rows if row["item_id"].startswith("jazz") and row["item_id"] != "jazz-book-5")
        for rows in (before, after)
    ]
    assert ranks[0] < ranks[1]
