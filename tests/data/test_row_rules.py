"""Rows that say the same, take each other back, are too many or too late."""

from __future__ import annotations

import pandas as pd
import pytest
from small import days_of, kinds, planned, reasons, ruled, table, with_base, write

RETURNS = """
    base  r0  2024-01-01  buy     1
    base  b0  2024-01-02  buy     1
    base  b1  2024-01-03  buy     1
    all   r0  2024-02-01  buy     2
    all   r0  2024-02-05  buy    -2
    some  r0  2024-02-01  buy     3
    some  r0  2024-02-05  buy    -1
    word  r0  2024-02-01  buy     -
    word  r0  2024-02-05  refund  -
    view  r0  2024-02-01  view    -
    view  r0  2024-02-02  buy     1
    view  r0  2024-02-05  refund  1
    soon  r0  2024-02-01  buy     2
    soon  r0  2024-02-01  buy    -1
    none  r0  2024-02-01  buy     0
    back  r0  2024-02-01  refund  1
"""
RETURNING = {"cancel": {5, 7, 9, 12, 14, 16, 4, 8, 10, 11}, "drop": {5, 7, 9, 12, 14, 16}, "keep": set()}


@pytest.mark.parametrize("returns", RETURNING)
def test_a_return_takes_its_purchase_along_or_goes_alone_or_stays(tmp_path, returns):
    rows = table("user item time event quantity", RETURNS)
    shop = write(tmp_path, shop=(rows, kinds("r0", "b0", "b1")))
    events = {"view": {"weight": 0.1}, "buy": {}, "refund": {"returns": True}}
    shop.config["data"]["platforms"][0]["interactions"]["events"] = events
    shop.config["data"]["repeats"] = "keep"
    shop.config["data"]["clean"]["returns"] = returns
    found = ruled(shop)
    taken = RETURNING[returns]
    back = {row for row in taken if row in RETURNING["drop"]}
    expected = {row: "a return" if row in back else "returned" for row in taken}
    assert reasons(found) == expected | {15: "quantity zero"}
    left = set(rows["user"]) - {"none"}
    if returns != "keep":
        left -= {"back"}
    if returns == "cancel":
        left -= {"all", "word", "view"}
    assert set(found["interactions"]["user_id"]) == left


def test_strongest_of_what_is_left_when_returns_are_cancelled_is_no_return(tmp_path):
    """A return that weighs the most must not stand for the purchase."""
    more = "ann r0 2024-02-01 buy\n ann r0 2024-02-02 buy\n ann r0 2024-02-03 refund"
    shop = with_base(tmp_path, "event", more, event="buy")
    events = {"buy": {}, "refund": {"weight": 5.0, "returns": True}}
    shop.config["data"]["platforms"][0]["interactions"]["events"] = events
    found = ruled(shop)
    assert days_of(found, "ann") == [(1, 1.0)]
    assert reasons(found) == {5: "repeat of user and item", 6: "a return"}


CLICKS = """
    ann  r0  2024-02-01T10:00:00
    ann  r0  2024-02-01T10:00:05
    ann  r1  2024-02-01T10:00:06
    bob  r0  2024-02-01T10:00:00
    bob  r0  2024-02-01T10:00:05.000001
    cat  r0  2024-02-01T10:00:00
    cat  r0  2024-02-01T10:00:04
    cat  r0  2024-02-01T10:00:08
"""


def test_a_double_click_is_what_follows_within_so_many_seconds_the_last_one_counted(tmp_path):
    shop = planned(tmp_path, CLICKS, near_duplicates=5)
    shop.config["data"]["repeats"] = "keep"
    assert reasons(ruled(shop)) == dict.fromkeys([5, 10, 11], "near duplicate")
    shop.config["data"]["clean"]["near_duplicates"] = 0
    assert reasons(ruled(shop)) == {}


def test_lines_of_an_order_with_other_quantities_are_no_double_clicks(tmp_path):
    """One piece and six at one minute, of which one comes back: six were bought."""
    lines = "ann r0 2024-02-01T10:00:00 1\n ann r0 2024-02-01T10:00:00 6\n ann r0 2024-02-02T10:00:00 -1"
    shop = with_base(tmp_path, "quantity", lines, quantity="1")
    shop.config["data"]["repeats"] = "keep"
    shop.config["data"]["clean"]["near_duplicates"] = 5
    assert reasons(ruled(shop)) == {6: "a return"}


def test_a_double_click_is_one_whatever_else_happened_between(tmp_path):
    """A view, a purchase and the view again: two events of which one is twice there."""
    more = "ann r0 2024-02-01T10:00:00 view\n ann r0 2024-02-01T10:00:01 buy\n ann r0 2024-02-01T10:00:02 view"
    shop = with_base(tmp_path, "event", more, event="view")
    shop.config["data"]["repeats"] = "keep"
    assert reasons(ruled(shop)) == {6: "near duplicate"}


def test_rows_alike_in_all_are_one_unless_they_are_to_stay(tmp_path):
    more = """
        ann  r0  2024-02-01  buy   1  5
        ann  r0  2024-02-01  buy   1  5
        ann  r0  2024-02-01  buy   2  5
        ann  r0  2024-02-01  buy   1  4
        ann  r0  2024-02-01  view  1  5
        ann  r0  2024-02-01  buy   -  5
        ann  r0  2024-02-01  buy   -  5
        bob  r0  2024-02-01  buy   1  5
    """
    shop = with_base(tmp_path, "event quantity rating", more, event="buy", quantity="1", rating="5")
    shop.config["data"]["repeats"] = "keep"
    shop.config["data"]["clean"]["near_duplicates"] = 0
    assert reasons(ruled(shop)) == {5: "duplicate", 10: "duplicate"}
    shop.config["data"]["clean"]["duplicates"] = "keep"
    assert reasons(ruled(shop)) == {}


BUSY = """
    most  r0  2024-02-01T00:00:00
    most  r1  2024-02-01T23:59:59
    most  b0  2024-02-02T00:00:00
    more  r0  2024-02-01T00:00:00
    more  r0  2024-02-01T12:00:00
    more  r1  2024-02-01T13:00:00
    more  b1  2024-02-01T23:59:59
    more  b0  2024-03-01
"""


@pytest.mark.parametrize(("bots", "who"), [(2, {"more"}), (3, set()), (None, set())])
def test_who_does_more_than_so_much_on_a_day_is_a_bot_and_who_does_just_as_much_is_none(tmp_path, bots, who):
    """``more`` buys three things on one day, not four, as one of them is bought twice; ``most`` two, and later more."""
    found = ruled(planned(tmp_path, BUSY, bots=bots))
    by_bot = dict.fromkeys([7, 9, 10, 11] if who else [], "by a bot")
    assert reasons(found) == by_bot | {8: "repeat of user and item"}
    assert set(found["interactions"]["user_id"]) == {"base", "most", "more"} - who


def test_the_future_begins_after_latest_and_may_be_let_in(tmp_path):
    more = "ann r0 2024-03-01\n bob r0 2024-03-01T00:00:00.000001\n cat r0 2999-01-01"
    found = ruled(planned(tmp_path, more, latest="2024-03-01"))
    assert reasons(found) == {5: "in the future", 6: "in the future"}
    assert reasons(ruled(planned(tmp_path, more))) == {6: "in the future"}
    found = ruled(planned(tmp_path, more, latest="2024-03-01", future="keep"))
    assert reasons(found) == {}
    assert found["interactions"]["timestamp"].max() == pd.Timestamp("2999-01-01")
