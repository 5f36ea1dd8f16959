"""This very command once more, in several processes on this machine that do its work together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack

from crossrec_cli.errors import ExitCode

GRACE = 20.0
"""Seconds in which the others see for themselves that one has ended."""
VAGUE = (ExitCode.OK, ExitCode.INTERNAL)
"""What a process may end with because another one did."""


def launch(processes: int) -> tuple[int, str]:
    """Start them, and wait until all have ended.

    Ctrl-C and SIGTERM go to the leader, which keeps a checkpoint.

    Returns:
        The exit code: 0 if all went well, else that of the process that brought the others down; and what that one had
        to say, unless it was the leader, which speaks for itself.
    """
    command = [sys.executable, "-m", "crossrec_cli", *sys.argv[1:]]
    job = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    job |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    with ExitStack() as stack:
        words = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(processes - 1)]
        started = [
            subprocess.Popen(
                command,
                env=os.environ | job | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdout=subprocess.DEVNULL if rank else None,
                stderr=words[rank - 1] if rank else None,
                start_new_session=True,  # so that Ctrl-C reaches the leader once
            )
            for rank in range(processes)
        ]
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: _interrupt(started[0]))
        codes = _wait(started)
        guilty = next((rank for rank, code in enumerate(codes) if code not in VAGUE), None)
        if guilty is None:
            return max(codes), ""
        if guilty == 0 and codes[0] > 0:
            return codes[0], ""
        if codes[guilty] < 0:
            name = signal.Signals(-codes[guilty]).name
            return ExitCode.INTERNAL, f"process {guilty} of {processes} was ended by {name}"
        words[guilty - 1].seek(0)
        return codes[guilty], words[guilty - 1].read().decode(errors="replace").strip().removeprefix("error: ")


def _interrupt(leader: subprocess.Popen[bytes]) -> None:
    """On Windows Ctrl-C reaches all processes by itself, and terminating one would leave no checkpoint."""
    if os.name != "nt":
        leader.terminate()


def _wait(started: list[subprocess.Popen[bytes]]) -> list[int]:
    """Their exit codes; once one has ended badly, the others have a while to end as well."""
    deadline = None
    while any(process.poll() is None for process in started):
        if deadline is None and any(process.poll() for process in started):
            deadline = time.monotonic() + GRACE
        if deadline is not None and time.monotonic() > deadline:
            for process in started:
                process.kill()
        time.sleep(0.02)
    return [process.wait() for process in started]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
