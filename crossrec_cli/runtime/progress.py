"""How a stage says what it does, without knowing who listens."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Advance(Protocol):
    """Tells a progress display that more is done."""

    def __call__(self, done: int, detail: str = "") -> None:
        """``done`` more units, and optionally a word on how it goes."""


class Reporter(Protocol):
    """Takes messages and progress; the console implements it."""

    def begin(self, stage: str) -> None:
        """A stage begins."""

    def log(self, message: str) -> None:
        """One line for the log file alone."""

    def say(self, message: str) -> None:
        """One line of news."""

    def warn(self, message: str) -> None:
        """One line that the user should act on."""

    def event(self, name: str, **facts: int | float | None) -> None:
        """Figures of a moment, for programs that follow a run; None for what is not known."""

    def progress(self, name: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """Show progress of ``total`` units."""


class Silent:
    """A reporter that says nothing."""

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
    """The most memory this process has held so far, in bytes; None where Python cannot tell, as on Windows."""
    try:
        import resource  # noqa: PLC0415  of Unix alone
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB, macOS in bytes
