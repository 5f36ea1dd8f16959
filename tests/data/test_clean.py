from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from conftest import preprocess
from facts import fails
from small import BASE, cleaned, kinds, measured, reasons, ruled, table, write

from crossrec_cli.errors import InputError


def run_clean(shop):
    """Interactions with ids, the catalogue, users, and what was counted."""
    found = cleaned(shop)
    return found["interactions"], found["items"], found["users"], found["quality"]


def counts(quality, measure="removed"):
    rows = quality[quality["measure"] == measure]
    return rows.groupby("label", sort=False)["value"].sum().to_dict()


def test_k_core_against_a_plain_loop(shop):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {"user": rng.zipf(1.5, 3000) % 200, "item": rng.zipf(1.3, 3000) % 80, "time": pd.Timestamp("2024")}
    )
    rows.to_parquet(shop.folder / "interactions.parquet")
    items = pd.DataFrame({"item": range(80), "title": "x", "kind": ["book" if i % 2 else "record" for i in range(80)]})
    items.to_parquet(shop.folder / "items.parquet")
    shop.config["data"]["min_interactions"] = {"user": 4, "item": 6}
    found, kept_items, _, ledger = run_clean(shop)
    expected = rows.drop_duplicates(["user", "item"])
    while True:
        before = len(expected)
        expected = expected[expected.groupby("user")["item"].transform("size") >= 4]
        expected = expected[expected.groupby("item")["user"].transform("size") >= 6]
        if len(expected) == before:
            break
    pairs = set(zip(found["user_id"], found["item_id"], strict=True))
    assert pairs == set(zip(expected["user"].astype(str), expected["item"].astype(str), strict=True))
    assert set(kept_items["item_id"]) == {item for _, item in pairs}
    left = list(counts(ledger, "interactions_left").values())
    assert left[-1] == left[-2] == len(expected) < len(rows)
    assert counts(ledger, "users_left")["enough interactions, round 1"] > found["user_id"].nunique()


def test_every_step_is_counted(shop):
    path = shop.folder / "interactions.parquet"
    rows = pd.read_parquet(path)
    extra = pd.DataFrame(
        {
            "user": [None, "jazz0", "jazz0", "jazz1"],
            "item": ["jazz-record-1", "unheard-of", None, "jazz-record-1"],
            "time": [pd.Timestamp("2024"), pd.Timestamp("2024"), pd.Timestamp("2024"), None],
        }
    )
    pd.concat([rows, rows.head(7), extra]).to_parquet(path)
    shop.config["data"]["clean"] = {"items_without_text": "keep"}
    *_, ledger = run_clean(shop)
    removed = counts(ledger)
    expected = {"missing user id": 1, "missing item id": 1, "unreadable time": 1, "unknown item": 1, "duplicate": 7}
    assert {rule: n for rule, n in removed.items() if n} == expected
    assert {"in the future", "near duplicate", "by a bot", "repeat of user and item"} <= set(removed)
    left = counts(ledger, "interactions_left")
    assert left == {"read": len(rows) + 11, "clean": len(rows), "enough interactions, round 1": len(rows)}


def test_ids_in_csv_keep_their_zeros(shop):
    items = pd.read_parquet(shop.folder / "items.parquet")
    rows = pd.read_parquet(shop.folder / "interactions.parquet")
    number = {item: f"{index:05}" for index, item in enumerate(items["item"])}
    items.assign(item=items["item"].map(number)).to_csv(shop.folder / "items.csv", index=False)
    rows.assign(item=rows["item"].map(number)).to_csv(shop.folder / "rows.csv", index=False)
    platform = shop.config["data"]["platforms"][0]
    platform["items"]["path"], platform["interactions"]["path"] = (
        str(shop.folder / name) for name in ("items.csv", "rows.csv")
    )
    found, *_ = run_clean(shop)
    assert len(found) == len(rows)
    assert "00003" in set(found["item_id"])


