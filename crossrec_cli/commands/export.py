"""``crossrec export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossrec_cli.commands.shared import EXIT_CODES, AsJson, ConfigPath, LockTimeout, Overrides, Quiet, ending, loaded
from crossrec_cli.console.terminal import Console
from crossrec_cli.runtime.interrupts import defer_interrupts

app = typer.Typer()


@app.command(epilog=EXIT_CODES)
def export(
    config: ConfigPath,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="The folder to write; an earlier export is replaced.", show_default=False
        ),
    ],
    overrides: Overrides = None,
    lock_timeout: LockTimeout = 0.0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write the model into a self-contained folder: weights, vectors, ONNX, model card."""
    console = Console(quiet, as_json)
    with ending(console):
        with defer_interrupts():
            from crossrec_cli.artifacts.store import Store  # noqa: PLC0415
            from crossrec_cli.console import show_export  # noqa: PLC0415  pyarrow takes a moment to import
            from crossrec_cli.export.folder import EXPORT  # noqa: PLC0415
            from crossrec_cli.export.write import write_export  # noqa: PLC0415  torch takes a moment to import

        settings = loaded(config, overrides)
        with Store(settings.run_path).lock(lock_timeout, console):
            console.open_log(settings.run_path)
            console.begin(EXPORT)
            artifact = write_export(settings, folder, console)
            console.document({"run_dir": settings.run_dir} | show_export.exported(console, folder, artifact))
