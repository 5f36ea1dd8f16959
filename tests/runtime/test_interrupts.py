"""What must be whole ends before an interrupt does, whichever thread the signal reaches."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from crossrec_cli.runtime.interrupts import INTERRUPTED, defer_interrupts, interrupt


@pytest.fixture(autouse=True)
def heeded():
    """The command's handler, and a thread that takes signals as DuckDB's do."""
    before, done = signal.signal(signal.SIGINT, interrupt), threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    yield
    done.set()
    thread.join()
    signal.signal(signal.SIGINT, before)
    INTERRUPTED.clear()


def interrupted() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.05)


def test_an_interrupt_comes_at_once():
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert INTERRUPTED.is_set()


def test_an_interrupt_waits_for_the_outermost_of_what_must_be_whole():
    reached = []
    with pytest.raises(KeyboardInterrupt):
        with defer_interrupts():
            with defer_interrupts():
                interrupted()
                reached.append("inner")
            reached.append("outer")
        reached.append("behind")
    assert reached == ["inner", "outer"]


def test_an_error_of_its_own_comes_first():
    with pytest.raises(ZeroDivisionError), defer_interrupts():
        interrupted()
        raise ZeroDivisionError
