"""The ``crossrec`` command, put together. With ``commands/``, the only place that prints or exits."""

from __future__ import annotations

import signal
import sys
from io import TextIOWrapper
from typing import Annotated

import typer
from typer.exceptions import TyperException

from crossrec_cli.commands import config, data, doctor, export, init, items, runs, serve, stages
from crossrec_cli.commands.shared import EXIT_CODES, fail
from crossrec_cli.console.terminal import Console
from crossrec_cli.errors import ConfigError
from crossrec_cli.runtime.interrupts import interrupt

app = typer.Typer(
    name="crossrec",
    help="Recommend from one category to the buyers of another.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
app.add_typer(init.app)
app.add_typer(stages.app)
app.add_typer(export.app)
app.add_typer(serve.app)
app.add_typer(runs.app)
app.add_typer(doctor.app)
app.add_typer(data.app, name="data")
app.add_typer(items.app, name="items")
app.add_typer(config.app, name="config")


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        from crossrec_cli.runtime.machine import full_version  # noqa: PLC0415  asks git

        print(f"crossrec {full_version()}")  # noqa: T201
        raise typer.Exit


def main() -> None:
    """Run the command that the shell gave."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without Unicode is no reason to fail
    try:
        sys.exit(app(prog_name="crossrec", standalone_mode=False))
    except KeyboardInterrupt as error:  # between two steps of the command, or while it ends
        fail(Console(as_json="--json" in sys.argv), error)
    except TyperException as error:
        wrong = error.format_message() if isinstance(error, typer.BadParameter.__bases__) else str(error)
        fail(Console(as_json="--json" in sys.argv), ConfigError([wrong] if wrong else []))
