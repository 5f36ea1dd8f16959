"""A model in a folder of its own: ``crossrec export`` and ``crossrec recommend --from``."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from conftest import Shop, stages_that_ran
from facts import check_failed
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from crossrec_cli.cli import app
from crossrec_cli.config.document import masked
from crossrec_cli.config.field_types import SCORERS
from crossrec_cli.config.load import load_config
from crossrec_cli.errors import ExitCode
from crossrec_cli.export import write
from crossrec_cli.export.folder import open_export
from crossrec_cli.pipeline.current import inputs_of
from crossrec_cli.ranking.recommender import Recommender
from crossrec_cli.runtime.progress import Silent
from crossrec_cli.serving.app import create_app
from crossrec_cli.serving.event_store import Events
from crossrec_cli.serving.live import Service

WIDE = ("--set", "recommend.k=100", "--json")


@pytest.fixture(scope="module")
def of_the_shop(pristine, tmp_path_factory):
    """The export of the planted shop and of two items that were added to it, and the lists that its run makes.

    Its user encoder has both parts, the bag and the sequence.
    """
    shop, copy = pristine
    shutil.rmtree(shop.folder)
    shutil.copytree(copy, shop.folder, symlinks=True)
    shop = Shop(shop.folder, deepcopy(shop.config))
    shop.config["interest"] |= {"user_encoder": "hybrid", "max_sequence": 8}
    shop.config["evaluate"]["baselines"] = ["popularity"]
    folder = tmp_path_factory.mktemp("of") / "export"
    new = shop.folder / "new.parquet"
    pd.DataFrame(
        [("metal-new", "book", "metal book live"), ("old-new", "record", "jazz record red")],
        columns=["item", "kind", "title"],
    ).to_parquet(new)
    for command in (
        ("run", shop.path, "--to", "evaluate"),
        ("items", "add", shop.path, new),
        ("recommend", shop.path, *WIDE),
        ("export", shop.path, folder, *WIDE),
    ):
        done = CliRunner().invoke(app, list(map(str, command)))
        assert done.exit_code == 0, done.output
    assert json.loads(done.stdout), "torch's exporter prints nothing between"
    return folder, (shop.run_dir / "recommend/current/recommendations.parquet").read_bytes()


@pytest.fixture
def exported(of_the_shop, pristine, tmp_path):
    """The same as if nobody had served from it; the run and its data are gone."""
    made, lists = of_the_shop
    shutil.rmtree(pristine[0].folder)
    pristine[0].folder.mkdir()
    return Path(shutil.copytree(made, tmp_path / "export")), lists


@pytest.fixture
def no_graph(monkeypatch):
    """Exports without the graph, for tests of the other files: it takes seconds to trace."""
    monkeypatch.setattr(write, "write_graph", lambda path, *_: path.write_bytes(b""))


def test_the_folder_alone_gives_the_very_lists(exported, crossrec):
    folder, lists = exported
    moved = folder.rename(folder.with_name("elsewhere"))
    done = crossrec("recommend", "--from", moved)
    assert done.exit_code == 0, done.output
    assert (moved / "recommend/current/recommendations.parquet").read_bytes() == lists
    assert stages_that_ran(crossrec("recommend", "--from", moved, "--json").stdout) == []


def test_what_is_set_and_new_events_change_the_lists(exported, crossrec):
    folder, _ = exported
    events = folder.parent / "events.csv"
    events.write_text("user_id,item_id\nnobody,metal-record-1\n")
    elsewhere = folder.parent / "lists"
    done = crossrec(
        "recommend", "--from", folder, "--events", events, "--set", f"run_dir={elsewhere}", "--set", "recommend.k=3"
    )
    assert done.exit_code == 0, done.output
    lists = pd.read_parquet(elsewhere / "recommend/current/recommendations.parquet")
    assert lists["rank"].max() == 3
    assert lists[lists["user_id"] == "nobody"]["item_id"].str.startswith("metal").all()
    assert not (folder / "recommend").exists()


def test_rules_and_events_go_along_and_the_folder_serves_elsewhere(trained, crossrec, no_graph):
    """Rule files of one name in two places; a --set is still of where the command runs."""
    for name, items in (("a", "jazz-book-1\njazz-book-2\n"), ("b", "metal-book-1\n")):
        (trained.folder / name).mkdir()
        (trained.folder / name / "items.csv").write_text(f"item_id\n{items}")
    (trained.folder / "events.csv").write_text("user_id,item_id\nsomebody,jazz-record-1\n")
    rules = {"allow": "a", "block": "b"}
    trained.config["recommend"]["rules"] = {key: str(trained.folder / of / "items.csv") for key, of in rules.items()}
    trained.config["recommend"]["events"] = str(trained.folder / "events.csv")
    folder = trained.folder.parent / f"{trained.folder.name}-export"
    shutil.rmtree(folder, ignore_errors=True)
    done = crossrec("export", trained.path, folder)
    assert done.exit_code == 0, done.output
    shutil.rmtree(trained.folder)
    moved = folder.rename(folder.with_name(f"{folder.name}-moved"))
    done = crossrec("recommend", "--from", moved)
    assert done.exit_code == 0, done.output
    lists = pd.read_parquet(moved / "recommend/current/recommendations.parquet")
    assert set(lists["item_id"]) == {"jazz-book-1", "jazz-book-2"}
    assert "somebody" in set(lists["user_id"])
    trained.folder.mkdir()
    (trained.folder / "mine.csv").write_text("item_id\nblues-book-1\n")
    mine = ("--set", f"recommend.rules.allow={trained.folder / 'mine.csv'}", "--user", "new", "--format", "csv")
    assert "blues-book-1" in crossrec("recommend", "--from", moved, *mine).stdout
    shutil.rmtree(moved)


def test_a_rule_file_that_is_gone_is_named_and_nothing_is_written(trained, crossrec):
    trained.config["recommend"]["rules"] = {"block": "nowhere.csv"}
    done = crossrec("export", trained.path, trained.folder / "export")
    check_failed(done, ExitCode.INPUT, "recommend.rules.block", "nowhere.csv")
    assert not (trained.folder / "export").exists()


def events_of(folder: Path) -> Path:
    """People whom the data do not have: one of the source alone, and one with much in both domains."""
    rows = [("passer-by", "metal-record-1"), *(("collector", f"jazz-record-{number % 40}") for number in range(300))]
    rows += [("collector", f"{taste}-book-{number}") for taste in ("jazz", "blues") for number in range(5)]
    path = folder / "events.csv"
    pd.DataFrame(rows, columns=["user_id", "item_id"]).to_csv(path, index=False)
    return path


class Served:
    """Scores of an export, three ways, with events since."""

    def __init__(self, folder: Path, crossrec) -> None:
        overrides = ["recommend.k=100", "recommend.reasons=0", f"recommend.events={events_of(folder.parent)}"]
        done = crossrec("recommend", "--from", folder, *(word for one in overrides for word in ("--set", one)))
        assert done.exit_code == 0, done.output
        config, made = open_export(folder, overrides)
        self.lists = pd.read_parquet(folder / "recommend/current/recommendations.parquet")
        self.client = TestClient(create_app(Service(config, made, Silent(), Events(10)), None))
        self.session = onnxruntime.InferenceSession(folder / "scorer.onnx")
        recommender = Recommender(config, inputs_of(config, "recommend", exported=made), Silent())
        self.ids, self.histories = recommender.dataset.items["item_id"].to_pylist(), recommender.dataset.histories
        self.users = recommender.dataset.users["user_id"].to_pylist()
        self.tags = pd.read_parquet(folder / "tags.parquet")

    def batch(self, user: str) -> pd.Series:
        return self.lists[self.lists["user_id"] == user].set_index("item_id")["score"].astype(float)

    def http(self, user: str) -> pd.Series:
        rows = pd.DataFrame(self.client.post("/recommend", json={"user_id": user, "k": 100}).json()["items"])
        return rows.set_index("item_id")["score"]

    def onnx(self, users: list[str], items: pd.Index) -> pd.DataFrame:
        """Of some users at once, so that some histories are filled up."""
        number = np.array([self.users.index(user) for user in users])
        given, borne = self.histories.items.take(number), self.histories.tags.take(number)
        _, filled = given.padded()
        history, weights = np.full(filled.shape, -1), np.zeros(filled.shape, np.float32)
        history[filled], weights[filled] = given.values, given.weights_or_ones
        tags = np.zeros((len(users), len(self.tags)), np.float32)
        tags[borne.rows, borne.values] = 1
        candidates = np.array([self.ids.index(item) for item in items])
        inputs = {"items": history, "weights": weights, "tags": tags, "candidates": candidates}
        return pd.DataFrame(self.session.run(["scores"], inputs)[0], users, items)


def give_one_score(served: Served) -> None:
    books = pd.Index([item for item in served.ids if "book" in item or item == "metal-new"])
    users = ["jazz3", "metal7", "blues-reader2", "new", "passer-by", "collector"]
    in_graph = served.onnx(users, books)
    for user in users:
        theirs = served.batch(user)
        assert len(theirs) > 20
        np.testing.assert_allclose(in_graph.loc[user, theirs.index], theirs, atol=1e-5)
        by_http = served.http(user)
        assert sorted(by_http.index) == sorted(theirs.index)
        np.testing.assert_allclose(by_http[theirs.index], theirs, atol=1e-5)


@pytest.mark.slow
def test_batch_http_and_onnx_give_one_score_where_nothing_is_trained(trained, crossrec):
    trained.config["interest"]["scorers"] = ["words", "popularity"]
    folder = trained.folder / "export"
    for command in (["pretrain-adapt", trained.path], ["finetune", trained.path], ["export", trained.path, folder]):
        done = crossrec(*command)
        assert done.exit_code == 0, done.output
    give_one_score(Served(folder, crossrec))


def test_batch_http_and_onnx_give_one_score_of_an_added_item_too(exported, crossrec):
    folder, _ = exported
    served = Served(folder, crossrec)
    assert "metal-new" in served.batch("metal3").index
    give_one_score(served)


def cards_lines(folder: Path) -> dict[str, float]:
    """What the card's lines of Python print, which need no torch and nothing of crossrec."""
    code = the_code(folder)
    code += "\nimport sys\nassert not {'torch', 'crossrec_cli'} & sys.modules.keys()\n"
    told = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True).stdout
    return {item: float(value) for item, value in (row.split() for row in told.splitlines())}


