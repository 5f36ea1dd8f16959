"""Run this command again, in several processes on this machine that work together."""

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
"""Seconds for the other processes to end after one has failed."""
UNSPECIFIC = (ExitCode.OK, ExitCode.INTERNAL)
"""Exit codes that a process may have because another one failed."""


def launch(processes: int) -> tuple[int, str]:
    """Start the processes, and wait until all have ended.

    Ctrl-C and SIGTERM go to the leader, which writes a checkpoint.

    Returns:
        The exit code: 0 if all succeeded, else that of the process that failed first; and its message, which is empty
        if it is the leader, whose messages are on the screen already.
    """
    command = [sys.executable, "-m", "crossrec_cli", *sys.argv[1:]]
    job = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    job |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    with ExitStack() as stack:
        messages = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(processes - 1)]
        started = [
            subprocess.Popen(
                command,
                env=os.environ | job | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdout=subprocess.DEVNULL if rank else None,
                stderr=messages[rank - 1] if rank else None,
                start_new_session=True,  # so that Ctrl-C reaches the leader once
            )
            for rank in range(processes)
        ]
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: _interrupt(started[0]))
        codes = _wait(started)
        failed = next((rank for rank, code in enumerate(codes) if code not in UNSPECIFIC), None)
        if failed is None:
            return max(codes), ""
        if failed == 0 and codes[0] > 0:
            return codes[0], ""
        if codes[failed] < 0:
            name = signal.Signals(-codes[failed]).name
            return ExitCode.INTERNAL, f"process {failed} of {processes} was ended by {name}"
        messages[failed - 1].seek(0)
        return codes[failed], messages[failed - 1].read().decode(errors="replace").strip().removeprefix("error: ")


def _interrupt(leader: subprocess.Popen[bytes]) -> None:
    """Terminate the leader. On Windows Ctrl-C reaches all processes, and terminate() would leave no checkpoint."""
    if os.name != "nt":
        leader.terminate()


def _wait(started: list[subprocess.Popen[bytes]]) -> list[int]:
    """Their exit codes. Once one has failed, the others have ``GRACE`` seconds to end."""
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
