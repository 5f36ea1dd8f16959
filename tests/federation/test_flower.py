"""A federation over Flower: simulated, and as a server and platforms in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from conftest import Shop
from federated_shops import platforms_of

from crossrec_cli.federation.flower_processes import QUIET
from crossrec_cli.models.shared_model import SharedModel

pytest.importorskip("flwr")
pytestmark = pytest.mark.slow

OPTIONS = {"rounds": 1, "directions": 16, "weights": True, "epsilon": None}
CHILD = [sys.executable, "-m", "crossrec_cli", "federate"]


@pytest.fixture(scope="module")
def platforms(tmp_path_factory, tiny_bert) -> list[Shop]:
    """The planted shop's users on three platforms, after preprocess."""
    return platforms_of(3, tmp_path_factory, tiny_bert, federate=OPTIONS)


def shared(shop: Shop) -> SharedModel:
    return SharedModel.load(shop.run_dir / "federation" / "shared.safetensors")


def federate(*arguments: object, **environment: str) -> dict:
    command = [*CHILD, *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_hidden_answers_have_the_sum_of_open_ones(platforms):
    """Secure aggregation rounds to integers, and changes nothing else."""
    first, *_ = platforms
    secure = federate(first.path, "--simulate", *(shop.path for shop in platforms))
    assert secure["rounds"] == 1 and len(secure["platforms"]) == 3
    hidden = shared(first)
    for shop in platforms:
        shop.config["federate"]["secure"] = False
    federate(first.path, "--simulate", *(shop.path for shop in platforms))
    for shop in platforms:
        del shop.config["federate"]["secure"]
    plain = shared(first)
    largest = [abs(model.whitening.matrix[:, :8]) for model in (hidden, plain)]
    np.testing.assert_allclose(*largest, rtol=0.05, atol=0.05)
    assert np.linalg.norm(hidden.history) == pytest.approx(np.linalg.norm(plain.history), rel=0.01)
    np.testing.assert_array_equal(shared(platforms[2]).history, plain.history)


def test_a_platform_that_wants_to_be_hidden_does_not_answer_openly(platforms):
    command = [*CHILD, platforms[0].path, "--simulate", *(shop.path for shop in platforms)]
    openly = [*command, "--set", "federate.secure=false", "--json"]
    done = subprocess.run(openly, check=False, capture_output=True, text=True)
    assert done.returncode == 6 and "moments" in json.loads(done.stdout)["error"][0]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
        return port


@contextmanager
def running(log: Path, *command: object, **environment: str) -> Iterator[subprocess.Popen]:
    """A process with its children, which ends with the block."""
    with log.open("w") as output:
        process = subprocess.Popen(
            list(map(str, command)),
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **QUIET, **environment},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)  # so that it ends the processes that it started
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until(condition, seconds: float = 400) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_a_server_and_platforms_over_loopback_with_a_death(platforms, tmp_path):
    """Three platforms join; one is killed after the sums; the other two end the rounds with secure aggregation."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    superlink = Path(sys.executable).with_name("flower-superlink")
    path = os.pathsep.join([str(superlink.parent), os.environ["PATH"]])  # Flower starts its programs by name
    state = {"XDG_STATE_HOME": str(tmp_path / "state"), "FLWR_HOME": str(tmp_path / "flwr"), "PATH": path}
    options = ["--insecure", "--port", port, "--disable-runtime-dependency-installation"]
    with running(tmp_path / "superlink.log", superlink, *options, **state):
        until(lambda: _listens(port))
        joining = []
        for number, shop in enumerate(platforms):
            (shop.run_dir / "federation" / "outgoing.jsonl").unlink(missing_ok=True)
            command = [*CHILD, shop.path, "--join", address, "--insecure"]
            joining.append(running(tmp_path / f"{number}.log", *command, FLWR_HOME=str(tmp_path / f"home{number}")))
        with joining[0], joining[1], joining[2] as third:
            coordinator = [*CHILD, platforms[0].path, "--superlink", address, "--insecure", "--json"]
            terms = ["--set", "federate.platforms=3", "--set", f"run_dir={tmp_path / 'coordinator'}"]
            with running(tmp_path / "federate.log", *coordinator, *terms) as federation:
                until(lambda: "sums" in _steps(platforms[2]))
                os.killpg(third.pid, signal.SIGKILL)
                federation.wait(timeout=400)
                assert federation.returncode == 0, (tmp_path / "federate.log").read_text()
    assert _steps(platforms[0])[-2:] == ["round-1", "keep"] and _steps(platforms[2])[-1] == "sums"
    first, second = shared(platforms[0]), shared(platforms[1])
    assert first.network
    np.testing.assert_array_equal(first.history, second.history)


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _steps(shop: Shop) -> list[str]:
    file = shop.run_dir / "federation" / "outgoing.jsonl"
    return [json.loads(line)["step"] for line in file.read_text().splitlines()] if file.exists() else []
