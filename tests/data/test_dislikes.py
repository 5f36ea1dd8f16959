"""Dislikes: events, ratings and returns that speak against an item."""

from __future__ import annotations

import pandas as pd
import pytest
from conftest import preprocess
from small import BASE, kinds, measured, reasons, table, write

from crossrec_cli.config.load import load_config
from crossrec_cli.errors import ConfigError

WORDS = {"buy": {}, "no": {"weight": -2.0}, "stars": {"at_least": 2, "disliked_up_to": 3}}
ROWS = """
    ann  r0  2024-02-01  buy    -  -
    ann  b0  2024-02-02  no     -  -
    ann  b1  2024-02-03  buy    -  -
    bob  r0  2024-02-01  buy    -  -
    bob  b0  2024-02-02  no     -  -
    bob  b0  2024-02-03  buy    -  -
    cat  r0  2024-02-01  buy    -  -
    cat  b0  2024-02-02  buy    -  -
    cat  b0  2024-02-03  no     -  -
    dan  r0  2024-02-01  stars  -  1
    dan  b0  2024-02-02  stars  -  3
    dan  b1  2024-02-03  stars  -  4
"""
RETURNS = """
    ann  r0  2024-02-01  buy  2   -
    ann  r0  2024-02-02  buy  -2  -
    bob  r0  2024-02-01  buy  2   -
    bob  r0  2024-02-02  buy  -1  -
"""


def verdicts(found: dict[str, pd.DataFrame], user: str) -> list[tuple[str, float, str]]:
    """A user's rows: item, weight, split."""
    rows = found["interactions"].query("user_id == @user")
    return list(zip(rows["item_id"], rows["weight"], rows["split"], strict=True))


def disliking(folder, rows=ROWS, events=WORDS, **data):
    base = table("user item time", BASE).assign(event="buy", quantity=None, rating=None)
    lines = pd.concat([base, table("user item time event quantity rating", rows)], ignore_index=True)
    shop = write(folder, shop=(lines, kinds("r0", "b0", "b1")))
    shop.config["data"]["platforms"][0]["interactions"]["events"] = events
    shop.config["data"] |= data
    return shop


def test_the_newest_opinion_of_an_item_is_the_one_that_stays_and_no_dislike_is_held_out(tmp_path):
    found = preprocess(disliking(tmp_path))
    assert verdicts(found, "ann") == [("r0", 1, "train"), ("b0", -2, "disliked"), ("b1", 1, "held_out")]
    assert verdicts(found, "bob") == [("r0", 1, "train"), ("b0", 1, "held_out")]
    assert verdicts(found, "cat") == [("r0", 1, "train"), ("b0", -2, "disliked")]
    assert verdicts(found, "dan") == [("b0", -1, "disliked"), ("b1", 1, "held_out")]
    assert [reason for reason in reasons(found).values() if "opinion" in reason] == ["a later opinion differs"] * 2
    cases = found["cases"].set_index("user_id")
    assert set(cases.index) & {"ann", "bob", "cat", "dan"} == {"ann", "bob", "dan"}
    assert cases.loc["ann", ["history_length", "target_history_length"]].tolist() == [2, 0]
    assert cases.loc["ann", "cold_user"]
    assert measured(found, "dislikes")["dislikes", None] == 3
    users = found["users"].set_index("user_id")["activity"]
    assert (users["ann"], users["cat"], users["dan"]) == (1, 1, 0)


def test_who_gives_all_back_disliked_it_where_the_config_says_so(tmp_path):
    rows = disliking(tmp_path, RETURNS, {"buy": {}}, clean={"returns": "dislike"})
    rows.config["data"]["platforms"][0]["interactions"]["columns"]["quantity"] = "quantity"
    found = preprocess(rows)
    assert verdicts(found, "ann") == [("r0", -1, "disliked")]
    assert verdicts(found, "bob") == [("r0", 1, "train")]


@pytest.mark.parametrize("repeats", ["strongest", "first", "last", "sum", "keep"])
def test_every_rule_for_repeats_leaves_dislikes_dislikes_and_age_only_shrinks_them(tmp_path, repeats):
    found = preprocess(disliking(tmp_path, repeats=repeats, half_life_days=10))
    rows = found["interactions"].query("user_id in ['ann', 'bob', 'cat', 'dan']")
    assert (rows["weight"] < 0).sum() == 3
    assert (rows["weight"].abs() <= 2).all()
    assert ((rows["weight"] < 0) == (rows["split"] == "disliked")).all()


@pytest.mark.parametrize(
    ("event", "problem"),
    [
        ({"weight": 0}, "weight"),
        ({"weight": -1, "returns": True}, "returns"),
        ({"weight": -1, "disliked_up_to": 2}, "disliked_up_to"),
    ],
)
def test_an_event_has_one_meaning(tmp_path, event, problem):
    shop = disliking(tmp_path, events={"buy": event})
    with pytest.raises(ConfigError, match=problem):
        load_config(shop.path)
