"""What a message must tell, however it is worded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from crossrec_cli.errors import ExitCode
from crossrec_cli.runtime.progress import Silent


class Heard(Silent):
    """A reporter that keeps the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def lacking(text: str, *facts: object) -> list[str]:
    """The facts that do not stand in a text as a whole: 3 is neither in 13 nor in 3.5, ``text`` not in ``texts``."""
    return [fact for fact in map(str, facts) if not re.search(_whole(fact), text)]


def _whole(fact: str) -> str:
    before = r"(?<!\w)(?<!\d[.,])" if fact[0].isalnum() else ""
    behind = r"(?!\w|[.,]\d)" if fact[-1].isalnum() else ""
    return before + re.escape(fact) + behind


@contextmanager
def fails(kind: type[Exception], *facts: object) -> Iterator[pytest.ExceptionInfo[Exception]]:
    """It ends with this error, whose one line has these facts."""
    with pytest.raises(kind) as caught:
        yield caught
    message = str(caught.value)
    assert len(message.splitlines()) == 1, message
    assert not lacking(message, *facts), message


def check_failed(done: Any, code: ExitCode, *facts: object) -> None:
    """A command ended with this code, and with one line that has these facts."""
    assert done.exit_code == code, done.output
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert not lacking(line, *facts), line


def warns(done: Any, *facts: object) -> bool:
    """Whether a command's warnings have one with these facts."""
    return any(not lacking(text, *facts) for text in re.findall("warning: (.*)", done.stderr))