def test_ids_that_became_floats_beside_a_missing_one_are_still_the_same_ids(shop):
    items = pd.read_parquet(shop.folder / "items.parquet")
    rows = pd.read_parquet(shop.folder / "interactions.parquet")
    number = {item: index for index, item in enumerate(items["item"])}
    items.assign(item=items["item"].map(number)).to_parquet(shop.folder / "items.parquet")
    rows["item"] = rows["item"].map(number).astype(float)
    pd.concat([rows, rows.head(1).assign(item=np.nan)]).to_parquet(shop.folder / "interactions.parquet")
    found, *_ = run_clean(shop)
    assert len(found) == len(rows)
    assert "3" in set(found["item_id"])


@pytest.mark.parametrize(
    ("column", "value", "facts"),
    [
        (
            "time",
            "soon",
            ["unreadable time 1,920", "'time'", "'soon'", "data.platforms[0].interactions.timestamp_format"],
        ),
        ("item", "x", ["unknown item 1,920", "'x'", "'blues-book-0'"]),
    ],
)
def test_a_column_that_fits_nothing_is_named(shop, column, value, facts):
    path = shop.folder / "interactions.parquet"
    pd.read_parquet(path).assign(**{column: value}).to_parquet(path)
    with fails(InputError, path, "row 1", "1,920 of 1,920", "data.clean.max_rejected", *facts):
        run_clean(shop)


def test_platforms_keep_their_ids_apart(shop):
    first = shop.config["data"]["platforms"][0]
    shop.config["data"]["platforms"].append({**first, "name": "other"})
    found, items, users, _ = run_clean(shop)
    rows = pd.read_parquet(shop.folder / "interactions.parquet")
    assert len(found) == 2 * len(rows)
    assert set(users["platform"]) == {"shop", "other"}
    assert "other:jazz0" in set(users["user_id"])
    assert len(items) == 2 * rows["item"].nunique()


def test_users_are_the_users_file_and_all_buyers(shop):
    _, _, users, _ = run_clean(shop)
    tags = users.set_index("user_id")["tags"].map(list)
    assert tags["new"] == ["club=a"]
    assert tags["metal0"] == []
    assert users["user_id"].is_unique


def set_in(config: dict, keys: list, value: object) -> None:
    for key in keys[:-1]:
        config = config[key]
    config[keys[-1]] = value


PLATFORM = ["data", "platforms", 0]


@pytest.mark.parametrize(
    ("keys", "value", "facts"),
    [
        ([*PLATFORM, "items", "path"], "nowhere.parquet", ["/nowhere.parquet"]),
        (
            [*PLATFORM, "interactions", "columns", "user_id"],
            "usr",
            ["interactions.parquet", "'usr'", "data.platforms[0].interactions.columns.user_id", "'user'"],
        ),
        (
            [*PLATFORM, "items", "text"],
            "{titel}",
            ["items.parquet", "'titel'", "data.platforms[0].items.text", "'title'"],
        ),
        ([*PLATFORM, "users", "tags"], ["age"], ["users.parquet", "'age'", "data.platforms[0].users.tags", "club"]),
        (["domains", "target", "category"], "boook", ["domains.target.category", "'boook'", "'book'"]),
        (["data", "min_interactions", "user"], 10_000, ["round 1", "data.min_interactions"]),
    ],
)
def test_what_is_missing_is_told(shop, keys, value, facts):
    set_in(shop.config, keys, value)
    with fails(InputError, *facts):
        run_clean(shop)


EVENTS = {"view": {"weight": 0.25}, "buy": {"weight": 2.0}, "stars": {"weight": 0.5, "at_least": 4}}
FIVE_EVENTS = """
    base  r0  2024-01-01  buy    -  -
    base  b0  2024-01-02  buy    -  -
    base  b1  2024-01-03  buy    -  -
    ann   r0  2024-02-01  view   3  -
    ann   r0  2024-02-02  buy    2  -
    ann   r0  2024-02-03  buy    -  -
    ann   r0  2024-02-04  stars  -  4
    ann   r0  2024-02-05  stars  -  3.9
    ann   r0  2024-02-06  stars  -  -
    ann   r0  2024-02-07  wish   -  5
    ann   r0  2024-02-08  view   -  1
    bob   r0  2024-02-01  view   1  -
    cat   r0  2024-02-01  -      1  -
"""


