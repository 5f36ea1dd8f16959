"""Ctrl-C and SIGTERM: they end the command, but not in the middle of what must be whole."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = threading.Event()
"""Set by Ctrl-C and by SIGTERM."""
_whole = threading.Lock()
"""Held by what must not be interrupted."""


def interrupt(number: int, frame: FrameType | None) -> None:
    """The handler of both signals.

    Raises:
        KeyboardInterrupt: now, or when what must be whole is.
    """
    INTERRUPTED.set()
    if not _whole.locked():
        raise KeyboardInterrupt


@contextmanager
def whole() -> Iterator[None]:
    """A few seconds' work that an interrupt waits for.

    Raises:
        KeyboardInterrupt: behind it, if one came meanwhile.
    """
    with _whole:
        yield
    if INTERRUPTED.is_set():
        raise KeyboardInterrupt
