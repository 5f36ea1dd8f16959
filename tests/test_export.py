"""A model in a folder of its own: ``crossrec export`` and ``crossrec recommend --from``."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import safetensors.torch
from typer.testing import CliRunner

from crossrec_cli.cli import app
from crossrec_cli.config.document import masked
from crossrec_cli.config.load import load_config
from crossrec_cli.errors import ExitCode
from crossrec_cli.export import write
from crossrec_cli.stages import learn

WIDE = ("--set", "recommend.k=100")


@pytest.fixture(scope="module")
def of_the_shop(pristine, tmp_path_factory):
    """The planted shop's export, and the lists that its run makes."""
    shop, copy = pristine
    shutil.rmtree(shop.folder)
    shutil.copytree(copy, shop.folder, symlinks=True)
    folder = tmp_path_factory.mktemp("of") / "export"
    for command in (("recommend", shop.path, *WIDE), ("export", shop.path, folder, *WIDE)):
        done = CliRunner().invoke(app, list(map(str, command)))
        assert done.exit_code == 0, done.output
    return folder, (shop.run_dir / "recommend/current/recommendations.parquet").read_bytes()


@pytest.fixture
def exported(of_the_shop, pristine, tmp_path):
    """The same as if nobody had served from it; the run and its data are gone."""
    made, lists = of_the_shop
    shutil.rmtree(pristine[0].folder)
    pristine[0].folder.mkdir()
    return Path(shutil.copytree(made, tmp_path / "export")), lists


def test_the_folder_alone_gives_the_very_lists(exported, crossrec):
    folder, lists = exported
    moved = folder.rename(folder.with_name("elsewhere"))
    done = crossrec("recommend", "--from", moved)
    assert done.exit_code == 0, done.output
    assert (moved / "recommend/current/recommendations.parquet").read_bytes() == lists
    again = crossrec("recommend", "--from", moved)
    assert "up to date" in again.output


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


def test_rules_and_events_go_along_and_the_folder_serves_elsewhere(trained, crossrec):
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
    assert done.exit_code == ExitCode.INPUT
    assert "recommend.rules.block: nowhere.csv" in done.stderr
    assert not (trained.folder / "export").exists()


def score(folder, history: pd.DataFrame, tags: list[float]) -> pd.Series:
    """Every item's score for one user, by ONNX and NumPy."""
    items = pd.read_parquet(folder / "item_vectors.parquet").set_index("item_id")
    vectors = np.stack(items["vector"].to_list())
    own = items.index.get_indexer(history["item_id"])
    given = {
        "vectors": np.vstack([vectors[own], np.zeros((2, vectors.shape[1]))]),  # filled up, as beside longer ones
        "weights": np.append(history["weight"], [0, 0]),
        "in_target": np.append(items["domain"].to_numpy()[own] == "target", [0, 0]),
        "tags": tags,
    }
    tower = onnxruntime.InferenceSession(folder / "user_tower.onnx")
    (users,) = tower.run(None, {name: np.array([value, value], np.float32) for name, value in given.items()})
    assert (users[0] == users[1]).all()
    return pd.Series(1 / (1 + np.exp(-(vectors @ users[0] + items["bias"]))), items.index)


@pytest.mark.parametrize(
    "interest",
    [
        {"user_encoder": "bag"},
        {"user_encoder": "hybrid", "max_sequence": 8, "members": 2},  # shorter than most histories
    ],
    ids=["bag", "two hybrids"],
)
@pytest.mark.parametrize("linear", [False, True], ids=["trained alone", "with EASE"])
def test_onnx_scores_as_crossrec_does(shop, crossrec, monkeypatch, interest, linear):
    monkeypatch.setattr(learn, "LEAST_GAIN", 0 if linear else 1e9)
    shop.config["interest"] |= interest
    shop.config["adapt"]["epochs"], shop.config["finetune"]["epochs"] = 2, 1
    shop.config["recommend"] |= {"k": 100, "reasons": 0}
    for stage in ("preprocess", "pretrain-adapt", "finetune", "recommend"):
        assert crossrec(stage, shop.path).exit_code == 0
    weights = safetensors.torch.load_file(shop.run_dir / "finetune" / "current" / "model.safetensors")
    assert (f"models.{interest.get('members', 1)}.nobody" in weights) == linear
    folder = shop.folder / "export"
    done = crossrec("export", shop.path, folder)
    assert done.exit_code == 0, done.output
    assert (" and EASE" in (folder / "README.md").read_text()) == linear
    histories = shop.table("preprocess", "interactions").merge(shop.table("preprocess", "items"), on="item_index")
    users, lists = shop.table("preprocess", "users"), shop.table("recommend", "recommendations")
    for user in ("jazz3", "metal7", "blues-reader2", "new"):
        index = users.set_index("user_id").loc[user, "user_index"]
        history = histories[histories["user_index"] == index].sort_values("timestamp", kind="stable")
        theirs = lists[lists["user_id"] == user].set_index("item_id")["score"]
        ours = score(folder, history.assign(weight=1.0), [float(user == "new" or user.startswith("jazz"))])
        assert len(theirs) > 20
        np.testing.assert_allclose(ours[theirs.index], theirs, atol=1e-6, rtol=1e-4)


