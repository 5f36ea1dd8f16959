"""One writer at a time in a run directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from crossrec_cli.errors import ArtifactError, LockedError
from crossrec_cli.runtime.progress import Reporter


@contextmanager
def locked(run_dir: Path, timeout: float, report: Reporter | None) -> Iterator[None]:
    """Lock a directory for writing. The operating system frees it when the process dies.

    Args:
        run_dir: is made if it is missing.
        timeout: seconds to wait for another process that has it.
        report: gets a message if it waits.

    Raises:
        LockedError: if another process still has it.
        ArtifactError: if the directory cannot be written.
    """
    lock = FileLock(run_dir / ".lock", timeout=0)
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            if timeout and report:
                report.say(f"waiting for {_holder(run_dir)}")
            lock.acquire(timeout=timeout)
    except Timeout:
        advice = f"waited {timeout:g} s" if timeout else "wait for it to end, or give --lock-timeout"
        raise LockedError(f"{run_dir}: {_holder(run_dir)} is using it; {advice}") from None
    except OSError as error:
        raise ArtifactError(f"{error.filename or run_dir}: cannot write: {error.strerror}") from None
    try:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        (run_dir / ".holder").write_text(f"{os.getpid()} {since}")
        yield
    finally:
        (run_dir / ".holder").unlink(missing_ok=True)
        lock.release()


def _holder(run_dir: Path) -> str:
    try:
        process, since = (run_dir / ".holder").read_text().split()
    except (OSError, ValueError):
        return "another crossrec"
    return f"process {process}, since {since},"
