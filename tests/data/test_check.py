"""crossrec data check, through the real command."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from facts import check_failed, lacking
from small import kinds, write

from crossrec_cli.artifacts import columns as c
from crossrec_cli.config.load import load_config
from crossrec_cli.data.check import Check, check
from crossrec_cli.errors import ExitCode


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
    [verdict] = [line for line in lines if "67%" in line]
    assert verdict.count("%") == 2
    assert max(map(len, done.stdout.splitlines()[:20])) <= 80
    assert not shop.run_dir.exists()


def test_the_column_that_splits_is_among_those_shown(shop, crossrec):
    path = shop.folder / "interactions.parquet"
    pd.read_parquet(path).assign(fold="test").to_parquet(path)
    wanted = ["--set", "split={strategy: given, column: fold}"]
    document = json.loads(crossrec("data", "check", shop.path, *wanted, "--json").stdout)
    assert document["problem"] == ""
    assert {"source": "shop interactions", "name": "split", "column": "fold", "first_value": "test"} in document[
        "columns"
    ]


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
    path = shop.folder / "items.parquet"
    check_failed(done, ExitCode.INPUT, path, "'knd'", "data.platforms[0].items.columns.category", "'kind'")
    found = json.loads(crossrec("data", "check", shop.path, "--json").stdout)
    assert not lacking(found["problem"], path, "'knd'", "'kind'")
    assert ("category", "knd") in {(one["name"], one["column"]) for one in found["columns"]}
    assert "%" not in found["transfer"], "nothing is judged"


def test_a_source_that_shares_nothing_with_the_target_has_little_chance(shop, crossrec):
    items = pd.read_parquet(shop.folder / "items.parquet")
    items["title"] = items["title"].where(items["kind"] == "record", [f"tome{i}" for i in range(len(items))])
    items.to_parquet(shop.folder / "items.parquet")
    path = shop.folder / "interactions.parquet"
    rows = pd.read_parquet(path)
    rows.loc[rows["item"].str.contains("book"), "user"] += "-reads"
    rows.to_parquet(path)
    found = json.loads(crossrec("data", "check", shop.path, "--json").stdout)
    sizes = {(row["measure"], row["label"]): row["value"] for row in found["measures"]}
    assert (sizes["users", "both"], found["shared_words"]) == (0, 0)
    assert found["transfer"].count("0%") == 2


def sizes(items: int, users: int, tested: int, both: int = 50) -> Check:
    """What was found of a target of this size; all its words are the source's too."""
    figures = {("items", c.TARGET): items, ("users", c.TARGET): users, ("test users", c.TARGET): tested}
    measures = [(measure, label, None, float(n)) for (measure, label), n in figures.items()]
    return Check(measures=[*measures, ("users", "both", None, float(both))], words=(10, 10))


@pytest.mark.parametrize(
    ("items", "users", "tested", "few"),
    [
        (3, 1000, 500, {"items": 3}),
        (15, 57, 40, {"items": 15, "users": 57, "test users": 40}),
        (20, 100, 49, {"test users": 49}),
        (20, 100, 50, {}),
    ],
)
def test_a_small_target_is_never_given_a_chance(items, users, tested, few):
    found = sizes(items, users, tested)
    assert found.too_few == few
    figures = [f"{count} {name}" for name, count in few.items()] if few else ["50%", "100%"]
    assert not lacking(found.verdict, *figures)
    assert ("%" in found.verdict) == (not few), "what is too small is not judged"


def gift_shop(folder):
    """A shop of 40 products with numbers for ids, each bought by 6 of 30 people, and what is no product or person."""
    rng = np.random.default_rng(0)
    rows = [(f"u{user}", f"{number}") for number in range(40) for user in rng.choice(30, 6, replace=False)]
    rows += [("guest", f"{number}") for number in range(10)]
    rows += [("u1", "POST"), ("u2", "free"), ("u3", "TEST001"), *((f"u{user}", "EXTRA") for user in range(30))]
    rows += [("0", "1")]
    items = pd.DataFrame({"item": [*map(str, range(40)), "POST", "free", "TEST001", "EXTRA"], "kind": "book"})
    items["title"] = ["a thing"] * 40 + ["Postage", "a thing", "Test", "a thing"]
    items["price"] = [str(1 + number % 7) for number in range(40)] + ["18", "0", "1", "2"]
    items.loc[5, "kind"] = None
    items = pd.concat([items, items.head(1).assign(title="broken?")])
    rows = pd.DataFrame(rows, columns=["user", "item"]).assign(time="2024-01-01")
    users = pd.DataFrame({"user": [f"u{number}" for number in range(30)], "club": ["a", "b"] * 15})
    users["name"] = [f"Ann {number}" for number in range(30)]
    shop = write(folder, shop=(rows, items, users))
    shop.config["domains"] = {"target": {"category": "*"}}
    return shop


