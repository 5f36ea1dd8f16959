"""``crossrec items …``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossrec_cli.commands.shared import EXIT_CODES, AsJson, ConfigPath, LockTimeout, Overrides, Quiet, ending, loaded
from crossrec_cli.console.terminal import Console
from crossrec_cli.runtime.interrupts import defer_interrupts

app = typer.Typer(help="Items that are new since training.", no_args_is_help=True, epilog=EXIT_CODES)


@app.callback()
def _items() -> None:
    """A callback, so that Typer expects the name ``add`` although it is the only command."""


@app.command("add", epilog=EXIT_CODES)
def add(
    config: ConfigPath,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A file like the config's items file.", show_default=False)
    ],
    platform: Annotated[
        str | None, typer.Option("--platform", metavar="NAME", help="The items' platform, if there are several.")
    ] = None,
    overrides: Overrides = None,
    lock_timeout: LockTimeout = 0.0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Add new items to lists and searches at once, by their texts. Nothing is trained again."""
    console = Console(quiet, as_json)
    with ending(console):
        with defer_interrupts():
            from crossrec_cli.artifacts.store import Store  # noqa: PLC0415
            from crossrec_cli.console import show_items  # noqa: PLC0415  pyarrow takes a moment to import
            from crossrec_cli.pipeline.run import add_items  # noqa: PLC0415

        settings = loaded(config, overrides)
        with Store(settings.run_path).lock(lock_timeout, console):
            console.open_log(settings.run_path)
            artifact = add_items(settings, file, platform, console)
            console.document({"run_dir": settings.run_dir} | show_items.added(console, artifact))
