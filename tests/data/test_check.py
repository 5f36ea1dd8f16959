"""crossrec data check, through the real command."""

from __future__ import annotations

import json

import pandas as pd


def test_it_shows_each_column_what_goes_and_what_is_left_and_writes_nothing(shop, crossrec):
    path = shop.folder / "interactions.parquet"
    rows = pd.read_parquet(path)
    pd.concat([rows, rows.head(7), rows.head(1).assign(item="unheard-of")]).to_parquet(path)
    done = crossrec("data", "check", shop.path)
    assert done.exit_code == 0
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert {"shop interactions", "user_id user jazz0", "text title jazz record red 0"} <= set(lines)
    assert {"interactions: duplicate 7", "interactions: unknown item 1"} <= set(lines)
    assert "target 480 180 36 7.407%" in lines
    assert "has a chance: 67% of the target's users bought in the source" in done.stdout
    assert max(map(len, done.stdout.splitlines()[:20])) <= 80
    assert not shop.run_dir.exists()


def test_json_is_one_document_with_the_same(shop, crossrec):
    document = json.loads(crossrec("data", "check", shop.path, "--json").stdout)
    assert document["problem"] == ""
    assert {"source": "shop items", "name": "category", "column": "kind", "first_value": "record"} in document[
        "columns"
    ]
    sizes = {(row["measure"], row["label"]): row["value"] for row in document["measures"]}
    assert sizes["users", "both"] == 120
    assert document["target_words"] > document["shared_words"] > 0


def test_it_says_how_columns_are_read_from_when_to_when_and_what_does_not_match(shop, crossrec):
    path, items = shop.folder / "interactions.parquet", shop.folder / "items.parquet"
    rows = pd.read_parquet(path)
    rows["time"] = pd.date_range("2024-01-01", "2024-03-31", len(rows)).strftime("%d/%m/%Y")
    rows.to_parquet(path)
    catalogue = pd.read_parquet(items)
    catalogue.assign(price=["5.950", "12,99"] * (len(catalogue) // 2)).to_parquet(items)
    shop.config["data"]["platforms"][0]["items"]["columns"]["price"] = "price"
    users = pd.read_parquet(shop.folder / "users.parquet")
    users.assign(user="x" + users["user"]).to_parquet(shop.folder / "users.parquet")
    document = json.loads(crossrec("data", "check", shop.path, "--json").stdout)
    assert document["readings"] == [
        {"source": "shop items", "name": "price", "reading": "decimal comma"},
        {"source": "shop interactions", "name": "timestamp", "reading": "day first"},
    ]
    assert document["times"] == {
        "shop": {"earliest": "2024-01-01T00:00:00+00:00", "latest": "2024-03-31T00:00:00+00:00"}
    }
    sizes = {row["label"]: row["value"] for row in document["measures"] if row["measure"] == "listed_users"}
    assert sizes == {"in the users file": 41, "with an interaction": 0}
    assert len(document["warnings"]) == 1
    assert str(shop.folder / "users.parquet") in document["warnings"][0]


def test_what_would_stop_preprocess_ends_with_its_message_and_exit_code_3(shop, crossrec):
    shop.config["data"]["platforms"][0]["items"]["columns"]["category"] = "knd"
    done = crossrec("data", "check", shop.path)
    assert done.exit_code == 3
    assert "not in the file" in done.stdout
    assert (
        "has no column 'knd', which data.platforms[0].items.columns.category names; did you mean 'kind'?" in done.stderr
    )
    assert "cannot be told" in done.stdout


def test_a_source_that_shares_nothing_with_the_target_has_little_chance(shop, crossrec):
    items = pd.read_parquet(shop.folder / "items.parquet")
    items["title"] = items["title"].where(items["kind"] == "record", [f"tome{i}" for i in range(len(items))])
    items.to_parquet(shop.folder / "items.parquet")
    path = shop.folder / "interactions.parquet"
    rows = pd.read_parquet(path)
    rows.loc[rows["item"].str.contains("book"), "user"] += "-reads"
    rows.to_parquet(path)
    done = crossrec("data", "check", shop.path)
    assert "has little chance: 0% of the target's users bought in the source, and 0% of its words" in done.stdout
