"""Both engines give the same tables, row by row, for the same messy shop."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import preprocess
from facts import fails

from crossrec_cli.errors import UnavailableError

pytestmark = pytest.mark.spark
sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed: pip install 'crossrec[spark]'")
TITLES = [
    "<b>Rock &amp; Roll</b>",
    "ﬁne  wine",
    "中文 标题",
    "كتاب جديد",
    "👩‍🚀 space",
    "plain words here",
    None,
    " 3 < 4 ",
]


def messy(shop):
    """Two platforms in four forms, with events, returns, repeats, links, rubbish and odd texts."""
    rng = np.random.default_rng(3)
    for name, items, users in (("a", 60, 80), ("b", 50, 70)):
        table = pd.DataFrame({"id": [f"{name}{i}" for i in range(items)]})
        table["kind"] = ["Food|Fruit", "Food > Bread", "Books", "Toys"] * (items // 4) + ["Books"] * (items % 4)
        table["title"] = [f"{title} {i % 20}" if (title := TITLES[i % 8]) else None for i in range(items)]
        table["price"] = [["$1,234.56", "12,99 €", "7", "n/a"][i % 4] for i in range(items)]
        rows = pd.DataFrame({"item": table["id"].to_numpy()[rng.zipf(1.4, 1500) % items]})
        rows["user"] = rng.integers(0, users, len(rows)).astype(str)
        rows["when"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 90, len(rows)), unit="D")
        rows["what"] = rng.choice(["buy", "view", "cart", "refund", "odd"], len(rows), p=[0.6, 0.2, 0.1, 0.08, 0.02])
        rows["many"] = rng.choice(["1", "2", "-1", "3,5"], len(rows), p=[0.7, 0.2, 0.05, 0.05])
        rows = pd.concat([rows, rows.head(30)], ignore_index=True)
        rows["when"] = rows["when"].astype(str)
        rows.loc[::97, "when"] = "soon"
        rows.loc[::101, "user"] = None
        rows.loc[::103, "item"] = "unheard of"
        if name == "a":  # order lines, which describe what was bought, now and then in another way
            rows = rows.merge(table.rename(columns={"id": "item"}), how="left")
            rows.loc[::50, ["title", "price"]] = ["damaged?", "0"]
            rows.loc[::41, "price"] = "9.50"
            rows.iloc[:900].to_csv(shop.folder / "a-1.csv", index=False)
            rows.iloc[900:].to_csv(shop.folder / "a-2.csv", index=False)
        else:
            lines = (json.dumps(row) for row in rows.to_dict("records"))
            (shop.folder / "b.jsonl").write_text("\n".join(lines))
            table.to_csv(shop.folder / "b-items.tsv", sep="\t", index=False)
    links = pd.DataFrame(
        {"one": [str(i) for i in range(0, 40, 2)] + ["1", "1"], "two": [str(i) for i in range(1, 41, 2)] + ["60", "61"]}
    )
    links.to_csv(shop.folder / "links.csv", index=False)
    pd.DataFrame({"user": [str(i) for i in range(90)], "town": ["X", "Y", None] * 30}).to_csv(
        shop.folder / "b-users.csv", index=False
    )


def config(shop):
    events = {"buy": {}, "cart": {"weight": 0.5}, "view": {"weight": 0.1}, "refund": {"returns": True}}
    columns = {"user_id": "user", "item_id": "item", "timestamp": "when", "event": "what", "quantity": "many"}
    items = {"columns": {"item_id": "id", "category": "kind", "price": "price"}, "text": "{title}. {kind}"}
    platforms = [
        {
            "name": name,
            "interactions": {"path": str(shop.folder / rows), "columns": columns, "events": events},
            "items": {"path": str(shop.folder / catalogue), **items},
        }
        for name, rows, catalogue in (("a", "a-*.csv", "a-*.csv"), ("b", "b.jsonl", "b-items.tsv"))
    ]
    platforms[0]["items"] |= {"columns": items["columns"] | {"item_id": "item"}, "exclude": ["a7", "a5*"]}
    platforms[1]["users"] = {"path": str(shop.folder / "b-users.csv"), "columns": {"user_id": "user"}, "tags": ["town"]}
    ends = {"left": {"platform": "a", "id": "one"}, "right": {"platform": "b", "id": "two"}}
    shop.config["data"] = {
        "platforms": platforms,
        "identity": {
            "users": [{"path": str(shop.folder / "links.csv"), **ends}],
            "match_items": {"propose": 0.3, "apply": 0.8},
        },
        "clean": {"max_rejected": 0.2, "bots": 40},
        "half_life_days": 30,
        "min_interactions": {"user": 3, "item": 3},
    }
    shop.config["domains"] = {"target": {"category": "Food"}}
    shop.config["split"] = {"strategy": "time", "valid_from": 0.7, "test_from": 0.85}


def stopped(monkeypatch) -> list[dict[str, str]]:
    """Some settings of each session that ends from here on."""
    found, stop = [], sql.SparkSession.stop

    def noted(session):
        names = ("spark.master", "spark.sql.shuffle.partitions", "spark.driver.memory")
        found.append({name: session.conf.get(name) for name in names})
        stop(session)

    monkeypatch.setattr(sql.SparkSession, "stop", noted)
    return found


@pytest.mark.skipif(shutil.which("java") is None, reason="there is no Java for Spark")
def test_spark_gives_what_duckdb_gives(shop, monkeypatch):
    plain = (
        "spark.sql.codegen.wholeStage=false",
        "spark.sql.codegen.factoryMode=NO_CODEGEN",
        "spark.sql.adaptive.enabled=false",
        "spark.driver.memory=1g",
        "spark.sql.shuffle.partitions=1",
    )  # few rows, many queries
    java = "--driver-java-options '-XX:TieredStopAtLevel=1 -XX:+UseSerialGC'"  # nothing runs long enough to optimise
    arguments = [*(f"--conf {setting}" for setting in plain), java, "pyspark-shell"]
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", " ".join(arguments))
    messy(shop)
    config(shop)
    ours = preprocess(shop)
    sessions = stopped(monkeypatch)
    shop.config["data"]["engine"] = "spark"
    theirs = preprocess(shop)
    assert sessions == [{"spark.master": "local[1]", "spark.sql.shuffle.partitions": "1", "spark.driver.memory": "1g"}]
    assert set(ours) == set(theirs)
    assert len(ours["interactions"]) > 300
    assert len(ours["item_links"]) > 3
    assert set(ours["rejected"]["reason"]) > {
        "a return",
        "returned",
        "unreadable time",
        "unknown event",
        "excluded item",
    }
    for name, table in ours.items():
        pd.testing.assert_frame_equal(table, theirs[name], check_exact=False, rtol=1e-9, obj=name)


def test_without_java_it_says_what_is_missing(shop, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    shop.config["data"]["engine"] = "spark"
    with fails(UnavailableError, "Java 17", "'java'", "PATH"):
        preprocess(shop)
