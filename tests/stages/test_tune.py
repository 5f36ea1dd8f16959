"""crossrec tune: the values that rank validation best are found, kept from run to run, and written as a config."""

from __future__ import annotations

import json
import sys

import pytest
import yaml
from conftest import stages_that_ran
from facts import check_failed, lacking

from crossrec_cli.artifacts.job import Job
from crossrec_cli.config.load import load_config
from crossrec_cli.config.other_values import with_values
from crossrec_cli.errors import ExitCode
from crossrec_cli.evaluation import trial
from crossrec_cli.evaluation.study import study_name

pytest.importorskip("optuna", reason="optuna is not installed: pip install 'crossrec[tune]'")


@pytest.fixture
def tuned(trained):
    """One start knows nothing of what metal is, and one width goes with no number of heads."""
    search = {"finetune.init": {"choices": ["scratch", "adapted"]}, "interest.dim": {"choices": [15, 16]}}
    trained.config["tune"] = {"trials": 8, "search": search}
    trained.config["finetune"]["epochs"] = 3
    return trained


@pytest.mark.slow
def test_the_best_by_validation_is_found_and_its_config_gives_it_again(tuned, crossrec):
    done = crossrec("tune", tuned.path)
    assert done.exit_code == 0, done.stderr
    trials = tuned.table("tune", "trials")
    values = [json.loads(text) for text in trials["values"]]
    assert len(trials) == 8
    assert values[0] == {"finetune.init": "adapted", "interest.dim": 16}
    assert trials["valid_ndcg@10"].dropna().is_monotonic_decreasing
    failed = [value["interest.dim"] == 15 for value in values]
    assert (trials["state"] == "fail").tolist() == failed
    assert 0 < sum(failed) < 8
    assert not lacking(trials["problem"][failed.index(True)], "interest", "dim (15)", "heads (2)")
    best = tuned.run_dir / "tune" / "current" / "best.yaml"
    assert load_config(best).finetune.init == "adapted"
    assert any(not lacking(line, *values[0], *values[0].values()) for line in done.stdout.splitlines())
    again = json.loads(crossrec("finetune", best, "--json").stdout)["stages"][0]
    assert again["summary"]["valid_ndcg@10"] == trials["valid_ndcg@10"][0]
    assert stages_that_ran(crossrec("tune", tuned.path, "--json").stdout) == []


def test_what_was_tried_counts_and_what_was_interrupted_is_tried_again(tuned, crossrec, monkeypatch):
    scores = iter([0.1, 0.2, KeyboardInterrupt(), 0.3, 0.4, 0.5, 0.6])
    seen = []

    def score(problem, config):
        seen.append(config.finetune.lr)
        if isinstance(score := next(scores), BaseException):
            raise score
        return score

    monkeypatch.setattr(trial, "_score", score)
    tuned.config["tune"]["search"] = {"finetune.lr": {"low": 1e-4, "high": 0.1, "log": True}}
    tuned.config["tune"]["trials"] = 4
    with pytest.raises(BaseException):  # noqa: B017  the shell's handler is not there to tell it
        assert crossrec("tune", tuned.path).exit_code == 0
    done = crossrec("tune", tuned.path)
    assert done.exit_code == 0, done.stderr
    assert not lacking(done.stderr, "2 trials")
    assert seen[3] == seen[2], "the one that was interrupted comes first"
    assert tuned.table("tune", "trials")["valid_ndcg@10"].tolist() == [0.4, 0.3, 0.2, 0.1]
    assert crossrec("tune", tuned.path, "--set", "tune.trials=5").exit_code == 0
    assert tuned.table("tune", "trials")["valid_ndcg@10"].tolist() == [0.5, 0.4, 0.3, 0.2, 0.1]
    assert len(set(seen)) == 5
    other = ["--set", "adapt.lr=0.02", "--set", "tune.trials=1"]
    assert crossrec("pretrain-adapt", tuned.path, *other).exit_code == 0
    assert crossrec("tune", tuned.path, *other).exit_code == 0
    assert tuned.table("tune", "trials")["valid_ndcg@10"].tolist() == [0.6], "another config is another study"


def test_another_version_of_the_code_starts_a_study_of_its_own(tuned):
    """Of the same config and inputs."""
    config = load_config(tuned.path)
    jobs = [Job(config, {}, tuned.folder, None, tuned.folder, code) for code in ("tune 7", "tune 7", "tune 8")]
    assert len({study_name(job) for job in jobs}) == 2


def test_the_stages_that_it_reads_are_made_first(shop, crossrec):
    shop.config["tune"] = {"trials": 1, "search": {"interest.dim": {"choices": [15]}}}
    shop.config["adapt"]["epochs"] = 1
    assert crossrec("tune", shop.path).exit_code == ExitCode.CONFIG, "no trial finishes: 15 goes with no heads"
    assert (shop.run_dir / "pretrain-adapt" / "current").exists()
    shop.config["tune"] = {"trials": 1, "search": {"interest.dim": {"choices": [16]}}}
    shop.config["finetune"]["epochs"] = 1
    done = json.loads(crossrec("tune", shop.path, "--force", "--json").stdout)
    assert {stage["stage"]: stage["ran"] for stage in done["stages"]} == {
        "preprocess": False,
        "pretrain-adapt": False,
        "tune": True,
    }


@pytest.mark.parametrize(
    ("search", "facts"),
    [
        ({}, ["finetune.lr: {low: 1e-4, high: 1e-2, log: true}"]),
        ({"finetune.lrr": {"choices": [1]}}, ["'finetune.lrr'", "'finetune.lr'"]),
        ({"seed": {"choices": [1]}}, ["'seed'", "adapt", "finetune", "interest"]),
        ({"finetune.lr": {"low": 1, "high": 0.5}}, ["tune.search.finetune.lr", "low (1)", "high (0.5)"]),
        ({"finetune.lr": {"low": 0.0, "high": 0.5, "log": True}}, ["tune.search.finetune.lr", "log", "low", 0]),
        ({"finetune.lr": {}}, ["tune.search.finetune.lr", "low", "high", "choices"]),
        ({"finetune.lr": {"choices": [1], "low": 2}}, ["tune.search.finetune.lr", "low", "high", "choices"]),
        ({"finetune.lr": {"hihg": 1}}, ["'hihg'", "'high'"]),
    ],
)
def test_a_search_that_makes_no_sense_is_told(tuned, crossrec, search, facts):
    tuned.config["tune"]["search"] = search
    check_failed(crossrec("tune", tuned.path), ExitCode.CONFIG, "tune.search", *facts)


def test_a_search_that_names_nothing_ends_before_anything_is_made(shop, crossrec):
    assert crossrec("tune", shop.path).exit_code == ExitCode.CONFIG
    assert not (shop.run_dir / "preprocess").exists()


def test_without_optuna_it_names_the_extra(tuned, crossrec, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = crossrec("tune", tuned.path)
    check_failed(done, ExitCode.UNAVAILABLE, "pip install 'crossrec[tune]'")


def test_a_trial_reads_the_config_as_the_shell_would(tuned):
    values = {"finetune.rates.users": 0.5, "interest.user_encoder": "sequence"}
    chosen = with_values(load_config(tuned.path), values)
    assert (chosen.finetune.rates.users, chosen.interest.user_encoder) == (0.5, "sequence")
    assert yaml.safe_load(tuned.path.read_text())["interest"]["user_encoder"] == "bag"
