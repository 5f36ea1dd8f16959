"""The command as a shell sees it; in a process of its own where that is what counts."""

from __future__ import annotations

import errno
import json
import os
import pty
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from facts import lacking

from crossrec_cli import cli
from crossrec_cli.artifacts.store import Store
from crossrec_cli.errors import ExitCode

COMMAND = [sys.executable, "-m", "crossrec_cli"]


@pytest.fixture
def main(monkeypatch, capsys):
    """The whole command in this process: its exit code, what it prints, and its messages."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["crossrec", *map(str, arguments)])
        monkeypatch.setattr(signal, "signal", lambda *_: None)
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code or 0, *capsys.readouterr()

    return run


def test_preprocess_imports_no_torch_and_goes_on_when_its_reader_goes_away(shop):
    code = (
        "import sys; from crossrec_cli.__main__ import main\n"
        f"sys.argv = ['crossrec', 'preprocess', {str(shop.path)!r}]\n"
        "try: main()\n"
        "finally: assert 'torch' not in sys.modules"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdout.close()
    assert process.wait() == 0
    assert Store(shop.run_dir).current("preprocess")


def test_what_is_up_to_date_and_one_list_import_no_more_than_they_need(trained):
    code = (
        "import sys; from crossrec_cli.cli import app\n"
        "def imports(*arguments):\n"
        "    try: app([*arguments, '--quiet'])\n"
        "    except SystemExit as end: assert not end.code, end.code\n"
        "    return sys.modules.keys()\n"
        f"found = {{'torch', 'altair', 'scipy', 'ibis', 'duckdb'}} & imports('run', {str(trained.path)!r})\n"
        "assert not found, found\n"
        "more = {'torch._dynamo', 'altair', 'scipy.optimize', 'scipy.stats', 'transformers', 'ibis', 'duckdb'}\n"
        f"found = more & imports('recommend', {str(trained.path)!r}, '--user', 'new')\n"
        "assert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_version_and_wrong_usage(main):
    assert main("--version")[1].startswith("crossrec 0.")
    assert main("run")[0] == ExitCode.CONFIG
    assert main("fly", "x.yaml")[0] == ExitCode.CONFIG
    code, out, errors = main("run", "nowhere.yaml")
    assert (code, out, errors.count("\n")) == (ExitCode.CONFIG, "", 1)
    assert not lacking(errors, "nowhere.yaml", os.strerror(errno.ENOENT))


def test_a_shell_completes_commands_and_options(main, monkeypatch):
    assert "--install-completion" in main("--help")[1]

    def offered(words: str, at: int) -> list[str]:
        asked = {"_CROSSREC_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(at)}
        for name, value in asked.items():
            monkeypatch.setenv(name, value)
        return main()[1].split()

    assert offered("crossrec config ", 2) == ["show", "validate", "schema"]
    assert "--why-not" in offered("crossrec recommend --", 2)


@pytest.mark.parametrize("no_color", [True, False])
def test_a_terminal_gets_bars_and_colour_unless_no_color_is_set(trained, no_color):
    environment = {key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "CI"}}
    environment |= {"TERM": "xterm-256color", "COLUMNS": "80"} | ({"NO_COLOR": "1"} if no_color else {})
    command = [*COMMAND, "recommend", str(trained.path), *([] if no_color else ["--force"])]
    main, terminal = pty.openpty()
    process = subprocess.Popen(command, stdout=terminal, stderr=terminal, env=environment)
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
    assert ("users/s" in seen) != no_color, "a bar where something is done"
    assert ("\x1b[1;36m" in seen) != no_color


def test_a_held_run_directory_is_exit_code_5(shop, main):
    with Store(shop.run_dir).lock():
        code, _, errors = main("run", shop.path)
    assert code == ExitCode.LOCKED
    assert not lacking(errors, shop.run_dir, os.getpid(), "--lock-timeout")


def test_a_kill_at_any_moment_leaves_the_previous_artifacts_whole(trained, crossrec):
    store, dice = Store(trained.run_dir), random.Random(0)
    stages = ["preprocess", "pretrain-adapt", "finetune", "evaluate", "recommend"]
    for latest in (1.5, 4):
        process = subprocess.Popen([*COMMAND, "run", str(trained.path), "--force", "--quiet"])
        time.sleep(dice.uniform(0.3, latest))
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


@pytest.mark.slow
def test_a_training_that_is_killed_and_then_interrupted_goes_on_and_ends_with_the_same_weights(trained, crossrec):
    """From the last checkpoint that was due, and then from the one that the interrupt left: none is due for minutes."""
    expected = {stage: weights(trained, stage) for stage in WEIGHTS}
    for stage in WEIGHTS:
        shutil.rmtree(trained.run_dir / stage)
    training, log = trained.run_dir / "pretrain-adapt", trained.run_dir / "run.log"
    every = ("--set", "runtime.checkpoint_every=7 steps", "--quiet")
    process = subprocess.Popen([*COMMAND, "pretrain-adapt", str(trained.path), *every])
    wait_for(process, lambda: list(training.glob(".checkpoint-*.safetensors")))
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it was not through yet"
    log.write_text("")
    process = subprocess.Popen(
        [*COMMAND, "run", str(trained.path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "FORCE_COLOR": ""},
        preexec_fn=heed_ctrl_c,  # noqa: PLW1509
    )
    wait_for(process, lambda: log.read_text().count(", loss ") >= 3)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=30)
    assert process.returncode == ExitCode.INTERRUPTED, errors
    assert errors.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in errors
    assert not {"\x1b", "\r"} & set(out + errors), "what is piped has no escape codes"
    assert not list(training.glob("[!.]*")) + list(training.glob(".draft*"))
    assert Store(trained.run_dir).current("preprocess")
    done = crossrec("run", trained.path, "--to", "finetune")
    assert done.exit_code == 0
    first, second = (int(re.search(r"\bepoch (\d+)", text)[1]) for text in (errors, done.stderr))
    assert 1 <= first < first + 2 <= second <= 30
    assert {stage: weights(trained, stage) for stage in expected} == expected
    assert not list(trained.run_dir.glob("*/.checkpoint-*"))


def wait_for(process: subprocess.Popen, happened: Callable[[], object]) -> None:
    while not happened():
        assert process.poll() is None, "it ended before"
        time.sleep(0.01)


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


def test_wrong_usage_with_json_is_one_document(main):
    code, out, errors = main("run", "--json", "--nope")
    assert code == ExitCode.CONFIG
    assert json.loads(out)["exit_code"] == ExitCode.CONFIG
    assert len(errors.splitlines()) == 1


def test_a_run_directory_that_cannot_be_written_is_exit_code_4(shop, main):
    shop.run_dir.write_text("a file")
    code, _, errors = main("run", shop.path)
    assert code == ExitCode.ARTIFACT
    assert len(errors.splitlines()) == 1
