"""Evaluate beside files of other systems, earlier runs and what users did with lists."""

from __future__ import annotations

import errno
import json
import os

import pandas as pd
import pytest
from conftest import stages_that_ran
from facts import check_failed, warns

from crossrec_cli.errors import ExitCode


def test_another_systems_lists_are_scored_by_the_same_rules(trained, crossrec):
    """One that knows the future finds everything; its lists may not be ranked among a sample."""
    cases = trained.table("preprocess", "cases").query("split == 'test'")
    users, items = (trained.table("preprocess", name) for name in ("users", "items"))
    future = pd.DataFrame(
        {
            "user_id": users.set_index("user_index").loc[cases["user_index"], "user_id"].to_numpy(),
            "item_id": items.set_index("item_index").loc[cases["item_index"], "item_id"].to_numpy(),
            "rank": 1,
        }
    )
    path = trained.folder / "theirs.csv"
    future.to_csv(path, index=False)
    done = crossrec("evaluate", trained.path, "--set", f"evaluate.external={path}")
    assert done.exit_code == 0, done.output
    per_user = trained.table("evaluate", "per_user")
    assert (per_user.loc[per_user["model"] == "external", "ndcg@5"] == 1).all()
    found = trained.table("evaluate", "significance").query("model == 'external' and metric == 'ndcg'")
    assert found["gain_high"].item() < 0
    assert "external" in done.stdout
    future.assign(rank="first").to_csv(path, index=False)
    done = crossrec("evaluate", trained.path, "--set", f"evaluate.external={path}")
    check_failed(done, ExitCode.INPUT, "evaluate.external", path, "row 1", "rank", "'first'")
    path.unlink()
    done = crossrec("evaluate", trained.path, "--set", f"evaluate.external={path}")
    check_failed(done, ExitCode.INPUT, "evaluate.external", path, os.strerror(errno.ENOENT))
    both = ["--set", f"evaluate.external={path}", "--set", "evaluate.candidates=9"]
    assert crossrec("evaluate", trained.path, *both).exit_code == ExitCode.CONFIG


@pytest.mark.parametrize(
    ("rows", "facts"),
    [
        ([("jazz1", "jazz-book1", 0)], ["row 1", "rank", 0, 1]),
        ([("jazz1", "a", 1), ("metal1", "a", 1), ("jazz1", "b", 1)], ["row 3", "jazz1", "rank 1"]),
        ([("stranger", "a", 1)], ["1 rows"]),
    ],
)
def test_lists_that_say_nothing_are_an_error_and_change_nothing(rows, facts, trained, crossrec):
    before = (trained.run_dir / "report.html").read_bytes()
    path = trained.folder / "theirs.csv"
    pd.DataFrame(rows, columns=["user_id", "item_id", "rank"]).to_csv(path, index=False)
    done = crossrec("evaluate", trained.path, "--set", f"evaluate.external={path}")
    check_failed(done, ExitCode.INPUT, "evaluate.external", path, *facts)
    assert (trained.run_dir / "report.html").read_bytes() == before


def test_lists_that_leave_out_what_was_bought_in_the_test_are_no_fair_comparison(trained, crossrec):
    """crossrec's own, for everything that happened, the test among it."""
    path = trained.folder / "theirs.parquet"
    trained.table("recommend", "recommendations").to_parquet(path)
    done = crossrec("evaluate", trained.path, "--set", f"evaluate.external={path}")
    assert done.exit_code == 0
    assert warns(done, "evaluate.external", path)


def test_figures_among_given_items_say_so_and_follow_the_file(trained, crossrec):
    """Among items that nobody wants, the truth comes first; the file's own change is noticed."""
    whole = trained.table("evaluate", "metrics").query("segment == 'all'").set_index(["model", "metric"])["value"]
    users = trained.table("preprocess", "users")["user_id"]
    books = [f"{taste}-book-{number}" for taste in ("jazz", "metal", "blues") for number in range(12)]
    path = trained.folder / "negatives.csv"
    rows = [(user, book) for user in users for book in books if not user.startswith(book.partition("-")[0])]
    pd.DataFrame([*rows, ("jazz0", "gone")], columns=["user_id", "item_id"]).to_csv(path, index=False)
    wanted = ["--set", f"evaluate.negatives={path}"]
    done = crossrec("evaluate", trained.path, *wanted)
    assert done.exit_code == 0, done.output
    assert warns(done, "evaluate.negatives", path, f"1 of {len(rows) + 1:,}")
    assert "NDCG AMONG GIVEN@5" in done.stdout
    found = trained.table("evaluate", "metrics").query("segment == 'all'").set_index(["model", "metric"])["value"]
    assert "ndcg" not in found.loc["crossrec"]
    assert found["crossrec", "hr_among_given"] > max(0.95, whole["crossrec", "hr"])
    assert found["crossrec", "coverage"] == whole["crossrec", "coverage"], "the lists are of the whole catalogue"
    assert stages_that_ran(crossrec("evaluate", trained.path, *wanted, "--json").stdout) == []
    pd.DataFrame([row for row in rows if row[0] != "jazz0"], columns=["user_id", "item_id"]).to_csv(path, index=False)
    done = crossrec("evaluate", trained.path, *wanted)
    check_failed(done, ExitCode.INPUT, "evaluate.negatives", path, "'jazz0'", "1 of 180")
    both = [*wanted, "--set", "evaluate.candidates=9"]
    assert crossrec("evaluate", trained.path, *both).exit_code == ExitCode.CONFIG


