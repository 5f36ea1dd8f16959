"""Ctrl-C and SIGTERM: they end the command, but not in the middle of what must be whole."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = threading.Event()
"""Set by Ctrl-C and by SIGTERM."""
_whole: list[None] = []
"""An entry for each ``whole`` that is under way."""


def interrupt(number: int, frame: FrameType | None) -> None:
    """The handler of both signals.

    Raises:
        KeyboardInterrupt: now, or when what must be whole is.
    """
    INTERRUPTED.set()
    if not _whole:
        raise KeyboardInterrupt


@contextmanager
def defer_interrupts() -> Iterator[None]:
    """A few seconds' work that an interrupt waits for: a step of training, or imports.

    In the middle of its import, torch aborts the process. To block the signals would not do, as they then reach another
    thread, DuckDB's for instance, and Python calls the handler in this one all the same.

    Raises:
        KeyboardInterrupt: behind it, if one came meanwhile.
    """
    _whole.append(None)
    try:
        yield
    finally:
        _whole.pop()
    if INTERRUPTED.is_set() and not _whole:
        raise KeyboardInterrupt
