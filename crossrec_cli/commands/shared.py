"""What the commands of the shell share: options, and how a command ends."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from crossrec_cli.config.secrets import mask
from crossrec_cli.console.terminal import Console
from crossrec_cli.errors import ConfigError, CrossrecError, ExitCode, InputError, RegressionError
from crossrec_cli.runtime import distributed
from crossrec_cli.runtime.interrupts import INTERRUPTED

if TYPE_CHECKING:  # pydantic takes a moment to import, which help can do without
    from crossrec_cli.artifacts.store import Artifact
    from crossrec_cli.config.schema import Config

EXIT_CODES = "Exit codes: " + "; ".join(f"{code.value} {code.meaning}" for code in ExitCode) + "."

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="The YAML config file.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a config field: a.b=c or list[0].a=b. Repeatable."),
]
Force = Annotated[bool, typer.Option("--force", help="Run even if nothing has changed.")]
LockTimeout = Annotated[
    float,
    typer.Option("--lock-timeout", metavar="SECONDS", min=0, help="Wait so long for another run in the directory."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print warnings and errors alone.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, all else on stderr.")]

Exported = Annotated[
    Path | None,
    typer.Option("--from", metavar="FOLDER", help="Serve what 'crossrec export' wrote, in place of a CONFIG."),
]


def loaded(path: Path, overrides: Sequence[str] | None = None) -> Config:
    """The config file, checked."""
    from crossrec_cli.config.load import load_config  # noqa: PLC0415

    return load_config(path, overrides or ())


def given(path: Path | None, exported: Path | None, overrides: Sequence[str]) -> tuple[Config, Artifact | None]:
    """The config, and the export that is served if it comes from one."""
    from crossrec_cli.export.folder import open_export  # noqa: PLC0415

    if path is not None and exported is None:
        return loaded(path, overrides), None
    if exported is not None and path is None:
        return open_export(exported, overrides)
    raise ConfigError(["give either a CONFIG or, with --from, the folder of an export"])


@contextmanager
def ending(console: Console) -> Iterator[None]:
    """Whatever ends the command is told, and the process leaves with its exit code."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        fail(console, error)


def fail(console: Console, error: BaseException) -> NoReturn:
    """Tell what ended the command, and leave."""
    if distributed.follows() and isinstance(error, distributed.LostError):
        raise SystemExit(ExitCode.INTERNAL.value)  # who has ended says why
    found, code = _explain(error, console)
    problems = list(map(mask, found))
    if distributed.follows():
        problems = [f"process {distributed.rank()}: {problem}" for problem in problems]
    console.error(problems)
    against = {"against": error.comparison} if isinstance(error, RegressionError) and error.comparison else {}
    found_before = error.results if isinstance(error, InputError) else {}
    console.document({**found_before, "error": problems, "exit_code": code.value, **against})
    raise SystemExit(code.value)


def _explain(error: BaseException, console: Console) -> tuple[list[str], ExitCode]:
    """What to tell of whatever ended the command, and its exit code."""
    if INTERRUPTED.is_set():  # a library may have turned the interrupt into an error of its own
        return ["interrupted; the artifacts of finished stages are whole"], ExitCode.INTERRUPTED
    if isinstance(error, ConfigError):
        return error.problems, error.exit_code
    if isinstance(error, CrossrecError):
        return [str(error)], error.exit_code
    if isinstance(error, OSError):
        return [f"{error.filename or 'run directory'}: {error.strerror or error}"], ExitCode.ARTIFACT
    console.logger.error(traceback.format_exc())
    return [f"unexpected {type(error).__name__}: {error}; details: {console.log_file}"], ExitCode.INTERNAL
