"""``crossrec data …``."""

from __future__ import annotations

import typer

from crossrec_cli.commands.shared import EXIT_CODES, AsJson, ConfigPath, Overrides, Quiet, ending, loaded
from crossrec_cli.console.terminal import Console
from crossrec_cli.errors import InputError
from crossrec_cli.runtime.interrupts import defer_interrupts

app = typer.Typer(help="Check the raw data.", no_args_is_help=True, epilog=EXIT_CODES)


@app.command("check", epilog=EXIT_CODES)
def data_check(config: ConfigPath, overrides: Overrides = None, quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Show what each column maps to, which rows would be removed, and whether transfer has a chance. Writes nothing."""
    console = Console(quiet, as_json)
    with ending(console):
        with defer_interrupts():
            from crossrec_cli.console import show_check  # noqa: PLC0415  pyarrow and DuckDB take a moment to import
            from crossrec_cli.data.check import check  # noqa: PLC0415

        result = check(loaded(config, overrides))
        document = show_check.check(console, result)
        if result.problem:
            raise InputError(result.problem, document)
        console.document(document)
