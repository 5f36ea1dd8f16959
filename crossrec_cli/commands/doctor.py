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
    """Show this machine's versions, devices, memory, disk, language models and extras."""
    console = Console(as_json=as_json)
    with ending(console):
        from crossrec_cli.console import show_machine  # noqa: PLC0415  takes a moment to import

        console.document(show_machine.machine(console, _machine_facts()))


def _machine_facts() -> MachineFacts:
    """All facts; without devices if torch cannot be used."""
    from crossrec_cli.console.show_machine import MachineFacts  # noqa: PLC0415
    from crossrec_cli.runtime import machine  # noqa: PLC0415
    from crossrec_cli.text import installed  # noqa: PLC0415

    devices, problem = list[machine.Device](), None
    try:
        with defer_interrupts():
            devices = machine.devices()
    except (ImportError, OSError, RuntimeError) as error:  # show the rest where torch is broken
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
