"""crossrec init: a config from what the columns are called."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from crossrec_cli.config.load import load_config
from crossrec_cli.errors import ExitCode


def begun(crossrec, folder):
    done = crossrec("init", folder, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout), load_config(folder / "crossrec.yaml")


def test_what_it_writes_runs(shop, crossrec):
    told, config = begun(crossrec, shop.folder)
    platform = config.data.platforms[0]
    assert platform.interactions.columns.model_dump(exclude_none=True) == {
        "user_id": "user",
        "item_id": "item",
        "timestamp": "time",
    }
    assert platform.items.columns.model_dump(exclude_none=True) == {"item_id": "item", "category": "kind"}
    assert platform.items.text == "{title}"
    assert platform.users.tags == (), "a club that all are in tells nothing"
    assert told["target"] == "book", "fewer books are bought than records"
    path = shop.folder / "crossrec.yaml"
    assert "1,440  record" in path.read_text()
    done = crossrec("preprocess", path, "--set", f"run_dir={shop.folder / 'begun'}")
    assert done.exit_code == 0, done.stderr
    assert crossrec("init", shop.folder).exit_code == ExitCode.INPUT, "it never writes over a config"


@pytest.fixture
def odd(tmp_path):
    """Names of another shop's, a column that no template can name, words of events, and files of no use."""
    rows = {
        "visitorid": list("abc"),
        "itemid": list("xyz"),
        "timestamp": [1.6e9] * 3,
        "event": ["view", "buy", "refund"],
    }
    pd.DataFrame(rows).to_csv(tmp_path / "events.csv.gz", index=False)
    goods = {
        "itemid": list("xyz"),
        "Main Category": ["A > B", "A # C", "D: [E"],
        "a {b}": list("tuv"),
        "note": list("tuv"),
    }
    pd.DataFrame(goods).to_json(tmp_path / "goods.jsonl", lines=True, orient="records")
    (tmp_path / "parts").mkdir()
    pd.DataFrame({"visitorid": list("ab"), "name": list("ab")}).to_parquet(tmp_path / "parts" / "0.parquet")
    (tmp_path / "old.csv").write_text("visitorid,itemid,timestamp\na,x,1\n")
    (tmp_path / "torn.parquet").write_text("PAR1")
    (tmp_path / "stock.csv").write_text("shelf,count\n1,2\n")
    (tmp_path / "notes.txt").write_text("nothing")
    return tmp_path


def test_odd_names_words_and_files(odd, crossrec):
    told, config = begun(crossrec, odd)
    platform = config.data.platforms[0]
    assert platform.interactions.columns.user_id == "visitorid"
    assert {word: event.weight for word, event in platform.interactions.events.items()} == {
        "buy": 1.0,
        "refund": 1.0,
        "view": 0.1,
    }
    assert platform.interactions.events["refund"].returns
    assert platform.items.columns.category == "Main Category"
    assert platform.items.text == "{note}. {Main Category}"
    assert platform.users.path == str(odd / "parts")
    assert config.domains.target.category == ("D: [E",)
    useless = ("old.csv", "stock.csv", "torn.parquet")
    assert [sum(name in reason for reason in told["passed_over"]) for name in useless] == [1, 1, 1]
    assert len(told["passed_over"]) == len(useless)


def test_a_log_that_tells_what_was_bought_is_enough_and_a_time_is_asked_for(tmp_path, crossrec):
    rows = {"customer": ["a", "b"], "sku": ["x", "y"], "department": ["A", "B"], "title": ["t", "u"]}
    pd.DataFrame(rows).to_csv(tmp_path / "log.csv", index=False)
    done = crossrec("init", tmp_path)
    assert done.exit_code == 0
    assert "looks like a time" in done.stderr
    config = load_config(tmp_path / "crossrec.yaml")
    assert config.data.platforms[0].items.path == config.data.platforms[0].interactions.path
    assert config.data.platforms[0].interactions.columns.timestamp == "FILL IN"


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "there is no table"),
        ({"a.csv": "user,colour\n1,2\n"}, "a user's and an item's id: "),
        ({"a.csv": "user,item,time\n1,2,3\n"}, "an item's id and a category: "),
    ],
)
def test_what_is_missing_is_named_and_nothing_is_written(tmp_path, crossrec, files, told):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    done = crossrec("init", tmp_path)
    assert done.exit_code == ExitCode.INPUT
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "crossrec.yaml").exists()
    assert crossrec("init", tmp_path / "nowhere").exit_code == ExitCode.INPUT
