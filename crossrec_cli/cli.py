"""The ``crossrec`` command with its subcommands. Only this module and ``commands/`` may exit the process."""

from __future__ import annotations

import signal
import sys
from io import TextIOWrapper
from typing import Annotated, Any

import typer

from crossrec_cli.commands import (
    answers,
    config,
    data,
    doctor,
    experiments,
    export,
    federation,
    init,
    items,
    privacy,
    runs,
    serve,
    stages,
)
from crossrec_cli.commands.shared import EXIT_CODES, fail
from crossrec_cli.console.terminal import Console
from crossrec_cli.errors import ConfigError
from crossrec_cli.runtime.interrupts import interrupt

USAGE_ERROR: Any = typer.BadParameter.__bases__[0]
COMMAND_LINE_ERROR: Any = USAGE_ERROR.__bases__[0]
"""Click's ``UsageError`` and ``ClickException``, which newer versions of Typer have copies of."""

app = typer.Typer(
    name="crossrec",
    help="Recommend items of one category to the buyers of another.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
app.add_typer(init.app)
app.add_typer(stages.app)
app.add_typer(answers.app)
app.add_typer(export.app)
app.add_typer(serve.app)
app.add_typer(experiments.app)
app.add_typer(runs.app)
app.add_typer(privacy.app)
app.add_typer(federation.app)
app.add_typer(doctor.app)
app.add_typer(data.app, name="data")
app.add_typer(items.app, name="items")
app.add_typer(config.app, name="config")


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        from crossrec_cli.runtime.machine import full_version  # noqa: PLC0415  runs git

        print(f"crossrec {full_version()}")  # noqa: T201
        raise typer.Exit


def main() -> None:
    """Run the command of the shell's arguments."""
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(signal_number) is not signal.SIG_IGN:
            signal.signal(signal_number, interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # do not fail on a terminal without Unicode
    try:
        sys.exit(app(prog_name="crossrec", standalone_mode=False))
    except KeyboardInterrupt as error:  # outside of the command itself, or while it ends
        fail(Console(as_json="--json" in sys.argv), error)
    except COMMAND_LINE_ERROR as error:
        problem = error.format_message() if isinstance(error, USAGE_ERROR) else str(error)
        fail(Console(as_json="--json" in sys.argv), ConfigError([problem] if problem else []))
