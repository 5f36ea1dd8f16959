from __future__ import annotations

import gzip
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import preprocess

from crossrec_cli.errors import InputError


def run_clean(shop):
    """Interactions with ids, the catalogue, users, and what was counted."""
    found = preprocess(shop)
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


def test_repeats_first_keeps_the_earliest_and_keep_keeps_all(shop):
    path = shop.folder / "interactions.parquet"
    rows = pd.read_parquet(path)
    later = rows.head(20).assign(time=pd.Timestamp("2025-01-01"))
    pd.concat([later, rows]).to_parquet(path)
    found, *_ = run_clean(shop)
    assert len(found) == len(rows)
    assert found["timestamp"].max() < pd.Timestamp("2025")
    shop.config["data"]["repeats"] = "keep"
    found, *_ = run_clean(shop)
    assert len(found) == len(rows) + 20


@pytest.mark.parametrize("form", ["csv", "csv.gz", "tsv", "jsonl", "jsonl.gz", "csv.zst"])
def test_text_formats_give_what_parquet_gives(shop, form):
    expected, *_ = run_clean(shop)
    rows = pd.read_parquet(shop.folder / "interactions.parquet")
    path = shop.folder / f"interactions.{form}"
    if "jsonl" in form:
        rows.assign(time=rows["time"].astype(str)).to_json(path, orient="records", lines=True)
    elif form == "csv.zst":
        with pa.CompressedOutputStream(str(path), "zstd") as stream:
            stream.write(rows.to_csv(index=False).encode())
    else:
        rows.to_csv(path, index=False, sep="\t" if form == "tsv" else ",")
    shop.config["data"]["platforms"][0]["interactions"]["path"] = str(path)
    found, *_ = run_clean(shop)
    order = ["user_id", "item_id"]
    pd.testing.assert_frame_equal(
        found.sort_values(order, ignore_index=True), expected.sort_values(order, ignore_index=True)
    )


def test_a_glob_reads_all_its_files(shop):
    rows = pd.read_parquet(shop.folder / "interactions.parquet")
    for part in range(3):
        rows.iloc[part::3].to_parquet(shop.folder / f"part-{part}.parquet")
    shop.config["data"]["platforms"][0]["interactions"]["path"] = str(shop.folder / "part-*.parquet")
    found, *_ = run_clean(shop)
    assert len(found) == len(rows)


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


@pytest.mark.parametrize("unit", ["s", "ms"])
def test_times_since_1970_in_seconds_or_milliseconds(shop, unit):
    expected, *_ = run_clean(shop)
    path = shop.folder / "interactions.parquet"
    rows = pd.read_parquet(path)
    rows["time"] = (rows["time"] - pd.Timestamp(0)) // pd.Timedelta(1, unit)
    rows.to_parquet(path)
    found, *_ = run_clean(shop)
    order = ["user_id", "item_id"]
    assert found.sort_values(order)["timestamp"].tolist() == expected.sort_values(order)["timestamp"].tolist()


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_times_with_a_zone_become_utc_wherever_it_runs(shop, zone, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    expected, *_ = run_clean(shop)
    path = shop.folder / "interactions.parquet"
    rows = pd.read_parquet(path)
    rows["time"] = rows["time"].dt.tz_localize("UTC").dt.tz_convert(zone)
    rows.to_parquet(path)
    from_parquet, *_ = run_clean(shop)
    rows.assign(time=rows["time"].map(pd.Timestamp.isoformat)).to_csv(shop.folder / "rows.csv", index=False)
    shop.config["data"]["platforms"][0]["interactions"]["path"] = str(shop.folder / "rows.csv")
    from_csv, *_ = run_clean(shop)
    monkeypatch.undo()
    time.tzset()
    order = ["user_id", "item_id"]
    for found in (from_parquet, from_csv):
        assert found.sort_values(order)["timestamp"].tolist() == expected.sort_values(order)["timestamp"].tolist()


def test_times_since_1970_in_text_and_in_narrow_integers(shop):
    expected, *_ = run_clean(shop)
    path = shop.folder / "interactions.parquet"
    rows = pd.read_parquet(path)
    seconds = (rows["time"] - pd.Timestamp(0)) // pd.Timedelta(1, "s")
    order = ["user_id", "item_id"]
    for column in (seconds.astype("int32"), seconds.astype(str), (seconds * 10**6).astype("int64")):
        rows.assign(time=column).to_parquet(path)
        found, *_ = run_clean(shop)
        assert found.sort_values(order)["timestamp"].tolist() == expected.sort_values(order)["timestamp"].tolist()


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


def test_a_path_with_brackets(shop):
    folder = shop.folder / "a[1]"
    folder.mkdir()
    (shop.folder / "interactions.parquet").rename(folder / "x.parquet")
    shop.config["data"]["platforms"][0]["interactions"]["path"] = str(folder / "x.parquet")
    found, *_ = run_clean(shop)
    assert len(found)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("time", "soon", r"row 1: 1,920 of 1,920 rows are unusable \(unreadable time 1,920\)"),
        ("item", "x", "an item's id is 'x' there, '.*-[0-9]+' in the items"),
    ],
)
def test_a_column_that_fits_nothing_is_named(shop, column, value, message):
    path = shop.folder / "interactions.parquet"
    pd.read_parquet(path).assign(**{column: value}).to_parquet(path)
    with pytest.raises(InputError, match=message):
        run_clean(shop)