def test_the_item_tower_places_an_added_item(trained, crossrec):
    new = trained.folder / "new.parquet"
    pd.DataFrame(
        [("metal-new", "book", "metal book live"), ("old-new", "record", "jazz record red")],
        columns=["item", "kind", "title"],
    ).to_parquet(new)
    assert crossrec("items", "add", trained.path, new).exit_code == 0
    added = trained.table("items", "added_items").set_index("item_id")
    folder = trained.folder / "export"
    assert crossrec("export", trained.path, folder).exit_code == 0
    tower = onnxruntime.InferenceSession(folder / "item_tower.onnx")
    embedding = np.stack(added["embedding"].to_list())
    in_target = (added["domain"] == "target").to_numpy(np.float32)
    vectors, bias = tower.run(None, {"embedding": embedding, "in_target": in_target})
    items = pd.read_parquet(folder / "item_vectors.parquet").set_index("item_id").loc[added.index]
    np.testing.assert_allclose(vectors, np.stack(items["vector"].to_list()), atol=1e-5)
    np.testing.assert_allclose(bias, items["bias"], atol=1e-5)
    lists = crossrec("recommend", "--from", folder, *WIDE, "--user", "metal3", "--format", "csv").stdout
    assert "metal-new" in lists


def test_the_cards_lines_run_and_give_what_the_command_gives(exported, crossrec):
    folder, _ = exported
    card = (folder / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    told = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True).stdout
    bought = re.findall(r"'([^']+)'", re.search(r"in (\[.*?\])\]", code)[1])
    events = folder.parent / "events.csv"
    events.write_text("user_id,item_id\n" + "".join(f"somebody,{item}\n" for item in bought))
    asked = ("--user", "somebody", "--format", "csv")
    listed = crossrec("recommend", "--from", folder, "--events", events, *asked).stdout
    theirs = {row["item_id"]: float(row["score"]) for row in csv.DictReader(listed.splitlines())}
    ours = {item: float(value) for item, value in (row.split() for row in told.splitlines())}
    assert len(theirs) > 20
    assert all(ours[item] == pytest.approx(value, abs=1e-4) for item, value in theirs.items())
    assert "NDCG@5" in card


def test_an_export_that_fails_leaves_the_one_before(exported, trained, crossrec, monkeypatch):
    folder, lists = exported

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device", str(folder / "item_tower.onnx"))

    monkeypatch.setattr(write, "write_item_tower", fail)
    done = crossrec("export", trained.path, folder)
    assert done.exit_code != 0
    assert "No space left" in done.stderr.strip().splitlines()[-1]
    assert [path.name for path in folder.parent.iterdir()] == ["export"]
    crossrec("recommend", "--from", folder)
    assert (folder / "recommend/current/recommendations.parquet").read_bytes() == lists


def test_an_export_takes_the_place_of_the_one_before(exported, trained, crossrec):
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


def test_a_folder_with_something_else_is_not_replaced(trained, crossrec):
    folder = trained.folder / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years")
    done = crossrec("export", trained.path, folder)
    assert done.exit_code == ExitCode.CONFIG
    assert "holds something else than a crossrec export" in done.stderr
    (folder / "thesis.txt").unlink()
    assert crossrec("export", trained.path, folder).exit_code == 0
    (folder / "thesis.txt").write_text("years")
    assert "thesis.txt is not of the export there" in crossrec("export", trained.path, folder).stderr
    assert (folder / "thesis.txt").read_text() == "years"


@pytest.mark.parametrize("file", ["item_vectors.parquet", "model.safetensors", "config.yaml"])
def test_a_damaged_file_is_named(exported, crossrec, file):
    folder, _ = exported
    content = bytearray((folder / file).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / file).write_bytes(content)
    done = crossrec("recommend", "--from", folder)
    assert done.exit_code == ExitCode.ARTIFACT
    assert file in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ((), ExitCode.CONFIG, "give either a CONFIG or, with --from"),
        (("config.yaml", "--from", "export"), ExitCode.CONFIG, "give either a CONFIG or, with --from"),
        (("--from", "run"), ExitCode.ARTIFACT, "no crossrec export"),
        (("--from", "export", "--set", "interest.dim=8"), ExitCode.CONFIG, "interest is how the export was made"),
        (("--from", "export", "--set", "recommend.kk=8"), ExitCode.CONFIG, "recommend.kk"),
        (("--from", "export", "--user", "stranger"), ExitCode.INPUT, "stranger"),
    ],
)
def test_wrong_ways_to_serve(exported, crossrec, monkeypatch, arguments, code, told):
    folder, _ = exported
    monkeypatch.chdir(folder.parent)
    done = crossrec("recommend", *arguments)
    assert done.exit_code == code, done.output
    assert told in " ".join(done.stderr.split())


def test_without_onnx_the_extra_is_named(trained, crossrec, monkeypatch):
    monkeypatch.setattr(write, "find_spec", lambda name: None)
    done = crossrec("export", trained.path, trained.folder / "export")
    assert done.exit_code == ExitCode.UNAVAILABLE
    assert "pip install 'crossrec[onnx]'" in " ".join(done.stderr.split())
    assert not (trained.folder / "export").exists()


def test_addresses_tell_no_password(shop):
    platform = shop.config["data"]["platforms"][0]
    platform["interactions"]["path"] = "https://ann:secret@shop.example/a.parquet?token=abc"
    hidden = masked(load_config(shop.path))
    assert hidden.data.platforms[0].interactions.path == "https://***@shop.example/a.parquet?***"
    assert hidden.data.platforms[0].items == load_config(shop.path).data.platforms[0].items
