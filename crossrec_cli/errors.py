"""The errors that end a command. Each knows its exit code; each message is one line for a person."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """What the shell sees. Documented in the README and in ``crossrec --help``."""

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
    ExitCode.INTERNAL: "a fault of crossrec's own",
    ExitCode.CONFIG: "the config or the command line is wrong",
    ExitCode.INPUT: "the input data is missing or unusable",
    ExitCode.ARTIFACT: "an artifact of an earlier stage is missing or damaged",
    ExitCode.LOCKED: "another crossrec works in this run directory",
    ExitCode.UNAVAILABLE: "the device or the language model is not available",
    ExitCode.REGRESSION: "it ranks significantly worse than the run given with --against",
    ExitCode.INTERRUPTED: "interrupted",
}


class CrossrecError(Exception):
    """Base of every expected failure."""

    exit_code = ExitCode.INTERNAL


class ConfigError(CrossrecError):
    """The config file or a ``--set`` is wrong; carries every problem found, one line each."""

    exit_code = ExitCode.CONFIG

    def __init__(self, problems: list[str]) -> None:
        # Not only what would steer a terminal: a letter that nobody sees may be what is wrong with a key.
        self.problems = ["".join(c if c.isprintable() else repr(c)[1:-1] for c in problem) for problem in problems]
        super().__init__("\n".join(self.problems))


class InputError(CrossrecError):
    """An input file is missing, unreadable, or holds nothing that can be used; what was found until then with it."""

    exit_code = ExitCode.INPUT

    def __init__(self, problem: str, found: Mapping[str, object] | None = None) -> None:
        super().__init__(problem)
        self.found = found or {}


class ArtifactError(CrossrecError):
    """An artifact is missing, damaged, or not what its manifest says."""

    exit_code = ExitCode.ARTIFACT


class LockedError(CrossrecError):
    """Another process holds the run directory."""

    exit_code = ExitCode.LOCKED


class UnavailableError(CrossrecError):
    """A device, a language model or an optional package is not there."""

    exit_code = ExitCode.UNAVAILABLE


class RegressionError(CrossrecError):
    """The run ranks worse than an earlier one; carries the comparison, for ``--json``."""

    exit_code = ExitCode.REGRESSION

    def __init__(self, told: str, comparison: dict[str, Any]) -> None:
        super().__init__(told)
        self.comparison = comparison