def the_code(folder: Path) -> str:
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    return code


def test_the_cards_lines_run_and_give_what_the_command_gives(exported, crossrec):
    folder, _ = exported
    ours = cards_lines(folder)
    assert "metal-new" in ours, "an added item"
    bought = re.findall(r"'([^']+)'", re.search(r"for item in (\[.*?\])\]", the_code(folder))[1])
    events = folder.parent / "events.csv"
    events.write_text("user_id,item_id\n" + "".join(f"somebody,{item}\n" for item in bought))
    asked = ("--user", "somebody", "--format", "csv")
    listed = crossrec("recommend", "--from", folder, "--events", events, *asked).stdout
    theirs = {row["item_id"]: float(row["score"]) for row in csv.DictReader(listed.splitlines())}
    assert len(theirs) > 20
    assert all(ours[item] == pytest.approx(value, abs=1e-4) for item, value in theirs.items())


def test_the_card_says_what_counts_and_how_well_it_ranks(exported):
    folder, _ = exported
    card = (folder / "README.md").read_text()
    for name in SCORERS:
        assert re.search(rf"{name} \d+%", card), name
    assert "NDCG@5" in card


def test_an_export_that_fails_leaves_the_one_before(exported, trained, crossrec, monkeypatch):
    folder, lists = exported

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / "scorer.onnx"))

    monkeypatch.setattr(write, "write_graph", fail)
    done = crossrec("export", trained.path, folder)
    check_failed(done, ExitCode.ARTIFACT, "scorer.onnx", os.strerror(errno.ENOSPC))
    assert [path.name for path in folder.parent.iterdir()] == ["export"]
    crossrec("recommend", "--from", folder)
    assert (folder / "recommend/current/recommendations.parquet").read_bytes() == lists


