"""A platform's tables, cleaned: ids, users, the catalogue, who and what has too few interactions."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from facts import fails
from small import BASE, catalogue, cleaned, kinds, measured, planned, reasons, ruled, table, write

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


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_times_with_a_zone_become_utc_wherever_it_runs(tmp_path, zone, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    rows = table("user item time", BASE)
    moments = pd.to_datetime(rows["time"])
    zoned = rows.assign(time=moments.dt.tz_localize("UTC").dt.tz_convert(zone))
    shop = write(tmp_path, shop=(zoned, kinds("r0", "b0", "b1")))
    from_parquet = ruled(shop)["interactions"]
    zoned.assign(time=zoned["time"].map(pd.Timestamp.isoformat)).to_csv(tmp_path / "rows.csv", index=False)
    shop.config["data"]["platforms"][0]["interactions"]["path"] = str(tmp_path / "rows.csv")
    from_csv = ruled(shop)["interactions"]
    monkeypatch.undo()
    time.tzset()
    assert from_parquet["timestamp"].tolist() == from_csv["timestamp"].tolist() == moments.tolist()


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
    texts = catalogue(shop).set_index("item_id")["text"]
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
