"""Ctrl-C and SIGTERM: they end the command, but never inside ``defer_interrupts``."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = threading.Event()
"""Set by Ctrl-C and by SIGTERM."""
_deferring: list[None] = []
"""An entry for each ``defer_interrupts`` that is active."""


def interrupt(number: int, frame: FrameType | None) -> None:
    """The handler of both signals.

    Raises:
        KeyboardInterrupt: now, or after ``defer_interrupts``.
    """
    INTERRUPTED.set()
    if not _deferring:
        raise KeyboardInterrupt


@contextmanager
def defer_interrupts() -> Iterator[None]:
    """Delay interrupts until the end of a few seconds' work: a step of training, or imports.

    An interrupt during its import makes torch abort the process. Blocking the signals does not help: they then reach
    another thread, such as DuckDB's, and Python still calls the handler in this one.

    Raises:
        KeyboardInterrupt: at the end, if an interrupt came.
    """
    _deferring.append(None)
    try:
        yield
    finally:
        _deferring.pop()
    if INTERRUPTED.is_set() and not _deferring:
        raise KeyboardInterrupt
