"""The interface by which a stage reports messages and progress."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Advance(Protocol):
    """Advances a progress display."""

    def __call__(self, done: int, detail: str = "") -> None:
        """``done`` more units are done; ``detail`` is shown next to the bar."""


class Reporter(Protocol):
    """Takes messages and progress; the console implements it."""

    def begin(self, stage: str) -> None:
        """A stage begins."""

    def log(self, message: str) -> None:
        """One line for the log file only."""

    def say(self, message: str) -> None:
        """One line for the screen and the log file."""

    def warn(self, message: str) -> None:
        """One line about something that the user should check."""

    def event(self, name: str, **facts: int | float | None) -> None:
        """Figures at one time, for programs that follow a run; None for unknown ones."""

    def progress(self, name: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """Show progress of ``total`` units."""


class Silent:
    """A reporter that shows nothing."""

    def log(self, message: str) -> None:
        """Ignored."""

    begin = say = warn = log

    def event(self, name: str, **facts: int | float | None) -> None:
        """Ignored."""

    @contextmanager
    def progress(self, name: str, total: int, unit: str) -> Iterator[Advance]:
        """Ignored."""

        def ignore(done: int, detail: str = "") -> None:
            pass

        yield ignore


def peak_memory() -> int | None:
    """The peak memory of this process so far, in bytes; None if Python cannot measure it, as on Windows."""
    try:
        import resource  # noqa: PLC0415  exists on Unix only
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB, macOS in bytes
