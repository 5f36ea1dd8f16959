"""``crossrec ls``, ``compare`` and ``clean``: many runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossrec_cli.commands.shared import EXIT_CODES, AsJson, ending
from crossrec_cli.console.terminal import Console
from crossrec_cli.runtime.interrupts import defer_interrupts

app = typer.Typer()

Folder = Annotated[Path, typer.Argument(metavar="[DIR]", help="The directory with runs; default: the current one.")]


@app.command("ls", epilog=EXIT_CODES)
def ls(folder: Folder = Path(), as_json: AsJson = False) -> None:
    """List the runs in a directory and its subdirectories: dates, figures, sizes."""
    console = Console(as_json=as_json)
    with ending(console):
        with defer_interrupts():
            from crossrec_cli.console import show_runs  # noqa: PLC0415  pyarrow takes a moment to import
            from crossrec_cli.pipeline.run_directories import runs_in  # noqa: PLC0415

        console.document(show_runs.listed(console, folder, runs_in(folder)))


@app.command(epilog=EXIT_CODES)
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN…", help="Run directories.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Compare the rankings of runs with the first run, for the same users, and show how their configs differ."""
    console = Console(as_json=as_json)
    with ending(console):
        with defer_interrupts():
            from crossrec_cli.console import show_runs  # noqa: PLC0415  pyarrow takes a moment to import
            from crossrec_cli.pipeline.run_directories import RunComparison  # noqa: PLC0415

        console.document(show_runs.compare(console, RunComparison.of(runs)))


@app.command(epilog=EXIT_CODES)
def clean(
    keep: Annotated[int, typer.Option("--keep", metavar="N", min=0, help="How many of the newest runs to keep.")],
    folder: Folder = Path(),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed, and delete nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete all runs in a directory and its subdirectories except the newest."""
    console = Console(as_json=as_json)
    with ending(console):
        with defer_interrupts():
            from crossrec_cli.console import show_runs  # noqa: PLC0415  pyarrow takes a moment to import
            from crossrec_cli.pipeline.run_directories import remove_old  # noqa: PLC0415

        console.begin("clean")
        console.document(show_runs.cleaned(console, folder, remove_old(folder, keep, dry_run), dry_run))
