"""``crossrec doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from crossrec_cli.commands.shared import EXIT_CODES, AsJson, ending
from crossrec_cli.console.terminal import Console
from crossrec_cli.runtime.interrupts import defer_interrupts

if TYPE_CHECKING:
    from crossrec_cli.console.show_machine import MachineFacts

app = typer.Typer()


@app.command(epilog=EXIT_CODES)
def doctor(as_json: AsJson = False) -> None:
    """Say what crossrec finds here: versions, devices, memory, disk, language models, extras."""
    console = Console(as_json=as_json)
    with ending(console):
        from crossrec_cli.console import show_machine  # noqa: PLC0415  what reads requirements takes a moment to import

        console.document(show_machine.found(console, _look()))


def _look() -> MachineFacts:
    """What is here; where torch is broken, the rest."""
    from crossrec_cli.console.show_machine import MachineFacts  # noqa: PLC0415
    from crossrec_cli.runtime import machine  # noqa: PLC0415
    from crossrec_cli.text import installed  # noqa: PLC0415

    devices, problem = list[machine.Device](), None
    try:
        with defer_interrupts():
            devices = machine.devices()
    except (ImportError, OSError, RuntimeError) as error:  # a doctor looks at what is broken, too
        problem = f"torch cannot be used: {str(error).splitlines()[0]}"
    folder = Path.cwd()
    return MachineFacts(
        machine.versions(),
        devices,
        problem,
        machine.memory(),
        folder,
        machine.disk(folder),
        installed.hub_cache(),
        installed.language_models(),
        list(machine.extras()),
    )