def test_an_empty_column_takes_its_punctuation_along(shop):
    path = shop.folder / "items.parquet"
    items = pd.read_parquet(path)
    items["brand"] = ["Verve", None, " "] + ["B"] * (len(items) - 3)
    items.to_parquet(path)
    shop.config["data"]["platforms"][0]["items"]["text"] = "({brand}) {title}. {brand}"
    _, found, *_ = run_clean(shop)
    texts = found.set_index("item_id")["text"]
    first, second, third = items["title"][:3]
    assert texts["jazz-record-0"] == f"(Verve) {first}. Verve"
    assert texts["jazz-record-1"] == f"({second}."
    assert texts["jazz-record-2"] == f"({third}."


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
    ("keys", "value", "message"),
    [
        ([*PLATFORM, "items", "path"], "nowhere.parquet", r"/.*nowhere\.parquet: no such file"),
        (
            [*PLATFORM, "interactions", "columns", "user_id"],
            "usr",
            "has no column 'usr', which data.platforms.0..*'user'",
        ),
        (
            [*PLATFORM, "items", "text"],
            "{titel}",
            r"has no column 'titel', which data\.platforms\[0\]\.items\.text.*'title'",
        ),
        ([*PLATFORM, "users", "tags"], ["age"], "has no column 'age'"),
        (["domains", "target", "category"], "boook", "no item is in category 'boook'; did you mean 'book'"),
        (["data", "min_interactions", "user"], 10_000, "no interaction is left after 'enough interactions, round 1'"),
    ],
)
def test_what_is_missing_is_told(shop, keys, value, message):
    set_in(shop.config, keys, value)
    with pytest.raises(InputError, match=message):
        run_clean(shop)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.parquet", b""),
        ("rubbish.parquet", b"PAR1 this is not Parquet"),
        ("empty.csv", b""),
        ("empty.jsonl", b""),
        ("rubbish.jsonl", b"{not json\n"),
        ("rubbish.csv.gz", b"not gzip"),
        ("empty.csv.gz", gzip.compress(b"")),
        ("header.csv", b"user,item,time\n"),
        ("letter.doc", b"hello"),
    ],
)
def test_files_without_data_are_told(shop, name, content):
    path = shop.folder / name
    path.write_bytes(content)
    shop.config["data"]["platforms"][0]["interactions"]["path"] = str(path)
    with pytest.raises(InputError) as caught:
        run_clean(shop)
    assert len(str(caught.value).splitlines()) == 1
