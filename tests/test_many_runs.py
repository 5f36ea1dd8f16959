"""Run directories side by side: ``crossrec ls``, ``compare`` and ``clean``."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from facts import check_failed, lacking, warns
from typer.testing import CliRunner

from crossrec_cli.artifacts.store import Store
from crossrec_cli.cli import app
from crossrec_cli.errors import ExitCode

LESS_TRAINED = ("--set", "finetune.epochs=1", "--set", "finetune.lr=1e-5")


def command(*arguments: object) -> None:
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.output


@pytest.fixture(scope="module")
def all_runs(pristine, tmp_path_factory):
    """A whole run, one less trained, one that was never evaluated, and the second with another seed, the newest last.

    Nobody may change them.
    """
    shop, copy = pristine
    shutil.rmtree(shop.folder)
    shutil.copytree(copy, shop.folder, symlinks=True)
    folder = tmp_path_factory.mktemp("runs")
    for name in ("first", "deep/second"):
        shutil.copytree(shop.run_dir, folder / name, symlinks=True)
    second = ("--set", f"run_dir={folder}/deep/second", *LESS_TRAINED, "--from", "finetune", "--to", "evaluate")
    command("run", shop.path, *second)
    command("preprocess", shop.path, "--set", f"run_dir={folder}/third")
    again = ("--set", f"run_dir={folder}/again", *LESS_TRAINED, "--set", "seed=5", "--to", "evaluate")
    shutil.copytree(folder / "deep" / "second", folder / "again", symlinks=True)
    command("run", shop.path, *again)
    shutil.rmtree(folder / "again" / "recommend")  # what comes after evaluate makes no other config
    (folder / "notes").mkdir()
    (folder / "notes" / "mine.txt").write_text("years")
    return folder


@pytest.fixture
def runs(all_runs, tmp_path):
    """A copy of the first three."""
    return Path(shutil.copytree(all_runs, tmp_path / "runs", symlinks=True, ignore=shutil.ignore_patterns("again")))


def document(crossrec, *arguments: object) -> dict:
    done = crossrec(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_runs_are_listed_with_stages_and_figures(runs, crossrec):
    found = {run["path"].removeprefix(f"{runs}/"): run for run in document(crossrec, "ls", runs)["runs"]}
    assert list(found) == ["third", "deep/second", "first"]
    assert found["third"]["stages"] == ["preprocess"]
    assert found["third"]["figures"] == {}
    assert found["first"]["figures"]["ndcg@5"] != found["deep/second"]["figures"]["ndcg@5"]
    assert found["first"]["bytes"] > found["third"]["bytes"] > 0
    text = crossrec("ls", runs).stdout
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "deep/second" in text
    assert crossrec("ls", runs / "first").stdout.count("recommend") == 1
    assert document(crossrec, "ls", runs / "notes")["runs"] == []
    assert crossrec("ls", runs / "notes").stdout.count("\n") == 1


def test_a_list_of_runs_imports_nothing_that_takes_long(tmp_path):
    code = (
        "import sys; from crossrec_cli.cli import app\n"
        f"try: app(['ls', {str(tmp_path)!r}])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'scipy', 'transformers', 'pandas', 'ibis', 'duckdb'} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_two_runs_are_compared_user_by_user_and_field_by_field(all_runs, crossrec):
    runs = all_runs
    found = document(crossrec, "compare", runs / "first", runs / "deep/second")
    (change,) = found["beside_first"]
    figures = [run["figures"]["ndcg@5"] for run in found["runs"]]
    assert change["mean"] == pytest.approx(figures[1] - figures[0])
    assert change["low"] < change["mean"] < change["high"]
    assert found["config"] == {"finetune.epochs": [5, 1], "finetune.lr": [0.01, 1e-05]}
    text = crossrec("compare", runs / "first", runs / "deep/second").stdout
    assert any(not lacking(line, "deep/second", "ndcg@5", f"{change['mean']:+.4f}") for line in text.splitlines())
    assert "finetune.lr" in text


def test_wrong_runs_to_compare(all_runs, crossrec):
    runs = all_runs
    for names, code, *facts in (
        (("first",), ExitCode.CONFIG),
        (("first", "notes"), ExitCode.INPUT, runs / "notes"),
        (("first", "third"), ExitCode.ARTIFACT, runs / "third", "evaluate"),
        (("first", "nowhere"), ExitCode.INPUT, runs / "nowhere"),
    ):
        check_failed(crossrec("compare", *(runs / name for name in names)), code, *facts)


def test_only_the_newest_runs_stay_and_nothing_else_goes(runs, crossrec):
    planned = document(crossrec, "clean", runs, "--keep", "1", "--dry-run")
    assert (runs / "first").exists()
    (runs / "first" / "thesis.txt").write_text("years")
    for name in (
        "found.parquet",
        ".found.parquet.123",
        ".report.html",
    ):  # of a search, and killed
        (runs / "deep" / "second" / name).write_text("")
    done = crossrec("clean", runs, "--keep", "1")
    assert done.exit_code == 0
    assert planned["removed"] == [str(runs / "deep/second"), str(runs / "first")]
    assert sorted(path.name for path in runs.iterdir()) == ["deep", "first", "notes", "third"]
    assert not (runs / "deep/second").exists()
    assert [path.name for path in (runs / "first").iterdir()] == ["thesis.txt"]
    assert warns(done, runs / "first")
    assert Store(runs / "third").current("preprocess")
    assert document(crossrec, "clean", runs, "--keep", "1")["removed"] == []


def test_a_run_at_work_stays(runs, crossrec):
    with Store(runs / "first").lock():
        done = crossrec("clean", runs, "--keep", "1")
    assert warns(done, "first")
    assert Store(runs / "first").current("recommend")
    assert not (runs / "deep/second").exists()


def test_a_directory_that_there_is_not(crossrec, tmp_path):
    done = crossrec("ls", tmp_path / "nowhere")
    check_failed(done, ExitCode.INPUT, tmp_path / "nowhere", os.strerror(errno.ENOENT))


def test_runs_that_differ_in_their_seed_alone_are_one(all_runs, crossrec):
    """Each user's score is the mean over the seeds, and what is told of them is told of that."""
    runs, again = all_runs, all_runs / "again"
    found = document(crossrec, "compare", runs / "first", runs / "deep/second", again)
    assert [[path.removeprefix(f"{runs}/") for path in each["paths"]] for each in found["tried"]] == [
        ["first"],
        ["deep/second", "again"],
    ]
    one, two = ([run["figures"][name] for name in ("ndcg@5", "hr@5")] for run in found["runs"][1:])
    both = found["tried"][1]
    means = [(a + b) / 2 for a, b in zip(one, two, strict=True)]
    assert [both["figures"][name] for name in ("ndcg@5", "hr@5")] == pytest.approx(means)
    assert both["deviations"]["ndcg@5"] == pytest.approx(abs(one[0] - two[0]) / 2**0.5)
    assert found["beside_first"][0]["ours"] == pytest.approx(means[0])
    assert found["config"] == {"finetune.epochs": [5, 1], "finetune.lr": [0.01, 1e-05], "seed": [7, [7, 5]]}
    tables = [pd.read_parquet(path / "evaluate/current/per_user.parquet") for path in (runs / "deep/second", again)]
    of_model = pd.concat(tables).groupby(["model", "user_id"])["ndcg@5"].mean().unstack(0)
    gain = (of_model["crossrec"] - of_model["popularity"]).mean()
    assert both["gains"]["popularity"]["mean"] == pytest.approx(gain)
    assert both["gains"]["popularity"]["p_holm"] >= both["gains"]["popularity"]["p"]
    text = crossrec("compare", runs / "first", runs / "deep/second", again).stdout
    assert any(not lacking(line, "deep/second", "2 seeds") for line in text.splitlines())
    assert f"{means[0]:.4f} ± {both['deviations']['ndcg@5']:.4f}" in text
    assert all(len(line) <= 80 for line in text.splitlines() if "compared with" not in line)


def test_a_seed_that_was_run_twice_is_two(runs, crossrec):
    shutil.copytree(runs / "first", runs / "copy", symlinks=True)
    found = document(crossrec, "compare", runs / "first", runs / "copy", runs / "copy")
    assert len(found["tried"]) == 3
    assert [each["mean"] for each in found["beside_first"]] == [0, 0]
