"""Which stages run again, what stops them, and what is left behind."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest
from conftest import ONE_EPOCH, STAGES, stages_that_ran
from facts import check_failed, lacking

from crossrec_cli.errors import ExitCode


def test_a_second_run_does_nothing_and_says_so(trained, crossrec):
    done = crossrec("run", trained.path, "--json")
    assert [stage["stage"] for stage in json.loads(done.stdout)["stages"]] == STAGES
    assert stages_that_ran(done.stdout) == []
    told = done.stderr.splitlines()
    assert [[line for line in told if line.startswith(f"{stage}: ")] != [] for stage in STAGES] == [True] * len(STAGES)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("data.repeats=keep", ["preprocess"]),  # the planted shop has no repeats: the tables stay, and all that follows
        ("data.min_interactions.user=8", STAGES),
        ("evaluate.k=[1]", ["evaluate"]),
        ("recommend.k=2", ["recommend"]),
        ("runtime.num_threads=2", []),
        ("seed=8", STAGES[1:]),
    ],
)
def test_exactly_what_depends_on_a_field_runs_again(trained, crossrec, override, expected):
    quicker = ONE_EPOCH if "pretrain-adapt" in expected else ()
    assert stages_that_ran(crossrec("run", trained.path, "--json", "--set", override, *quicker).stdout) == expected


def test_another_finetune_reruns_what_follows_only_if_its_weights_changed(trained, crossrec):
    weights = trained.run_dir / "finetune" / "current" / "scorers.safetensors"
    before = weights.read_bytes()
    ran = stages_that_ran(crossrec("run", trained.path, "--json", "--set", "finetune.lr=0.5").stdout)
    assert ran == (["finetune"] if weights.read_bytes() == before else STAGES[2:])


def test_a_comment_reruns_nothing_and_force_reruns(trained, crossrec):
    path = trained.path
    path.write_text("# a comment\n" + path.read_text())
    assert stages_that_ran(crossrec("run", path, "--json").stdout) == []
    assert stages_that_ran(crossrec("evaluate", path, "--json", "--force").stdout) == ["evaluate"]


def test_changed_input_bytes_rerun_and_touching_does_not(trained, crossrec):
    path = trained.folder / "interactions.parquet"
    path.touch()
    assert stages_that_ran(crossrec("run", trained.path, "--json").stdout) == []
    pd.read_parquet(path).iloc[:-4].to_parquet(path)
    done = json.loads(crossrec("run", trained.path, "--json", *ONE_EPOCH).stdout)
    assert not lacking(done["stages"][0]["reason"], path)
    assert stages_that_ran(json.dumps(done)) == STAGES


def test_a_stage_needs_those_before_it(shop, crossrec):
    done = crossrec("finetune", shop.path)
    check_failed(done, ExitCode.ARTIFACT, shop.run_dir, "crossrec preprocess")
    assert len(done.stderr.splitlines()) == 1


def test_a_stage_refuses_what_was_made_with_another_config(trained, crossrec):
    done = crossrec("recommend", trained.path, "--set", "interest.dim=8")
    check_failed(done, ExitCode.ARTIFACT, "interest.dim", 16, 8, "crossrec pretrain-adapt")


@pytest.mark.parametrize(
    "files",
    [["item_vectors.parquet", "learning_curve.parquet", "scorers.safetensors"], ["manifest.json"]],
    ids="-".join,
)
def test_a_damaged_artifact_stops_its_readers_and_is_made_again(trained, crossrec, files):
    for file in files:
        path = trained.run_dir / "finetune" / "current" / file
        whole = path.read_bytes()
        path.write_bytes(whole[:-10])
        done = crossrec("recommend", trained.path)
        check_failed(done, ExitCode.ARTIFACT, path.resolve())
        assert len(done.stderr.splitlines()) == 1
        if file != files[-1]:
            path.write_bytes(whole)
    assert stages_that_ran(crossrec("run", trained.path, "--json").stdout) == ["finetune"]
    assert crossrec("recommend", trained.path).exit_code == 0


def test_a_failing_rerun_keeps_the_previous_artifact(trained, crossrec):
    before = trained.table("preprocess", "interactions")
    (trained.folder / "items.parquet").write_bytes(b"rubbish")
    assert crossrec("run", trained.path).exit_code == ExitCode.INPUT
    assert trained.table("preprocess", "interactions").equals(before)


@pytest.mark.parametrize(
    ("override", "code", "facts"),
    [
        ("data.platforms[0].items.path=no.parquet", ExitCode.INPUT, ["no.parquet"]),
        ("data.platforms[0].items.columns.category=knd", ExitCode.INPUT, ["items.parquet", "'knd'", "'kind'"]),
        ("domains.target.category=[boook]", ExitCode.INPUT, ["domains.target.category", "'boook'", "'book'"]),
        ("data.min_interactions.item=1000", ExitCode.INPUT, ["round 1", "data.min_interactions"]),
        ("adapt.epochs=-1", ExitCode.CONFIG, ["--set adapt.epochs=-1", "0"]),
    ],
)
def test_wrong_input_is_one_line_with_its_code_and_writes_nothing(shop, crossrec, override, code, facts):
    done = crossrec("run", shop.path, "--set", override)
    check_failed(done, code, *facts)
    assert len(done.stderr.splitlines()) == 1
    assert not list(shop.run_dir.glob("preprocess/*"))


@pytest.mark.parametrize(
    ("override", "facts"),
    [
        ("runtime.device=cuda:9", ["runtime.device", "'cuda:9'", "cpu"]),
        ("encoder.model=./no-such-model", ["encoder.model", "./no-such-model"]),
        ("runtime.precision=fp16", ["runtime.precision", "fp16"]),
    ],
)
def test_an_unavailable_device_or_model_has_its_code(trained, crossrec, override, facts):
    before = (trained.run_dir / "pretrain-adapt" / "current").resolve()
    done = crossrec("run", trained.path, "--force", "--from", "pretrain-adapt", "--set", override, "--quiet")
    check_failed(done, ExitCode.UNAVAILABLE, *facts)
    assert (trained.run_dir / "pretrain-adapt" / "current").resolve() == before


def test_quiet_and_json_keep_stdout_clean(trained, crossrec):
    done = crossrec("run", trained.path, "--quiet", "--force", "--set", "drift.warn=null", *ONE_EPOCH)
    assert done.stdout == done.stderr == ""
    done = crossrec("run", trained.path, "--json", "--force", "--from", "finetune", *ONE_EPOCH)
    assert json.loads(done.stdout)["stages"][1]["summary"]["crossrec_ndcg@5"] > 0
    assert re.search(r"^finetune: .*\d", done.stderr, re.MULTILINE)
    failed = crossrec("run", trained.path, "--json", "--set", "seed=x")
    assert json.loads(failed.stdout)["exit_code"] == ExitCode.CONFIG
