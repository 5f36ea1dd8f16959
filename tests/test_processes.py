"""Several processes that do a stage together give what one gives; when one is lost, the job ends and can go on."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from facts import check_failed, lacking

from crossrec_cli.errors import ExitCode

COMMAND = [sys.executable, "-m", "crossrec_cli"]


@pytest.fixture
def exact(trained):
    """Preprocessed, and nothing more; all is computed in full precision."""
    for stage in ("pretrain-adapt", "finetune", "evaluate", "recommend"):
        shutil.rmtree(trained.run_dir / stage)
    trained.config["adapt"]["epochs"], trained.config["finetune"]["epochs"] = 5, 2
    trained.config["interest"] |= {"user_encoder": "hybrid", "dropout": 0.3, "max_sequence": 8}
    trained.config["evaluate"]["baselines"] = ["popularity"]
    trained.config["runtime"]["precision"] = "fp32"
    return trained


@pytest.mark.slow
def test_a_job_that_loses_a_process_ends_with_its_name_and_the_next_ends_with_what_one_process_learns(exact, crossrec):
    alone = exact.folder / "alone"
    shutil.copytree(exact.run_dir, alone, symlinks=True)
    command = [*COMMAND, "run", str(exact.path), "--nproc", "2", "--set", "runtime.checkpoint_every=1 steps"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    job = subprocess.Popen([*command, "--quiet"], **pipes)
    while not list(exact.run_dir.glob("pretrain-adapt/.checkpoint-*.safetensors")):
        assert job.poll() is None, job.stderr.read()
        time.sleep(0.02)
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(job.pid)], capture_output=True, text=True, check=True)
    os.kill(int(children.stdout.split()[1]), signal.SIGKILL)
    _, told = job.communicate(timeout=60)
    assert job.returncode == ExitCode.INTERNAL
    assert not lacking(told.splitlines()[-1], "process 1 of 2", "SIGKILL")
    assert "Traceback" not in told
    done = subprocess.run(command, check=False, env={**os.environ, "FORCE_COLOR": ""}, **pipes)
    assert done.returncode == 0, done.stderr
    assert re.search(r"\bepoch \d", done.stderr), "where it goes on"
    finished = re.findall(rf"^finetune: .*{exact.run_dir / 'finetune'}", done.stderr, re.MULTILINE)
    assert len(finished) == 1, "one of them alone speaks"
    assert not {"\x1b", "\r"} & set(done.stdout + done.stderr), "what is piped has no escape codes"
    names = {"pretrain-adapt": "learning_curve", "finetune": "learning_curve", "recommend": "recommendations"}
    together = {stage: exact.table(stage, name) for stage, name in names.items()}
    weighed = exact.table("finetune", "fusion")
    exact.config["run_dir"] = str(alone)
    assert crossrec("run", exact.path).exit_code == 0
    alone = {stage: exact.table(stage, name) for stage, name in names.items()}
    for stage in ("pretrain-adapt", "finetune"):
        pd.testing.assert_series_equal(together[stage]["loss"], alone[stage]["loss"], rtol=0, atol=1e-5)
    fusion = exact.table("finetune", "fusion")  # its optimum is flat
    pd.testing.assert_frame_equal(weighed, fusion, rtol=0.02, atol=0.005)
    lists = [found["recommend"].set_index(["user_id", "rank"]) for found in (together, alone)]
    assert lists[0].index.equals(lists[1].index)
    assert (lists[0]["item_id"] == lists[1]["item_id"]).mean() > 0.99, "but for ties"
    assert (lists[0]["score"] - lists[1]["score"]).abs().max() < 1e-3, "fusion enlarges how rounding differs"


@pytest.mark.slow
def test_an_evaluation_that_is_shared_leaves_the_same_bytes(trained, crossrec):
    """One thread each, so that nothing is added up in another order; the settings of two baselines are shared out."""
    trained.config["evaluate"]["baselines"] = ["text", "item_knn", "ease"]
    trained.config["runtime"]["num_threads"] = 1
    options = ("--from", "evaluate", "--to", "evaluate", "--force", "--quiet")

    def left() -> dict[str, bytes]:
        folder = trained.run_dir / "evaluate" / "current"
        return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "manifest.json"}

    assert crossrec("run", trained.path, *options).exit_code == 0
    alone = left()
    command = [*COMMAND, "run", str(trained.path), *options, "--nproc", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shared = left()
    assert alone.keys() == shared.keys()
    assert [name for name in alone if alone[name] != shared[name]] == []


@pytest.mark.slow
def test_what_stops_all_of_them_is_told_once_with_its_code(trained):
    trained.config["runtime"]["device"] = ["cuda:6", "cuda:7"]
    command = [*COMMAND, "run", trained.path, "--from", "recommend", "--force", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.UNAVAILABLE
    [line] = done.stderr.splitlines()
    assert not lacking(line, "runtime.device", "'cuda:6'", "cpu")


@pytest.mark.parametrize("device", ["[cuda, cuda:1]", "[cuda:0, cuda:0]", "[]", "gpu", "[cpu, cpu]"])
def test_a_list_of_devices_is_one_of_gpus_by_number(shop, crossrec, device):
    done = crossrec("run", shop.path, "--set", f"runtime.device={device}")
    check_failed(done, ExitCode.CONFIG, "runtime.device")
