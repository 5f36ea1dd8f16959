"""What all commands share: options, and how a command ends."""

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
    typer.Option(
        "--lock-timeout", metavar="SECONDS", min=0, help="How long to wait for another command in the run directory."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print warnings and errors only.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, everything else on stderr.")]

Exported = Annotated[
    Path | None,
    typer.Option("--from", metavar="FOLDER", help="A folder of 'crossrec export', instead of a CONFIG."),
]


def loaded(path: Path, overrides: Sequence[str] | None = None) -> Config:
    """The config of a file with its overrides, checked."""
    from crossrec_cli.config.load import load_config  # noqa: PLC0415

    return load_config(path, overrides or ())


def check_out(out: Path | None) -> None:
    """Check the option ``--out`` of a command that writes a Parquet file.

    Raises:
        ConfigError: if it cannot be such a file.
    """
    if out and (out.is_dir() or not out.parent.is_dir() or out.suffix != ".parquet"):
        raise ConfigError([f"--out {out}: name a .parquet file in a folder that exists"])


def config_and_export(
    path: Path | None, exported: Path | None, overrides: Sequence[str]
) -> tuple[Config, Artifact | None]:
    """The config, from its file or from an export, and the export if there is one.

    Raises:
        ConfigError: if there are both or neither, or the config is wrong.
        ArtifactError: if the export is damaged.
    """
    from crossrec_cli.export.folder import open_export  # noqa: PLC0415

    if path is not None and exported is None:
        return loaded(path, overrides), None
    if exported is not None and path is None:
        return open_export(exported, overrides)
    raise ConfigError(["give either a CONFIG or, with --from, the folder of an export"])


@contextmanager
def ending(console: Console) -> Iterator[None]:
    """Print an error that ends the command, and exit with its code."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        fail(console, error)


def fail(console: Console, error: BaseException) -> NoReturn:
    """Print what ended the command, and exit."""
    if distributed.follows() and isinstance(error, distributed.LostError):
        raise SystemExit(ExitCode.INTERNAL.value)  # the process that ended prints why
    problems, code = _explain(error, console)
    problems = list(map(mask, problems))
    if distributed.follows():
        problems = [f"process {distributed.rank()}: {problem}" for problem in problems]
    console.error(problems)
    against = {"against": error.comparison} if isinstance(error, RegressionError) and error.comparison else {}
    partial = error.results if isinstance(error, InputError) else {}
    console.document({**partial, "error": problems, "exit_code": code.value, **against})
    raise SystemExit(code.value)


def _explain(error: BaseException, console: Console) -> tuple[list[str], ExitCode]:
    """The problems to print for an error, and its exit code."""
    if INTERRUPTED.is_set():  # a library may have turned the interrupt into an error of its own
        return ["interrupted; the artifacts of finished stages are complete"], ExitCode.INTERRUPTED
    if isinstance(error, ConfigError):
        return error.problems, error.exit_code
    if isinstance(error, CrossrecError):
        return [str(error)], error.exit_code
    if isinstance(error, OSError):
        return [f"{error.filename or 'run directory'}: {error.strerror or error}"], ExitCode.ARTIFACT
    console.logger.error(traceback.format_exc())
    return [f"unexpected {type(error).__name__}: {error}; details: {console.log_file}"], ExitCode.INTERNAL
