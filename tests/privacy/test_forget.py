"""``crossrec forget``: what is left of people, and of everything else."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import signal
import sqlite3
import sys
from contextlib import closing
from copy import deepcopy
from pathlib import Path
from random import Random

import pandas as pd
import pyarrow as pa
import pytest
from conftest import Shop, make_shop, stages_that_ran
from facts import check_failed, lacking
from fastapi.testclient import TestClient
from traces import command, naming, tables, text_of, tree
from typer.testing import CliRunner

from crossrec_cli.artifacts.store import CURRENT, Store
from crossrec_cli.cli import app
from crossrec_cli.config.load import load_config
from crossrec_cli.errors import ExitCode
from crossrec_cli.export import write
from crossrec_cli.pipeline.plan import UP_TO_DATE, plan
from crossrec_cli.privacy import forgetting
from crossrec_cli.runtime.progress import Silent
from crossrec_cli.serving.app import create_app
from crossrec_cli.serving.event_store import Events, UserEvent
from crossrec_cli.serving.exploration import explored
from crossrec_cli.serving.impression_log import Feedback, ImpressionLog
from crossrec_cli.serving.live import Service

FORGOTTEN = ("jazz3", "blues-reader0")
"""Somebody of whom there is something everywhere, and the first of all, who stands as an example here and there."""
STAGES = ("preprocess", "pretrain-adapt", "finetune", "evaluate", "recommend")
FORK = multiprocessing.get_context("fork")


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_bert) -> tuple[Shop, Path]:
    """A shop whose run directory has all that may have people in it, and a copy of its folder."""
    shop = make_shop(tmp_path_factory.mktemp("made"), tiny_bert)
    rows = pd.read_parquet(shop.folder / "interactions.parquet")
    rejected = [{"user": user, "item": "gone", "time": rows["time"].max()} for user in ("jazz4", "jazz3", "jazz3")]
    pd.concat([rows, pd.DataFrame(rejected)]).to_parquet(shop.folder / "interactions.parquet")
    pd.DataFrame({"query": ["jazz"] * 2, "user_id": ["jazz3", "jazz4"]}).to_csv(
        shop.folder / "queries.csv", index=False
    )
    shop.config["interest"]["scorers"] = ["text", "words", "popularity"]
    shop.config["evaluate"] = {"k": [5], "baselines": ["popularity"]}
    shop.config["recommend"] |= {"also": ["csv", "jsonl"]}
    shop.config["report"] = {"examples": 100, "ids": "real"}
    shop.config["data"]["clean"] = {"max_rejected": 0.5}
    command("run", shop.path)
    for stage in ("preprocess", "evaluate", "recommend"):
        command(stage, shop.path, "--force")
    command("audience", shop.path, "jazz-book-1", "metal-book-1")
    command("search", shop.path, "--queries", shop.folder / "queries.csv")
    Events(100, shop.run_dir / "events.db").add(
        [UserEvent(user, "jazz-book-1") for user in ("jazz3", "jazz4", "only-events")]
    )
    lists = shop.run_dir / "recommend" / CURRENT / "recommendations.parquet"
    shutil.copyfile(lists, shop.run_dir / "recommend" / ".checkpoint-0.0000000000.parquet")
    for name in ("run.log", "events.jsonl"):
        with (shop.run_dir / name).open("a") as log:
            log.write("no user 'jazz3' in the data, but 'jazz4'\n" if name == "run.log" else '{"message": "jazz3"}\n')
    copy = tmp_path_factory.mktemp("copy")
    shutil.copytree(shop.folder, copy, symlinks=True, dirs_exist_ok=True)
    return shop, copy


@pytest.fixture
def shop(made) -> Shop:
    """The same as if nobody had touched it."""
    shop, copy = made
    shutil.rmtree(shop.folder)
    shutil.copytree(copy, shop.folder, symlinks=True)
    return Shop(shop.folder, deepcopy(shop.config))


def of_others(name: str, rows: pd.DataFrame, users: pd.DataFrame, raw: Path) -> pd.DataFrame:
    """The rows of a table that are not of those to forget."""
    if name.endswith("users.parquet"):
        return rows
    if "user_index" in rows:
        theirs = rows["user_index"].isin(users.index[users["user_id"].isin(FORGOTTEN)])
    elif "user_id" in rows:
        theirs = rows["user_id"].isin(FORGOTTEN)
    elif name.endswith("rejected.parquet"):
        theirs = pd.read_parquet(raw)["user"].iloc[rows["row"] - 1].isin(FORGOTTEN).to_numpy()
    else:
        theirs = pd.Series(False, rows.index)
    return rows[~theirs].reset_index(drop=True)


def test_nothing_of_them_is_left_and_nothing_of_others_is_gone(shop, crossrec):
    expected = {
        *("preprocess/interactions.parquet", "preprocess/users.parquet"),
        *(f"recommend/recommendations.{form}" for form in ("parquet", "csv", "jsonl")),
        *("recommend/manifest.json", "recommend/.checkpoint-0.0000000000.parquet"),
        *("evaluate/per_user.parquet", "evaluate/examples.parquet", "report.html"),
        *("audience.parquet", "found.parquet", "run.log", "events.jsonl", "events.db"),
    }
    assert naming(shop.run_dir, *FORGOTTEN) == expected
    before, raw = dict(tables(shop.run_dir)), shop.folder / "interactions.parquet"
    users = before["preprocess 0 users.parquet"]
    done = crossrec("forget", shop.path, *FORGOTTEN, "--json")
    assert done.exit_code == 0, done.output
    assert naming(shop.run_dir, *FORGOTTEN) == set()
    after = dict(tables(shop.run_dir))
    assert after.keys() == before.keys()
    for name, rows in after.items():
        if name.endswith("users.parquet"):
            gone = users["user_id"].isin(FORGOTTEN)
            pd.testing.assert_frame_equal(rows[~gone], before[name][~gone])
            assert rows.loc[gone, ["user_id", "platform", "recency_days"]].isna().all(axis=None)
            assert not rows.loc[gone, "activity"].any()
            assert not rows.loc[gone, "tags"].map(len).any()
            assert (rows["user_index"] == users["user_index"]).all()
        else:
            others = of_others(name, before[name], users, raw)
            pd.testing.assert_frame_equal(rows, others, check_exact=True)
    assert len(after["preprocess 1 rejected.parquet"]) == len(before["preprocess 1 rejected.parquet"]) - 2
    log = (shop.run_dir / "run.log").read_text()
    assert not lacking(log, "no user '***' in the data, but 'jazz4'")
    lists = shop.run_dir / "recommend" / CURRENT
    of_csv, of_json = (
        pd.read_csv(lists / "recommendations.csv"),
        pd.read_json(lists / "recommendations.jsonl", lines=True),
    )
    for listed in (of_csv, of_json):
        assert listed["user_id"].tolist() == after["recommend 1 recommendations.parquet"]["user_id"].tolist()


def test_no_stage_runs_again_and_everything_goes_on_without_them(shop, crossrec):
    others = ("recommend", shop.path, "--user", "jazz4", "--user", "new", "--json")
    page = (shop.run_dir / "report.html").read_text()
    lists = json.loads(crossrec(*others).stdout)["lists"]
    document = json.loads(crossrec("forget", shop.path, *FORGOTTEN, "--json").stdout)
    assert stages_that_ran(crossrec("run", shop.path, "--json").stdout) == []
    check_failed(crossrec("recommend", shop.path, "--user", "jazz3"), ExitCode.INPUT, "'jazz3'")
    assert json.loads(crossrec(*others).stdout)["lists"] == lists
    cleaned = shop.table("recommend", "recommendations")
    assert crossrec("recommend", shop.path, "--force").exit_code == 0
    pd.testing.assert_frame_equal(shop.table("recommend", "recommendations"), cleaned, rtol=1e-5)
    assert crossrec("audience", shop.path, "jazz-book-1", "--size", "1000").exit_code == 0
    assert pd.read_parquet(shop.run_dir / "audience.parquet")["user_id"].notna().all()
    examples = set(re.findall(r"<caption>User (\S+)</caption>", page))
    assert examples & set(FORGOTTEN)
    drawn = (shop.run_dir / "report.html").read_text()
    assert set(re.findall(r"<caption>User (\S+)</caption>", drawn)) == examples - set(FORGOTTEN)
    assert document["models"]["interactions"] == 16 + 4
    assert set(document["models"]["started"]) == {"pretrain-adapt", "finetune"}


def test_events_of_others_and_of_new_people_count_as_before(shop, crossrec):
    """With two nameless rows in the table of users."""
    events = shop.folder / "events.csv"
    pd.DataFrame({"user_id": ["jazz4", "stranger"], "item_id": ["metal-record-1"] * 2}).to_csv(events, index=False)
    asked = ("recommend", shop.path, "--events", events, "--user", "jazz4", "--user", "stranger", "--json")
    before = json.loads(crossrec(*asked).stdout)["lists"]
    command("forget", shop.path, *FORGOTTEN)
    assert json.loads(crossrec(*asked).stdout)["lists"] == before


def test_training_goes_without_them(shop, crossrec):
    command("forget", shop.path, *FORGOTTEN)
    again = crossrec("run", shop.path, "--from", "pretrain-adapt", "--force")
    assert again.exit_code == 0, again.output
    assert set(shop.table("evaluate", "per_user")["user_id"]).isdisjoint(FORGOTTEN)
    assert shop.table("recommend", "recommendations")["user_id"].notna().all()


def test_a_server_follows(shop):
    events = Events(100, shop.run_dir / "events.db")
    service = Service(load_config(shop.path), None, Silent(), events)
    client = TestClient(create_app(service, None))

    def answer(user: str) -> dict:
        return client.post("/recommend", json={"user_id": user}).json()

    other = answer("jazz4")
    assert answer("jazz3")["known"]
    command("forget", shop.path, *FORGOTTEN, "only-events")
    assert service.refresh()
    assert service.swaps["done"] == 1
    assert not answer("jazz3")["known"]
    assert answer("jazz4") == other
    assert [len(events.of(user)) for user in ("jazz3", "jazz4", "only-events")] == [0, 1, 0]


def test_what_would_be_removed_is_shown_and_nothing_is_changed(shop, crossrec):
    before = tree(shop.folder)
    planned = json.loads(crossrec("forget", shop.path, *FORGOTTEN, "--dry-run", "--json").stdout)
    assert tree(shop.folder) == before
    done = json.loads(crossrec("forget", shop.path, *FORGOTTEN, "--json").stdout)
    assert planned.pop("dry_run")
    assert not done.pop("dry_run")
    assert planned == done
    raw = pd.read_parquet(shop.folder / "interactions.parquet")["user"]
    assert planned["raw_files"] == {
        str(shop.folder / "interactions.parquet"): raw.isin(FORGOTTEN).sum(),
        str(shop.folder / "users.parquet"): 1,
    }
    by_name = {Path(file).name: rows for file, rows in planned["removed"].items()}
    assert by_name["interactions.parquet"] == done["models"]["interactions"] == raw.isin(FORGOTTEN).sum() - 2
    assert (by_name["users.parquet"], by_name["events.db"], by_name["run.log"]) == (2, 1, 1)
    assert (by_name["recommendations.parquet"], by_name["found.parquet"]) == (10, 10)


def test_ids_of_a_file_and_of_stdin(shop, crossrec):
    pd.DataFrame({"user_id": ["blues-reader0", "jazz3"]}).to_csv(shop.folder / "gone.csv", index=False)
    done = crossrec("forget", shop.path, "jazz4", "--users", shop.folder / "gone.csv", "--json", "--dry-run")
    assert json.loads(done.stdout)["users"] == ["jazz4", "blues-reader0", "jazz3"]
    done = CliRunner().invoke(app, ["forget", str(shop.path), "--users", "-", "--json"], input=" jazz3 \n\n")
    assert json.loads(done.stdout)["users"] == ["jazz3"]
    assert naming(shop.run_dir, "jazz3") == set()


def test_what_is_wrong_changes_nothing(shop, crossrec, tmp_path):
    before = tree(shop.run_dir)
    check_failed(crossrec("forget", shop.path, "jazz3", "nobody", "none"), ExitCode.INPUT, "'nobody'", 1)
    check_failed(crossrec("forget", shop.path), ExitCode.CONFIG, "--users")
    pd.DataFrame({"user_id": []}, dtype=str).to_csv(tmp_path / "empty.csv", index=False)
    nobody = crossrec("forget", shop.path, "--users", tmp_path / "empty.csv")
    check_failed(nobody, ExitCode.INPUT, "--users")
    named = crossrec("forget", shop.path, "jazz3", "--set", "recommend.users=[jazz4, jazz3]")
    check_failed(named, ExitCode.CONFIG, "recommend.users", "'jazz3'")
    check_failed(crossrec("forget", shop.path, "jazz3", "--export", tmp_path), ExitCode.ARTIFACT, tmp_path)
    missing = tmp_path / "missing"
    check_failed(crossrec("forget", shop.path, "jazz3", "--set", f"run_dir={missing}"), ExitCode.ARTIFACT, missing)
    assert not missing.exists()
    no_file = crossrec("forget", shop.path, "jazz3", "--events", missing)
    check_failed(no_file, ExitCode.INPUT, missing)
    with Store(shop.run_dir).lock():
        check_failed(crossrec("forget", shop.path, "jazz3"), ExitCode.LOCKED, shop.run_dir)
    assert tree(shop.run_dir) == before
    damaged = shop.run_dir / "evaluate" / CURRENT / "metrics.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    check_failed(crossrec("forget", shop.path, "jazz3"), ExitCode.ARTIFACT, damaged.resolve())
    assert "jazz3" in text_of(shop.run_dir / "preprocess" / CURRENT / "users.parquet")


def test_lists_of_chosen_people_stay_up_to_date_once_the_config_names_no_forgotten_one(shop, crossrec):
    shop.config["recommend"]["users"] = ["jazz3", "jazz4"]
    command("recommend", shop.path)
    assert "jazz3" in (shop.run_dir / "config.yaml").read_text()
    shop.config["recommend"]["users"] = ["jazz4"]
    command("forget", shop.path, "jazz3")
    assert naming(shop.run_dir, "jazz3") == set()
    assert stages_that_ran(crossrec("recommend", shop.path, "--json").stdout) == []


def test_who_is_forgotten_one_after_the_other(shop, crossrec):
    for user in FORGOTTEN:
        command("forget", shop.path, user)
        check_failed(crossrec("forget", shop.path, user), ExitCode.INPUT, f"'{user}'")
    assert naming(shop.run_dir, *FORGOTTEN) == set()
    assert stages_that_ran(crossrec("run", shop.path, "--json").stdout) == []
    assert all(len(Store(shop.run_dir).artifacts(stage)) <= 2 for stage in STAGES)


def forget_until(shop: Shop, last: int, changes: multiprocessing.Queue | None = None) -> None:
    """In a process of its own: forget, and be killed after so many changes to the disk; tell how many there are."""
    config, count = load_config(shop.path), 0
    traces = forgetting.look_up(config, pa.array(FORGOTTEN), [], [])

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event in {"os.rename", "os.remove", "os.rmdir", "os.symlink"} and str(arguments[0]).startswith(
            str(shop.run_dir)
        ):
            count += 1
            if count > last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    with Store(config.run_path).lock():
        forgetting.forget(config, traces)
    if changes is not None:
        changes.put(count)


def in_a_process(*arguments: object) -> int | None:
    process = FORK.Process(target=forget_until, args=arguments)
    process.start()
    process.join()
    return process.exitcode


@pytest.mark.slow
def test_killed_at_any_time_the_run_works_and_the_same_command_finishes(shop, crossrec):
    copy, changes = shop.folder.with_name("copy"), FORK.Queue()
    shutil.copytree(shop.folder, copy, symlinks=True)
    assert in_a_process(shop, 10**6, changes) == 0
    total = changes.get()
    assert total > 40
    for last in range(0, total, max(total // 6, 1)):
        shutil.rmtree(shop.folder)
        shutil.copytree(copy, shop.folder, symlinks=True)
        assert in_a_process(shop, last) == -signal.SIGKILL
        assert all(step.does == UP_TO_DATE for step in plan(load_config(shop.path), STAGES))
        with Store(shop.run_dir).lock():  # as every command that writes does
            pass
        left = naming(shop.run_dir, *FORGOTTEN)
        done = crossrec("forget", shop.path, *FORGOTTEN)
        assert done.exit_code == (0 if left else ExitCode.INPUT), done.output
        assert naming(shop.run_dir, *FORGOTTEN) == set()
        assert all(step.does == UP_TO_DATE for step in plan(load_config(shop.path), STAGES))
        assert not list(shop.run_dir.rglob(".draft*"))


def test_an_export_is_forgetful_too(shop, crossrec, monkeypatch, tmp_path):
    monkeypatch.setattr(write, "write_graph", lambda path, *_: path.write_bytes(b""))
    folder, events = tmp_path / "export", shop.folder / "events.csv"
    pd.DataFrame({"user_id": ["blues-reader0", "jazz4"], "item_id": ["metal-record-1"] * 2}).to_csv(events, index=False)
    shop.config["recommend"]["events"] = str(events)
    command("recommend", shop.path)
    command("export", shop.path, folder)
    command("recommend", "--from", folder)
    assert naming(folder, "blues-reader0") == {
        *("README.md", "interactions.parquet", "users.parquet", "events-events.csv", "recommend/manifest.json"),
        *(f"recommend/recommendations.{form}" for form in ("parquet", "csv", "jsonl")),
    }
    lists = pd.read_parquet(folder / "recommend" / CURRENT / "recommendations.parquet")
    folder.rename(folder.with_name(".export.before"))  # as if an earlier attempt had been killed there
    done = crossrec("forget", shop.path, "blues-reader0", "--export", folder, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["raw_files"][str(events)] == 1
    assert naming(folder, "blues-reader0") == naming(shop.run_dir, "blues-reader0") == set()
    assert stages_that_ran(crossrec("recommend", "--from", folder, "--json").stdout) == []
    left = pd.read_parquet(folder / "recommend" / CURRENT / "recommendations.parquet")
    pd.testing.assert_frame_equal(left, lists[lists["user_id"] != "blues-reader0"].reset_index(drop=True))
    (example,) = re.findall(r"crossrec (recommend --from) \. --user (\S+)", (folder / "README.md").read_text())
    assert crossrec("recommend", "--from", folder, "--user", example[1]).exit_code == 0
    assert [path.name for path in tmp_path.iterdir() if "export" in path.name] == ["export"]


def test_a_database_has_only_the_others_lists(shop, crossrec, tmp_path):
    shop.config["recommend"]["to"] = {"uri": f"sqlite:///{tmp_path / 'lists.db'}"}
    command("recommend", shop.path)

    def rows() -> list[tuple]:
        with closing(sqlite3.connect(tmp_path / "lists.db")) as database:
            return database.execute("SELECT * FROM recommendations").fetchall()

    before = rows()
    done = crossrec("forget", shop.path, *FORGOTTEN, "--json")
    assert json.loads(done.stdout)["rows_in_database"] == 10
    assert rows() == [row for row in before if row[0] not in FORGOTTEN]


def test_a_file_of_events_elsewhere(shop, crossrec, tmp_path):
    events = Events(100, tmp_path / "events.db")
    events.add([UserEvent("elsewhere", "jazz-book-1"), UserEvent("jazz4", "jazz-book-1")])
    done = crossrec("forget", shop.path, "elsewhere", "--events", tmp_path / "events.db")
    assert done.exit_code == 0, done.output
    assert (events.of("elsewhere"), events.of("jazz4")) == ([], ["jazz-book-1"])
    assert not any(b"elsewhere" in path.read_bytes() for path in tmp_path.glob("events.db*"))


def test_the_log_of_an_experiment_has_neither_their_lists_nor_what_they_did(shop, crossrec, tmp_path):
    log = ImpressionLog(tmp_path / "log")
    rows = [{"item_id": "jazz-book-1"}, {"item_id": "jazz-book-2"}]
    shown = {user: log.add(user, "a", 2, explored(rows, 0.0, Random(0))) for user in ("jazz3", "jazz4")}
    log.take([Feedback(impression, "jazz-book-1", "click") for impression in shown.values()])
    assert crossrec("feedback", tmp_path / "log").exit_code == 0
    done = crossrec("forget", shop.path, "jazz3", "--set", f"serve.log={tmp_path / 'log'}")
    assert done.exit_code == 0, done.output
    assert log.counts().lists == 1
    left = [row["user_id"] for table in log.tables() for row in table.to_pylist()]
    assert set(left) == {"jazz4"}
    assert set(pd.read_parquet(tmp_path / "log" / "impressions.parquet")["user_id"]) == {"jazz4"}
    assert not any(b"jazz3" in path.read_bytes() for path in (tmp_path / "log").glob("impressions.db*"))