def test_an_export_takes_the_place_of_the_one_before(exported, trained, crossrec, no_graph):
    folder, _ = exported
    crossrec("recommend", "--from", folder)
    assert crossrec("export", trained.path, folder).exit_code == 0
    assert not (folder / "recommend").exists()
    shown = crossrec("recommend", "--from", folder, "--user", "jazz3", "--format", "csv").stdout
    assert len(shown.splitlines()) == 6  # not the 100 of the one before
    assert [path.name for path in folder.parent.iterdir()] == ["export"]


def test_killed_between_two_renames_the_one_before_comes_back(exported, shop, crossrec):
    folder, lists = exported
    folder.rename(folder.with_name(".export.before"))
    folder.with_name(".export.draft").mkdir()
    assert crossrec("export", shop.path, folder).exit_code == ExitCode.ARTIFACT  # nothing was trained
    crossrec("recommend", "--from", folder)
    assert (folder / "recommend/current/recommendations.parquet").read_bytes() == lists
    assert not list(folder.parent.glob(".export*"))


def test_a_folder_with_something_else_is_not_replaced(trained, crossrec, no_graph):
    folder = trained.folder / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years")
    done = crossrec("export", trained.path, folder)
    check_failed(done, ExitCode.CONFIG, folder)
    (folder / "thesis.txt").unlink()
    assert crossrec("export", trained.path, folder).exit_code == 0
    (folder / "thesis.txt").write_text("years")
    assert "thesis.txt" in crossrec("export", trained.path, folder).stderr
    assert (folder / "thesis.txt").read_text() == "years"


