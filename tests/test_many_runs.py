"""Run directories side by side: ``crossrec ls``, ``compare`` and ``clean``."""

from __future__ import annotations

import json
import shutil

import pytest

from crossrec_cli.artifacts.store import Store
from crossrec_cli.errors import ExitCode


@pytest.fixture
def runs(trained, crossrec, tmp_path):
    """A whole run, one with other lists, and one that was never evaluated, the newest last."""
    folder = tmp_path / "runs"
    shutil.copytree(trained.run_dir, folder / "first", symlinks=True)
    shutil.copytree(trained.run_dir, folder / "deep" / "second", symlinks=True)
    sets = ("--set", f"run_dir={folder}/deep/second", "--set", "finetune.epochs=1", "--set", "finetune.lr=1e-5")
    assert crossrec("run", trained.path, *sets, "--from", "finetune", "--to", "evaluate").exit_code == 0
    assert crossrec("preprocess", trained.path, "--set", f"run_dir={folder}/third").exit_code == 0
    (folder / "notes").mkdir()
    (folder / "notes" / "mine.txt").write_text("years")
    return folder


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
    assert "no run in" in crossrec("ls", runs / "notes").stdout


def test_two_runs_are_compared_user_by_user_and_field_by_field(runs, crossrec):
    found = document(crossrec, "compare", runs / "first", runs / "deep/second")
    (change,) = found["beside_first"]
    figures = [run["figures"]["ndcg@5"] for run in found["runs"]]
    assert change["mean"] == pytest.approx(figures[1] - figures[0])
    assert change["low"] < change["mean"] < change["high"]
    assert found["config"] == {"finetune.epochs": [10, 1], "finetune.lr": [0.01, 1e-05]}
    text = crossrec("compare", runs / "first", runs / "deep/second").stdout
    assert f"deep/second: ndcg@5 {change['mean']:+.4f}" in text
    assert "finetune.lr" in text


def test_wrong_runs_to_compare(runs, crossrec):
    for names, code, told in (
        (("first",), ExitCode.CONFIG, "give two run directories"),
        (("first", "notes"), ExitCode.INPUT, "no run directory"),
        (("first", "third"), ExitCode.ARTIFACT, "no evaluate artifact"),
        (("first", "nowhere"), ExitCode.INPUT, "no run directory"),
    ):
        done = crossrec("compare", *(runs / name for name in names))
        assert done.exit_code == code
        assert told in " ".join(done.stderr.split())


def test_only_the_newest_runs_stay_and_nothing_else_goes(runs, crossrec):
    planned = document(crossrec, "clean", runs, "--keep", "1", "--dry-run")
    assert (runs / "first").exists()
    (runs / "first" / "thesis.txt").write_text("years")
    done = crossrec("clean", runs, "--keep", "1")
    assert done.exit_code == 0
    assert planned["removed"] == [str(runs / "deep/second"), str(runs / "first")]
    assert sorted(path.name for path in runs.iterdir()) == ["deep", "first", "notes", "third"]
    assert not (runs / "deep/second").exists()
    assert [path.name for path in (runs / "first").iterdir()] == ["thesis.txt"]
    assert "not crossrec's" in done.stderr
    assert Store(runs / "third").current("preprocess")
    assert document(crossrec, "clean", runs, "--keep", "1")["removed"] == []


def test_a_run_at_work_stays(runs, crossrec):
    with Store(runs / "first").lock():
        done = crossrec("clean", runs, "--keep", "1")
    assert "another crossrec works there" in done.stderr
    assert Store(runs / "first").current("recommend")
    assert not (runs / "deep/second").exists()


def test_a_directory_that_there_is_not(crossrec, tmp_path):
    done = crossrec("ls", tmp_path / "nowhere")
    assert done.exit_code == ExitCode.INPUT
    assert "No such file or directory" in done.stderr