def test_feedback_tells_what_users_would_think_of_these_lists(trained, crossrec):
    """Users who click on every book of their taste and on no other: crossrec's lists would bring more than chance."""
    users, items = (trained.table("preprocess", name) for name in ("users", "items"))
    books = items.loc[items["domain"] == "target", "item_id"]
    jazz = [user for user in users["user_id"] if user.startswith("jazz")]
    rows = pd.DataFrame([(user, book, float(book.startswith("jazz"))) for user in jazz for book in books])
    path = trained.folder / "impressions.csv"
    rows.set_axis(["user_id", "item_id", "click"], axis=1).assign(propensity=0.5).to_csv(path, index=False)
    done = crossrec("evaluate", trained.path, "--set", f"evaluate.feedback={path}")
    assert done.exit_code == 0, done.output
    found = trained.table("evaluate", "feedback").query("segment == 'all'").set_index("measure")
    assert found.loc["logged", "value"] == pytest.approx(1 / 3)
    assert found.loc["snips", "low"] > 0.6
    assert 0 < found.loc["snips", "effective"] < found.loc["logged", "effective"]
    assert "click, all" in (trained.run_dir / "report.html").read_text()
    whole = trained.table("evaluate", "feedback")
    crossrec("evaluate", trained.path, "--set", f"evaluate.feedback={path}", "--set", "evaluate.users=5")
    assert trained.table("evaluate", "feedback").equals(whole), (
        "it is of all users, however many are ranked for the test"
    )
    crossrec("evaluate", trained.path)
    assert "evaluate.feedback" in (trained.run_dir / "report.html").read_text()


def test_a_worse_ranking_than_an_earlier_run_ends_with_7(trained, crossrec):
    worse = trained.folder / "worse"
    lazy = ["--set", f"run_dir={worse}", "--set", "interest.scorers=[attributes]"]  # they tell nothing here
    assert crossrec("run", trained.path, *lazy, "--to", "evaluate").exit_code == 0
    better = crossrec("evaluate", trained.path, "--against", worse, "--json")
    assert better.exit_code == 0
    assert json.loads(better.stdout)["against"]["mean"] > 0
    done = crossrec("evaluate", trained.path, *lazy, "--against", trained.run_dir)
    told = json.loads(crossrec("evaluate", trained.path, *lazy, "--against", trained.run_dir, "--json").stdout)
    assert told["exit_code"] == ExitCode.REGRESSION
    change = told["against"]
    assert change["mean"] < 0
    figures = (f"{change[name]:.4f}" for name in ("ours", "theirs", "mean", "low", "high"))
    check_failed(done, ExitCode.REGRESSION, "ndcg@5", trained.run_dir, *figures, 180, "evaluate.tolerance")
    itself = crossrec("evaluate", trained.path, "--against", trained.run_dir, "--json")
    assert itself.exit_code == 0, "a night in which nothing changed"
    assert {"same_evaluation": True, "mean": 0, "users": 180}.items() <= json.loads(itself.stdout)["against"].items()
    again = crossrec("evaluate", trained.path, "--against", trained.run_dir, "--set", "evaluate.baselines=[]", "--json")
    assert again.exit_code == 0, "the same place's earlier evaluation"
    assert json.loads(again.stdout)["against"]["same_evaluation"] is False
    nowhere = crossrec("evaluate", trained.path, "--against", trained.folder / "nowhere")
    check_failed(nowhere, ExitCode.ARTIFACT, "--against", trained.folder / "nowhere", "crossrec evaluate")


def test_another_test_is_compared_with_a_warning(trained, crossrec):
    other = ["--set", f"run_dir={trained.folder / 'other'}", "--quick", "--to", "evaluate"]
    split = "split={strategy: time, valid_from: 2024-01-21, test_from: 2024-01-23}"
    assert crossrec("run", trained.path, *other, "--set", split).exit_code == 0
    found = crossrec("evaluate", trained.path, "--against", trained.folder / "other", "--json")
    told = json.loads(found.stdout)["against"]
    assert told["same_test"] is False
    assert warns(found, "--against", trained.folder / "other", f"{told['users']} of 180")