def test_what_looks_like_no_person_no_product_or_no_tag_is_warned_of(tmp_path):
    shop = gift_shop(tmp_path)
    found = {(one.kind, one.id): one.rows for one in check(load_config(shop.path)).suspects}
    assert found == {
        ("guest account", "guest"): 10,
        ("no product", "EXTRA"): 30,
        ("no product", "POST"): 1,
        ("no product", "free"): 1,
        ("no product", "TEST001"): 1,
        ("tag", "name"): 30,
        ("described in more than one way", ""): 1,
        ("described in more than one way", "0"): 2,
        ("without a category", ""): 1,
    }


def test_one_id_with_a_large_share_is_a_guest_and_a_zero_among_numbers_is_not(tmp_path):
    shop = gift_shop(tmp_path)
    path = shop.config["data"]["platforms"][0]["interactions"]["path"]
    people = [(str(user), f"{item}") for user in range(100) for item in range(user, user + 3)]
    rows = pd.DataFrame([*people, *[("77", f"{item % 40}") for item in range(100)]], columns=["user", "item"])
    rows.assign(time="2024-01-01").to_parquet(path)
    found = [one for one in check(load_config(shop.path)).suspects if one.kind == "guest account"]
    assert [(one.id, one.rows) for one in found] == [("77", 103)]


def test_the_command_warns_and_where_the_target_is_everything_speaks_of_no_transfer(tmp_path, crossrec):
    shop = gift_shop(tmp_path)
    found = json.loads(crossrec("data", "check", shop.path, "--json").stdout)
    assert {"kind", "platform", "id", "rows", "text"} == found["suspects"][0].keys()
    assert not re.search(r"\d", found["transfer"]), "no figure of a transfer"
    assert found["problem"] == ""
    shop.config["data"]["clean"]["max_rejected"] = 0.05
    shop.config["data"]["platforms"][0]["items"]["exclude"] = ["POST", "free", "TEST*"]
    pd.DataFrame({"user": [None] * 9, "item": "1", "time": "2024-01-01"}).to_parquet(
        tmp_path / "shop-interactions.parquet"
    )
    found = json.loads(crossrec("data", "check", shop.path, "--json").stdout)
    assert not lacking(found["problem"], "shop-interactions.parquet", "9 of 9", "missing user id 9")
    assert "described in more than one way" in {one["kind"] for one in found["suspects"]}


@pytest.mark.parametrize(("least", "for_sale", "served"), [((1, 0), 5, 4), ((2, 2), 3, 3)])
def test_it_says_what_is_for_sale_and_who_is_served_and_warns_where_rules_take_much(tmp_path, least, for_sale, served):
    rows = [("a", "r0 b0 b1 b4"), ("c", "r0 b1 b4 b0"), ("d", "r0 b4 b0 b1"), ("e", "b2")]
    interactions = pd.DataFrame(
        [
            {"user": user, "item": item, "time": f"2024-01-0{day}"}
            for user, items in rows
            for day, item in enumerate(items.split(), 1)
        ]
    )
    shop = write(tmp_path, shop=(interactions, kinds("r0", "b0", "b1", "b2", "b3", "b4")))
    shop.config["data"]["min_interactions"] = {"user": least[0], "item": least[1]}
    found = check(load_config(shop.path))
    reach = {label: value for measure, label, _, value in found.measures if measure == "reach"}
    assert reach == {
        "target items in the catalogue": 5,
        "target items to recommend": for_sale,
        "people in the data": 4,
        "people with a list": served,
    }
    facts = [f"{5 - for_sale} of 5", "data.min_interactions", "data.clean", "items.exclude"]
    assert [lacking(warning, *facts) for warning in found.warnings] == [[]] * (for_sale < 5)
