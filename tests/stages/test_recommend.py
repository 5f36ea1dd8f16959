"""Lists for some and for many: files, formats, and a run that goes on after a kill."""

from __future__ import annotations

import csv
import io
import json

import pandas as pd
import pyarrow as pa
import pytest
from facts import check_failed, lacking, warns
from typer.testing import CliRunner

from crossrec_cli.artifacts import parquet
from crossrec_cli.cli import app
from crossrec_cli.errors import ExitCode
from crossrec_cli.ranking.list_text import csv_lines
from crossrec_cli.ranking.recommender import Recommender
from crossrec_cli.stages import recommend as stage

FIRST = ["user_id", "rank", "item_id"]


def test_lists_asked_for_are_those_of_the_file_and_write_nothing(trained, crossrec):
    before = trained.table("recommend", "recommendations")
    artifact = (trained.run_dir / "recommend" / "current").readlink()
    done = crossrec("recommend", trained.path, "--user", "metal3", "--user", "new", "--json")
    lists = json.loads(done.stdout)["lists"]
    assert list(lists) == ["metal3", "new"]
    for user, rows in lists.items():
        theirs = before[before["user_id"] == user]
        assert [row["item_id"] for row in rows] == theirs["item_id"].tolist()
        assert [row["score"] for row in rows] == pytest.approx(theirs["score"].tolist(), abs=1e-6)
    assert (trained.run_dir / "recommend" / "current").readlink() == artifact


def test_users_from_a_file_and_from_standard_input_as_csv(trained, crossrec):
    pd.DataFrame({"user_id": ["jazz1", "stranger", "metal3"]}).to_csv(trained.folder / "vip.csv", index=False)
    done = crossrec("recommend", trained.path, "--users", trained.folder / "vip.csv", "--format", "csv")
    assert warns(done, "--users", trained.folder / "vip.csv", "1 of 3")
    from_file = pd.read_csv(io.StringIO(done.stdout))
    whole = trained.table("recommend", "recommendations")
    expected = whole.set_index("user_id").loc[["jazz1", "metal3"]].reset_index()
    pd.testing.assert_frame_equal(from_file[FIRST], expected[FIRST], check_dtype=False)
    arguments = ["recommend", str(trained.path), "--users", "-", "--format", "csv"]
    piped = CliRunner().invoke(app, arguments, input="jazz1\nmetal3\n")
    assert piped.stdout == done.stdout


def test_csv_without_users_prints_every_list(trained, crossrec):
    done = crossrec("recommend", trained.path, "--format", "csv")
    printed, whole = pd.read_csv(io.StringIO(done.stdout)), trained.table("recommend", "recommendations")
    pd.testing.assert_frame_equal(printed[FIRST], whole[FIRST], check_dtype=False)


def test_csv_and_json_lines_beside_parquet(trained, crossrec):
    assert crossrec("recommend", trained.path, "--set", "recommend.also=[csv, jsonl]").exit_code == 0
    whole, folder = trained.table("recommend", "recommendations"), trained.run_dir / "recommend" / "current"
    pd.testing.assert_frame_equal(pd.read_csv(folder / "recommendations.csv")[FIRST], whole[FIRST], check_dtype=False)
    lines = [json.loads(line) for line in (folder / "recommendations.jsonl").read_text().splitlines()]
    assert [row["item_id"] for row in lines] == whole["item_id"].tolist()
    assert lines[0]["reasons"][0]["item_id"] == whole["reasons"][0][0]["item_id"]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ('=HYPERLINK("x")', '\'=HYPERLINK("x")'),
        ("+1;cmd|' /C calc'!A0", "'+1;cmd|' /C calc'!A0"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-2.5", "-2.5"),
        ("tea = good", "tea = good"),
        (None, ""),
    ],
)
def test_a_spreadsheet_runs_no_text(text, written):
    lines = csv_lines(pa.table({"text": pa.array(["x", text], pa.string())}), header=True)
    assert list(csv.reader(io.StringIO(lines)))[2] == ([written] if written else [])


