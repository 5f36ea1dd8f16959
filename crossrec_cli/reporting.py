"""How a stage says what it does, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Reporter(Protocol):
    """Takes messages and progress; the console implements it."""

    def say(self, message: str) -> None:
        """One line of news."""

    def warn(self, message: str) -> None:
        """One line that the user should act on."""

    def progress(self, name: str, total: int, unit: str) -> AbstractContextManager[Callable[[int], None]]:
        """Show progress of ``total`` units; call what it yields with how many more are done."""


class Silent:
    """A reporter that says nothing."""

    def say(self, message: str) -> None:
        """Ignored."""

    def warn(self, message: str) -> None:
        """Ignored."""

    @contextmanager
    def progress(self, name: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        """Ignored."""
        yield lambda done: None
