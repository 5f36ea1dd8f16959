"""``crossrec doctor``."""

from __future__ import annotations

import typer

from crossrec_cli.commands.shared import EXIT_CODES, AsJson, ending
from crossrec_cli.console.terminal import Console

app = typer.Typer()


@app.command(epilog=EXIT_CODES)
def doctor(as_json: AsJson = False) -> None:
    """Say what crossrec finds here: versions, devices, memory, disk, language models, extras."""
    console = Console(as_json=as_json)
    with ending(console):
        from crossrec_cli.console import show_machine  # noqa: PLC0415  what reads requirements takes a moment to import

        console.document(show_machine.found(console))
