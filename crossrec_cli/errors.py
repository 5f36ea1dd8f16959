"""The errors that end a command. Each has its exit code; each message is one line for a person."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """The exit codes of the command. ``crossrec --help`` documents them."""

    OK = 0
    INTERNAL = 1
    CONFIG = 2
    INPUT = 3
    ARTIFACT = 4
    LOCKED = 5
    UNAVAILABLE = 6
    REGRESSION = 7
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        """One phrase, for the help text."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.OK: "done, or already up to date",
    ExitCode.INTERNAL: "a fault of crossrec itself",
    ExitCode.CONFIG: "the config or the command line is wrong",
    ExitCode.INPUT: "the input data is missing or unusable",
    ExitCode.ARTIFACT: "an artifact of an earlier stage is missing or damaged",
    ExitCode.LOCKED: "another crossrec is using this run directory",
    ExitCode.UNAVAILABLE: "the device, the language model, a package or a database is not available",
    ExitCode.REGRESSION: "significantly worse than what it is compared with, or its data differ too much",
    ExitCode.INTERRUPTED: "interrupted",
}


class CrossrecError(Exception):
    """Base of every expected failure."""

    exit_code = ExitCode.INTERNAL


class ConfigError(CrossrecError):
    """The config file or a ``--set`` is wrong; has every problem, one line each."""

    exit_code = ExitCode.CONFIG

    def __init__(self, problems: list[str]) -> None:
        # Not only what would control a terminal: an invisible letter may be what is wrong with a key.
        self.problems = ["".join(c if c.isprintable() else repr(c)[1:-1] for c in problem) for problem in problems]
        super().__init__("\n".join(self.problems))


class InputError(CrossrecError):
    """An input file is missing, unreadable, or has nothing that can be used; has the results so far, for ``--json``."""

    exit_code = ExitCode.INPUT

    def __init__(self, problem: str, results: Mapping[str, object] | None = None) -> None:
        super().__init__(problem)
        self.results = results or {}


class ArtifactError(CrossrecError):
    """An artifact is missing, damaged, or not what its manifest says."""

    exit_code = ExitCode.ARTIFACT


class LockedError(CrossrecError):
    """Another process is using the run directory."""

    exit_code = ExitCode.LOCKED


class UnavailableError(CrossrecError):
    """A device, a language model or an optional package is not there."""

    exit_code = ExitCode.UNAVAILABLE

    @classmethod
    def without(cls, package: str, extra: str, for_what: str) -> UnavailableError:
        """A package that is not installed, and the extra that brings it."""
        return cls(f"{for_what}: needs the package {package}; pip install 'crossrec[{extra}]'")


class RegressionError(CrossrecError):
    """The run ranks worse than an earlier one; has the comparison, for ``--json``."""

    exit_code = ExitCode.REGRESSION

    def __init__(self, problem: str, comparison: dict[str, Any]) -> None:
        super().__init__(problem)
        self.comparison = comparison