def test_a_killed_run_goes_on_after_its_last_whole_part(trained, crossrec, monkeypatch):
    """The rules are there so that what they kept out is still counted over all parts."""
    setting = ("--set", "recommend.rules.per_category=3", "--set", "recommend.users=all", "--json")
    monkeypatch.setattr(stage, "PART", 50)
    whole = json.loads(crossrec("recommend", trained.path, *setting, "--force").stdout)["stages"][0]
    before = trained.table("recommend", "recommendations")
    served, real = [], Recommender.lists

    def killed(self, users, advance=None):
        if len(served) == 2 and not monkeypatched["on"]:
            raise MemoryError("killed")
        served.append(len(users))
        return real(self, users, advance)

    monkeypatched = {"on": False}
    monkeypatch.setattr(Recommender, "lists", killed)
    assert crossrec("recommend", trained.path, *setting, "--force").exit_code == ExitCode.INTERNAL
    monkeypatched["on"] = True
    again = json.loads(crossrec("recommend", trained.path, *setting, "--force").stdout)["stages"][0]
    assert served[:2] == [50, 50]
    assert sum(served) == whole["summary"]["users"] > 150  # nobody twice
    for one in (whole, again):
        del one["summary"]["drift"]  # from different lists
    assert again["summary"] == whole["summary"]
    pd.testing.assert_frame_equal(trained.table("recommend", "recommendations"), before)
    assert not list((trained.run_dir / "recommend").glob(".checkpoint*"))


def test_ids_of_all_users_are_looked_up_once_and_not_once_a_part(trained, crossrec, monkeypatch):
    looked_up, real = [], parquet.row_indices
    monkeypatch.setattr(stage, "PART", 20)
    monkeypatch.setattr(parquet, "row_indices", lambda ids, known: looked_up.append(len(ids)) or real(ids, known))
    done = json.loads(crossrec("recommend", trained.path, "--force", "--json").stdout)["stages"][0]["summary"]
    assert looked_up == [trained.table("recommend", "recommendations")["user_id"].nunique()]
    assert looked_up[0] > 100
    bought = trained.table("preprocess", "interactions")["user_index"].unique()
    users = trained.table("preprocess", "users")
    assert done["examples"]["bought nothing yet"] == users[~users.index.isin(bought)]["user_id"].iloc[0]


def test_prices_stand_beside_the_names_where_there_are_any(trained, crossrec):
    assert "9.50" not in crossrec("recommend", trained.path, "--user", "new").stdout
    items = pd.read_parquet(trained.folder / "items.parquet").assign(cost=9.5)
    items.to_parquet(trained.folder / "items.parquet")
    trained.config["data"]["platforms"][0]["items"]["columns"]["price"] = "cost"
    fast = ("--set", "adapt.epochs=1", "--set", "finetune.epochs=1")
    assert crossrec("run", trained.path, *fast).exit_code == 0
    lines = crossrec("recommend", trained.path, *fast, "--user", "new").stdout.splitlines()
    assert "9.50" in lines[1]


@pytest.mark.parametrize(
    ("arguments", "code", "facts"),
    [
        (["--user", "nobody"], ExitCode.INPUT, ["--user", "'nobody'"]),
        (["--users", "nowhere.csv"], ExitCode.INPUT, ["--users", "nowhere.csv"]),
        (["--users", "bad.csv"], ExitCode.INPUT, ["--users", "bad.csv", "'user_id'", "who"]),
        (["--format", "xml"], ExitCode.CONFIG, ["'xml'"]),
        (["--users", "-", "--why-not", "jazz-book-1"], ExitCode.CONFIG, ["--why-not", "--user"]),
    ],
)
def test_wrong_questions(trained, crossrec, monkeypatch, arguments, code, facts):
    monkeypatch.chdir(trained.folder)
    (trained.folder / "bad.csv").write_text("who\nme\n")
    done = crossrec("recommend", trained.path, *arguments)
    assert done.exit_code == code
    assert not lacking(done.stderr, *facts)


def test_lists_need_a_model_that_is_up_to_date(trained, crossrec):
    done = crossrec("recommend", trained.path, "--user", "new", "--set", "finetune.epochs=9")
    check_failed(done, ExitCode.ARTIFACT, "finetune.epochs", 5, 9, "crossrec finetune")
