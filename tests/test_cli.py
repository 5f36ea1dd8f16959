"""The command as a shell sees it, in processes of its own."""

from __future__ import annotations

import json
import os
import pty
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crossrec_cli.artifacts.store import Store
from crossrec_cli.errors import ExitCode

COMMAND = [sys.executable, "-m", "crossrec_cli"]


def run(*arguments: object, **kwargs) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)


def test_preprocess_does_not_import_torch(shop):
    code = (
        "import sys; from crossrec_cli.cli import app\n"
        f"try: app(['preprocess', {str(shop.path)!r}])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_version_and_wrong_usage():
    assert run("--version").stdout.startswith("crossrec 0.")
    assert run("run").returncode == ExitCode.CONFIG
    assert run("fly", "x.yaml").returncode == ExitCode.CONFIG
    done = run("run", "nowhere.yaml")
    assert (done.returncode, done.stderr) == (ExitCode.CONFIG, "error: nowhere.yaml: No such file or directory\n")


def test_a_shell_completes_commands_and_options():
    def offered(words: str, at: int) -> list[str]:
        asked = {"_CROSSREC_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(at)}
        return run(env={**os.environ, **asked}).stdout.split()

    assert offered("crossrec config ", 2) == ["show", "validate", "schema"]
    assert "--why-not" in offered("crossrec recommend --", 2)
    assert "--install-completion" in run("--help").stdout


def test_piped_output_has_no_escape_codes(shop):
    shop.config["adapt"]["epochs"], shop.config["finetune"]["epochs"] = 1, 1
    done = run("run", shop.path, env={**os.environ, "FORCE_COLOR": ""})
    assert done.returncode == 0, done.stderr
    for text in (done.stdout, done.stderr):
        assert "\x1b" not in text
        assert "\r" not in text


@pytest.mark.parametrize(("stage", "no_color"), [("preprocess", True), ("pretrain-adapt", False)])
def test_a_terminal_gets_bars_and_colour_unless_no_color_is_set(shop, crossrec, stage, no_color):
    if stage != "preprocess":
        assert crossrec("preprocess", shop.path).exit_code == 0
    environment = {key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "CI"}}
    environment |= {"TERM": "xterm-256color", "COLUMNS": "80"} | ({"NO_COLOR": "1"} if no_color else {})
    main, terminal = pty.openpty()
    process = subprocess.Popen([*COMMAND, stage, str(shop.path)], stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    chunks = []
    while True:
        try:
            chunk = os.read(main, 65536)
        except OSError:  # how Linux says that the other end has closed
            break
        if not chunk:
            break
        chunks.append(chunk)
    assert process.wait() == 0
    seen = b"".join(chunks).decode()
    assert ("users/s" in seen) == (stage != "preprocess")
    assert ("\x1b[1;36m" in seen) != no_color


def test_a_held_run_directory_is_exit_code_5(shop):
    with Store(shop.run_dir).lock():
        done = run("run", shop.path)
    assert done.returncode == ExitCode.LOCKED
    assert f"process {os.getpid()}, since " in done.stderr


def test_an_interrupt_is_exit_code_130_and_leaves_no_draft(shop):
    shop.config["adapt"]["epochs"] = 100_000
    process = subprocess.Popen(
        [*COMMAND, "run", str(shop.path)],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,  # noqa: PLW1509
    )
    wait_for(shop.run_dir / "pretrain-adapt")
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == ExitCode.INTERRUPTED, errors
    assert "error: interrupted" in errors
    assert not list((shop.run_dir / "pretrain-adapt").glob("[!.]*"))
    assert not list((shop.run_dir / "pretrain-adapt").glob(".draft*"))
    assert Store(shop.run_dir).current("preprocess")


def test_a_kill_at_any_moment_leaves_the_previous_artifacts_whole(trained, crossrec):
    store, dice = Store(trained.run_dir), random.Random(0)
    stages = ["preprocess", "pretrain-adapt", "finetune", "evaluate", "recommend"]
    for _ in range(3):
        process = subprocess.Popen([*COMMAND, "run", str(trained.path), "--force", "--quiet"])
        time.sleep(dice.uniform(0.3, 6))
        process.kill()
        process.wait()
        assert all(store.current(stage) for stage in stages)
    done = crossrec("run", trained.path, "--json")
    assert done.exit_code == 0
    assert len(json.loads(done.stdout)["stages"]) == len(stages)
    assert not list(trained.run_dir.glob("*/.draft-*"))


WEIGHTS = {
    "pretrain-adapt": ["model.safetensors"],
    "finetune": ["item_vectors.parquet", "fusion.parquet", "scorers.safetensors"],
}


def weights(shop, stage: str) -> list[bytes]:
    made = Store(shop.run_dir).current(stage)
    return [made.file(f"{stage}/{name}").read_bytes() for name in WEIGHTS[stage]]


def test_a_killed_training_goes_on_and_ends_with_the_same_weights(shop, crossrec):
    shop.config["adapt"]["epochs"] = 60
    assert crossrec("run", shop.path, "--to", "finetune").exit_code == 0
    expected = {stage: weights(shop, stage) for stage in ("pretrain-adapt", "finetune")}
    shop.config["run_dir"] = str(shop.folder / "again")
    command = [str(shop.path), "--set", "runtime.checkpoint_every=7 steps"]
    assert crossrec("preprocess", *command).exit_code == 0
    process = subprocess.Popen([*COMMAND, "pretrain-adapt", *command, "--quiet"])
    deadline = time.monotonic() + 60
    while not (kept := list(shop.run_dir.glob("pretrain-adapt/.checkpoint-*.safetensors"))):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.1)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it was not through yet"
    assert kept[0].exists()
    done = crossrec("run", *command, "--to", "finetune")
    assert done.exit_code == 0
    assert "continuing with epoch" in done.stderr
    assert {stage: weights(shop, stage) for stage in expected} == expected
    assert not list(shop.run_dir.glob("*/.checkpoint-*"))


def test_an_interrupted_training_goes_on_where_it_was_and_ends_with_the_same_weights(shop, crossrec):
    """No checkpoint is due for five minutes: what the second run goes on from was left by the interrupt."""
    shop.config["adapt"]["epochs"] = 60
    assert crossrec("run", shop.path, "--to", "pretrain-adapt").exit_code == 0
    expected = weights(shop, "pretrain-adapt")
    shop.config["run_dir"] = str(shop.folder / "again")
    assert crossrec("preprocess", shop.path).exit_code == 0
    process = subprocess.Popen([*COMMAND, "pretrain-adapt", str(shop.path)], stderr=subprocess.DEVNULL)
    while "epoch 3, loss" not in (shop.run_dir / "run.log").read_text():
        assert process.poll() is None
        time.sleep(0.01)
    process.terminate()
    sent = time.monotonic()
    assert process.wait(timeout=30) == ExitCode.INTERRUPTED
    assert time.monotonic() - sent < 5
    assert list(shop.run_dir.glob("pretrain-adapt/.checkpoint-*.safetensors"))
    done = crossrec("pretrain-adapt", shop.path)
    assert done.exit_code == 0
    assert "continuing with epoch" in done.stderr
    assert weights(shop, "pretrain-adapt") == expected


def heed_ctrl_c() -> None:
    """A background job's children ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def catches_sigterm(pid: int) -> bool:
    caught = re.search(r"^SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_importing_is_quiet(shop, number):
    process = subprocess.Popen(
        [*COMMAND, "run", str(shop.path)],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,  # noqa: PLW1509
    )
    while not catches_sigterm(process.pid):  # until then Python itself is starting
        time.sleep(0.005)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == ExitCode.INTERRUPTED, errors
    assert "Traceback" not in errors


def test_wrong_usage_with_json_is_one_document():
    done = run("run", "--json", "--nope")
    assert done.returncode == ExitCode.CONFIG
    assert json.loads(done.stdout)["exit_code"] == ExitCode.CONFIG
    assert len(done.stderr.splitlines()) == 1


def test_a_reader_that_goes_away_does_not_stop_the_work(shop):
    command = [*COMMAND, "preprocess", str(shop.path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdout.close()
    assert process.wait() == 0
    assert Store(shop.run_dir).current("preprocess")


def test_a_run_directory_that_cannot_be_written_is_exit_code_4(shop):
    shop.run_dir.write_text("a file")
    done = run("run", shop.path)
    assert done.returncode == ExitCode.ARTIFACT
    assert len(done.stderr.splitlines()) == 1


def wait_for(path, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.05)