def event_shop(folder, repeats="keep"):
    rows = table("user item time event quantity rating", FIVE_EVENTS)
    shop = write(folder, shop=(rows, kinds("r0", "b0", "b1")))
    shop.config["data"]["platforms"][0]["interactions"]["events"] = EVENTS
    shop.config["data"]["repeats"] = repeats
    return shop


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_times_with_a_zone_become_utc_wherever_it_runs(tmp_path, zone, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    rows = table("user item time", BASE)
    moments = pd.to_datetime(rows["time"])
    zoned = rows.assign(time=moments.dt.tz_localize("UTC").dt.tz_convert(zone))
    shop = write(tmp_path, shop=(zoned, kinds("r0", "b0", "b1")))
    from_parquet = cleaned(shop)["interactions"]
    zoned.assign(time=zoned["time"].map(pd.Timestamp.isoformat)).to_csv(tmp_path / "rows.csv", index=False)
    shop.config["data"]["platforms"][0]["interactions"]["path"] = str(tmp_path / "rows.csv")
    from_csv = cleaned(shop)["interactions"]
    monkeypatch.undo()
    time.tzset()
    assert from_parquet["timestamp"].tolist() == from_csv["timestamp"].tolist() == moments.tolist()


def days_of(found, user):
    """Day of February and weight of each of a user's interactions."""
    rows = found["interactions"]
    rows = rows[rows["user_id"] == user]
    return [(row.timestamp.day, row.weight) for row in rows.itertuples()]


def test_events_bear_the_weights_of_their_words_and_others_are_left_out(tmp_path):
    found = preprocess(event_shop(tmp_path))
    assert days_of(found, "ann") == [(1, 0.25), (2, 2.0), (3, 2.0), (4, 0.5), (8, 0.25)]
    rows = found["interactions"]
    assert rows.loc[rows["user_id"] == "ann", "event"].tolist() == ["view", "buy", "buy", "stars", "view"]
    assert reasons(found) == {
        8: "rating too low",
        9: "rating too low",
        10: "unknown event",
        13: "unknown event",
    }


@pytest.mark.parametrize(
    ("repeats", "expected"),
    [
        ("strongest", [(2, 2.0)]),  # not the first, and the earlier of two
        ("first", [(1, 0.25)]),
        ("last", [(8, 0.25)]),
        ("sum", [(1, 3 * 0.25 + 2 * 2.0 + 2.0 + 0.5 + 0.25)]),
    ],
)
def test_several_interactions_with_an_item_become_one(tmp_path, repeats, expected):
    found = ruled(event_shop(tmp_path, repeats))
    assert days_of(found, "ann") == expected
    assert days_of(found, "bob") == [(1, 0.25)]
    assert list(reasons(found).values()).count("repeat of user and item") == 4


def test_too_low_a_rating_is_no_rating_where_there_is_no_event_column(tmp_path):
    rows = table("user item time", BASE).assign(rating="5")
    rows = pd.concat([rows, rows[:1].assign(user="ann", rating="2")])
    shop = write(tmp_path, shop=(rows, kinds("r0", "b0", "b1")))
    shop.config["data"]["platforms"][0]["interactions"]["events"] = {"rating": {"weight": 3.0, "at_least": 4}}
    found = preprocess(shop)
    assert reasons(found) == {4: "rating too low"}
    assert set(found["interactions"]["event"]) == {"rating"}
    assert set(found["interactions"]["weight"]) == {3.0}
    assert set(found["interactions"]["rating"]) == {5.0}


def test_without_events_every_row_is_a_purchase_of_weight_1(tmp_path):
    rows = preprocess(write(tmp_path, shop=(table("user item time", BASE), kinds("r0", "b0", "b1"))))["interactions"]
    assert set(rows["event"]) == {"purchase"}
    assert set(rows["weight"]) == {1.0}
    assert rows[["rating", "quantity"]].isna().all(axis=None)


def test_every_word_counts_1_where_none_is_named(tmp_path):
    shop = event_shop(tmp_path)
    shop.config["data"]["platforms"][0]["interactions"]["events"] = {}
    found = preprocess(shop)
    assert reasons(found) == {}
    assert days_of(found, "ann") == [(day, 1.0) for day in range(1, 9)]
    assert found["interactions"]["event"].isna().sum() == 1


HALVED = {
    "keep": [(1, 2.0 / 4), (11, 4.0 / 2), (16, 4.0 / 2**0.5)],
    "sum": [(1, (2.0 + 4.0 + 4.0) / 4)],
}


@pytest.mark.parametrize("repeats", HALVED)
def test_weights_halve_with_age_down_from_the_newest_interaction(tmp_path, repeats):
    base = table("user item time", BASE).assign(event="view")
    more = "ann r0 2024-02-01 view\n ann r0 2024-02-11 buy\n ann r0 2024-02-16 buy\n bob r0 2024-02-21 view"
    shop = write(tmp_path, shop=(pd.concat([base, table("user item time event", more)]), kinds("r0", "b0", "b1")))
    shop.config["data"]["platforms"][0]["interactions"]["events"] = {"view": {"weight": 2.0}, "buy": {"weight": 4.0}}
    shop.config["data"] |= {"repeats": repeats, "half_life_days": 10}
    found = ruled(shop)
    assert days_of(found, "ann") == [(day, pytest.approx(weight)) for day, weight in HALVED[repeats]]
    assert days_of(found, "bob") == [(21, 2.0)]


def test_the_oldest_weight_is_small_but_not_nothing(tmp_path):
    shop = write(tmp_path, shop=(table("user item time", BASE), kinds("r0", "b0", "b1")))
    shop.config["data"]["half_life_days"] = 0.01
    assert ruled(shop)["interactions"]["weight"].tolist() == pytest.approx([1e-6, 1e-6, 1.0])


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
    base = table("user item time", BASE).assign(event="buy")
    more = "ann r0 2024-02-01 buy\n ann r0 2024-02-02 buy\n ann r0 2024-02-03 refund"
    shop = write(tmp_path, shop=(pd.concat([base, table("user item time event", more)]), kinds("r0", "b0", "b1")))
    events = {"buy": {}, "refund": {"weight": 5.0, "returns": True}}
    shop.config["data"]["platforms"][0]["interactions"]["events"] = events
    found = ruled(shop)
    assert days_of(found, "ann") == [(1, 1.0)]
    assert reasons(found) == {5: "repeat of user and item", 6: "a return"}


def planned(folder, more, **clean):
    """The base rows and these, under other cleaning rules."""
    rows = pd.concat([table("user item time", BASE), table("user item time", more)])
    shop = write(folder, shop=(rows, kinds("r0", "r1", "b0", "b1")))
    shop.config["data"]["clean"] |= clean
    return shop


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
    base = table("user item time", BASE).assign(quantity="1")
    lines = "ann r0 2024-02-01T10:00:00 1\n ann r0 2024-02-01T10:00:00 6\n ann r0 2024-02-02T10:00:00 -1"
    rows = pd.concat([base, table("user item time quantity", lines)])
    shop = write(tmp_path, shop=(rows, kinds("r0", "b0", "b1")))
    shop.config["data"]["repeats"] = "keep"
    shop.config["data"]["clean"]["near_duplicates"] = 5
    assert reasons(ruled(shop)) == {6: "a return"}


def test_a_double_click_is_one_whatever_else_happened_between(tmp_path):
    """A view, a purchase and the view again: two events of which one is twice there."""
    base = table("user item time", BASE).assign(event="view")
    more = "ann r0 2024-02-01T10:00:00 view\n ann r0 2024-02-01T10:00:01 buy\n ann r0 2024-02-01T10:00:02 view"
    shop = write(tmp_path, shop=(pd.concat([base, table("user item time event", more)]), kinds("r0", "b0", "b1")))
    shop.config["data"]["repeats"] = "keep"
    assert reasons(ruled(shop)) == {6: "near duplicate"}


def test_rows_alike_in_all_are_one_unless_they_are_to_stay(tmp_path):
    columns = "user item time event quantity rating"
    base = table("user item time", BASE).assign(event="buy", quantity="1", rating="5")
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
    shop = write(tmp_path, shop=(pd.concat([base, table(columns, more)]), kinds("r0", "b0", "b1")))
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


def test_an_item_without_text_goes_with_its_interactions_unless_it_is_to_stay(tmp_path):
    items = kinds("r0", "r1", "b0", "b1")
    items.loc[items["item"] == "r1", "title"] = " <br> "
    rows = pd.concat([table("user item time", BASE), table("user item time", "ann r1 2024-02-01")])
    shop = write(tmp_path, shop=(rows, items))
    found = cleaned(shop)
    assert reasons(found) == {4: "item without text"}
    assert "r1" not in set(found["items"]["item_id"])
    shop.config["data"]["clean"]["items_without_text"] = "keep"
    found = cleaned(shop)
    assert reasons(found) == {}
    assert found["items"].set_index("item_id")["text"].isna().to_dict() == {
        "b0": False,
        "b1": False,
        "r0": False,
        "r1": True,
    }


def test_an_item_that_nobody_bought_is_in_the_catalogue_if_items_need_no_interactions(tmp_path):
    shop = planned(tmp_path, "")
    assert set(cleaned(shop)["items"]["item_id"]) == {"r0", "r1", "b0", "b1"}
    shop.config["data"]["min_interactions"]["item"] = 1
    assert set(cleaned(shop)["items"]["item_id"]) == {"r0", "b0", "b1"}


RAW_TITLES = ["<b>Tom &amp; ﬁne</b>", "a\x07b  c", "😀 ½ שלום"]


def test_rules_for_texts_can_be_switched_off(tmp_path):
    shop = write(tmp_path, shop=(table("user item time", BASE), kinds("r0", "b0", "b1").assign(title=RAW_TITLES)))
    shop.config["data"]["clean"] |= {"markup": False, "nfkc": False, "control_characters": False}
    texts = cleaned(shop)["items"].set_index("item_id")["text"]
    assert texts[["r0", "b0", "b1"]].tolist() == RAW_TITLES


def test_each_round_of_the_core_is_counted(tmp_path):
    """A chain that falls link by link: each round takes one user, then an item, and so the next user."""
    chain = "\n".join(f"u{i} r{i} 2024-02-01\n u{i} r{i + 1} 2024-02-01" for i in range(4))
    core = "\n".join(f"{user} {item} 2024-02-0{day}" for user in "xyz" for day, item in enumerate(["c0", "b0"], 1))
    rows = table("user item time", f"lone r0 2024-01-01\n {chain}\n {core}")
    items = kinds(*(f"r{i}" for i in range(5)), "c0", "b0")
    shop = write(tmp_path, shop=(rows, items))
    shop.config["data"]["min_interactions"] = {"user": 2, "item": 2}
    found = cleaned(shop)
    for measure, expected in (
        ("interactions_left", [12, 8, 6, 6]),
        ("users_left", [7, 5, 3, 3]),
        ("items_left", [5, 3, 2, 2]),
    ):
        steps = [f"enough interactions, round {nth}" for nth in range(1, 5)]
        left = {label: n for (label, _), n in measured(found, measure).items() if label.startswith("enough")}
        assert left == dict(zip(steps, expected, strict=True))
    assert set(reasons(found)) == set(range(1, 10))


def test_where_users_need_no_number_of_interactions_it_is_the_item_that_has_too_few(tmp_path):
    rows = table(
        "user item time", BASE + "ann b0 2024-02-01\n ann b1 2024-02-01\n ann r0 2024-02-01\n bob r1 2024-02-01"
    )
    shop = write(tmp_path, shop=(rows, kinds("r0", "r1", "b0", "b1")))
    shop.config["data"]["min_interactions"] = {"user": 1, "item": 2}
    assert reasons(cleaned(shop)) == {7: "item with too few interactions"}
    shop.config["data"]["min_interactions"] = {"user": 2, "item": 1}
    assert reasons(cleaned(shop)) == {7: "user with too few interactions"}


def test_what_has_neither_weight_nor_quantity_sums_to_the_number_of_purchases(shop):
    shop.config["data"]["repeats"] = "sum"
    path = shop.folder / "interactions.parquet"
    rows = pd.read_parquet(path)
    pd.concat([rows, rows.head(5).assign(time=rows["time"] + pd.Timedelta(hours=1))]).to_parquet(path)
    found = ruled(shop)
    assert len(found["interactions"]) == len(rows)
    assert sorted(found["interactions"]["weight"])[-6:] == [1, 2, 2, 2, 2, 2]
