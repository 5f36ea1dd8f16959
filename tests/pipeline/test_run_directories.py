"""What a run would do and why, and who may write in its directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pandas as pd
import pytest
from facts import check_failed, lacking

from crossrec_cli.artifacts.files import PIPELINE
from crossrec_cli.artifacts.store import Store
from crossrec_cli.config.load import load_config
from crossrec_cli.errors import ConfigError, ExitCode
from crossrec_cli.pipeline.plan import MAY_RUN, RUNS, UP_TO_DATE, plan
from crossrec_cli.pipeline.table import BY_NAME

COMMAND = [sys.executable, "-m", "crossrec_cli"]


def steps(crossrec, shop, *more: object) -> dict[str, tuple[str, list[str]]]:
    done = crossrec("run", shop.path, "--dry-run", "--json", *more)
    assert done.exit_code == 0, done.output
    return {step["stage"]: (step["does"], step["reasons"]) for step in json.loads(done.stdout)["plan"]}


def does(crossrec, shop, *more: object) -> list[str]:
    return [what for what, _ in steps(crossrec, shop, *more).values()]


def test_nothing_is_planned_where_nothing_changed_but_a_comment(trained, crossrec):
    path = trained.path
    path.write_text("# once more\n" + path.read_text())
    done = crossrec("run", path, "--dry-run")
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(PIPELINE)
    assert does(crossrec, trained) == [UP_TO_DATE] * 5


def test_a_plan_writes_nothing(shop, crossrec):
    assert does(crossrec, shop) == [RUNS] * 5
    assert [len(reasons) for _, reasons in steps(crossrec, shop).values()] == [1] * 5
    assert not shop.run_dir.exists()


def test_a_plan_waits_for_nobody(trained, crossrec):
    with Store(trained.run_dir).lock():
        assert does(crossrec, trained) == [UP_TO_DATE] * 5


def test_all_that_changed_is_named_and_what_it_may_bring_about(trained, crossrec):
    found = steps(crossrec, trained, "--set", "finetune.epochs=3", "--set", "finetune.lr=0.5", "--set", "recommend.k=3")
    expected = {
        "preprocess": (UP_TO_DATE, [()]),
        "pretrain-adapt": (UP_TO_DATE, [()]),
        "finetune": (RUNS, [("finetune.epochs", 5, 3), ("finetune.lr", 0.01, 0.5)]),
        "evaluate": (MAY_RUN, [("finetune",)]),
        "recommend": (RUNS, [("recommend.k", 5, 3)]),
    }
    for (what, why), (wanted, facts) in zip(found.values(), expected.values(), strict=True):
        assert what == wanted
        assert [lacking(reason, *of) for reason, of in zip(why, facts, strict=True)] == [[]] * len(facts), why
    assert list(found) == list(expected)


def test_other_bytes_in_a_file_are_a_reason_and_another_time_is_none(trained, crossrec):
    path = trained.folder / "interactions.parquet"
    path.touch()
    assert does(crossrec, trained) == [UP_TO_DATE] * 5
    pd.read_parquet(path).iloc[1:].to_parquet(path)
    found = steps(crossrec, trained)
    what, (why,) = found["preprocess"]
    assert (what, lacking(why, path)) == (RUNS, [])
    assert found["recommend"][0] == MAY_RUN


def test_what_is_damaged_is_named(trained, crossrec):
    path = trained.run_dir / "finetune/current/scorers.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    what, (why,) = steps(crossrec, trained)["finetune"]
    assert what == RUNS
    assert not lacking(why, path.resolve())
    assert does(crossrec, trained) == [UP_TO_DATE, UP_TO_DATE, RUNS, MAY_RUN, MAY_RUN]


def test_a_part_of_the_pipeline(trained, crossrec):
    forced = steps(crossrec, trained, "--from", "finetune", "--to", "evaluate", "--force")
    assert forced == {"finetune": (RUNS, ["--force"]), "evaluate": (RUNS, ["--force"])}
    before = {stage: (trained.run_dir / stage / "current").readlink() for stage in PIPELINE}
    assert crossrec("run", trained.path, "--from", "finetune", "--to", "finetune", "--force").exit_code == 0
    after = {stage: (trained.run_dir / stage / "current").readlink() for stage in PIPELINE}
    assert [stage for stage in PIPELINE if before[stage] != after[stage]] == ["finetune"]


@pytest.mark.parametrize(
    ("arguments", "code", "facts"),
    [
        (("--from", "finetune", "--to", "preprocess"), ExitCode.CONFIG, ["--from finetune", "--to preprocess"]),
        (("--from", "finetune", "--set", "adapt.epochs=1"), ExitCode.ARTIFACT, ["crossrec pretrain-adapt"]),
        (("--from", "finetune", "--set", "adapt.epochs=1", "--dry-run"), ExitCode.ARTIFACT, ["pretrain-adapt"]),
        (("--dry-run", "--set", "adapt.epoch=1"), ExitCode.CONFIG, ["--set adapt.epoch=1", "'epochs'"]),
    ],
)
def test_wrong_parts(trained, crossrec, arguments, code, facts):
    check_failed(crossrec("run", trained.path, *arguments), code, *facts)


def test_a_stage_that_there_is_not(trained):
    done = subprocess.run([*COMMAND, "run", trained.path, "--from", "x"], capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.CONFIG
    assert all(stage in done.stderr for stage in PIPELINE)


def leaves(value: object, path: str = "") -> dict[str, object]:
    if isinstance(value, dict) and value:
        return {k: v for name, child in value.items() for k, v in leaves(child, f"{path}.{name}".strip(".")).items()}
    return {path: value}


OTHER = {
    "adapt.language_model": "full",
    "data.min_interactions.item": 2,
    "encoder.pooling": "cls",
    "finetune.init": "scratch",
    "interest.scorers": ["text", "words"],
    "interest.user_encoder": "sequence",
    "recommend.also": ["csv"],
}
"""Another value for leaves whose type does not suggest one."""


def changed(name: str, value: object) -> object:
    if name in OTHER:
        return OTHER[name]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return value * 0.5 + 0.01 if isinstance(value, float) else None


def test_each_leaf_of_the_config_reruns_the_stages_that_declare_it_and_no_other(trained):
    config = load_config(trained.path)
    tried = 0
    for name, value in leaves(config.model_dump(mode="json")).items():
        other = changed(name, value)
        if other is None:
            continue
        try:
            altered = load_config(trained.path, [f"{name}={json.dumps(other)}"])
        except ConfigError:  # not allowed with the other fields
            continue
        declared = {
            stage
            for stage in PIPELINE
            for field in BY_NAME[stage].fields
            if name == field or name.startswith(f"{field}.")
        }
        runs = {step.stage for step in plan(altered, PIPELINE) if step.does == RUNS}
        assert runs == declared, name
        tried += 1
    assert tried > 50


def test_who_waits_gets_the_run_directory_or_leaves_after_a_while(shop):
    with Store(shop.run_dir).lock():
        command = [*COMMAND, "preprocess", shop.path, "--lock-timeout"]
        done = subprocess.run([*command, "0.3"], capture_output=True, text=True, check=False)
        assert done.returncode == ExitCode.LOCKED
        assert not lacking(done.stderr.splitlines()[-1], shop.run_dir, os.getpid(), "0.3 s")
        waiting = subprocess.Popen([*command, "60"], stderr=subprocess.PIPE, text=True)
        assert not lacking(waiting.stderr.readline(), os.getpid())
    _, told = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, told