@pytest.mark.parametrize("file", ["item_vectors.parquet", "scorers.safetensors", "config.yaml"])
def test_a_damaged_file_is_named(exported, crossrec, file):
    folder, _ = exported
    content = bytearray((folder / file).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / file).write_bytes(content)
    done = crossrec("recommend", "--from", folder)
    check_failed(done, ExitCode.ARTIFACT, folder / file)


@pytest.mark.parametrize(
    ("arguments", "code", "facts"),
    [
        ((), ExitCode.CONFIG, ["CONFIG", "--from"]),
        (("config.yaml", "--from", "export"), ExitCode.CONFIG, ["CONFIG", "--from"]),
        (("--from", "run"), ExitCode.ARTIFACT, ["--from", "run"]),
        (("--from", "export", "--set", "interest.dim=8"), ExitCode.CONFIG, ["--set", "interest"]),
        (("--from", "export", "--set", "recommend.kk=8"), ExitCode.CONFIG, ["recommend.kk", "'k'"]),
        (("--from", "export", "--user", "stranger"), ExitCode.INPUT, ["--user", "'stranger'"]),
    ],
)
def test_wrong_ways_to_serve(exported, crossrec, monkeypatch, arguments, code, facts):
    folder, _ = exported
    monkeypatch.chdir(folder.parent)
    check_failed(crossrec("recommend", *arguments), code, *facts)


def test_without_onnx_the_extra_is_named(trained, crossrec, monkeypatch):
    monkeypatch.setattr(write, "find_spec", lambda name: None)
    done = crossrec("export", trained.path, trained.folder / "export")
    check_failed(done, ExitCode.UNAVAILABLE, "pip install 'crossrec[onnx]'")
    assert not (trained.folder / "export").exists()


def test_addresses_tell_no_password(shop):
    platform = shop.config["data"]["platforms"][0]
    platform["interactions"]["path"] = "https://ann:secret@shop.example/a.parquet?token=abc"
    hidden = masked(load_config(shop.path))
    assert hidden.data.platforms[0].interactions.path == "https://***@shop.example/a.parquet?***"
    assert hidden.data.platforms[0].items == load_config(shop.path).data.platforms[0].items
