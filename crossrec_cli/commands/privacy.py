"""``crossrec forget``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from crossrec_cli.commands.shared import EXIT_CODES, AsJson, ConfigPath, LockTimeout, Overrides, Quiet, ending, loaded
from crossrec_cli.console.terminal import Console
from crossrec_cli.errors import ConfigError
from crossrec_cli.runtime.interrupts import defer_interrupts

app = typer.Typer()


@app.command(epilog=EXIT_CODES)
def forget(
    config: ConfigPath,
    users: Annotated[
        list[str] | None, typer.Argument(metavar="[USER]...", help="Ids, as in the lists.", show_default=False)
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--users", metavar="FILE", help="Each user_id of a Parquet or CSV file; -: ids on stdin."),
    ] = None,
    exports: Annotated[
        list[Path] | None,
        typer.Option("--export", metavar="FOLDER", help="Also from this folder of 'crossrec export'. Repeatable."),
    ] = None,
    events: Annotated[
        list[Path] | None,
        typer.Option("--events", metavar="FILE", help="Also from this file of 'crossrec serve --events'. Repeatable."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed, and change nothing.")] = False,
    overrides: Overrides = None,
    lock_timeout: LockTimeout = 0.0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Remove people from artifacts, lists, events and exports. Nothing else changes, and no stage runs again."""
    console = Console(quiet, as_json)
    with ending(console):
        if not users and not file:
            raise ConfigError(["name users, or give --users FILE"])
        with defer_interrupts():
            import pyarrow as pa  # noqa: PLC0415  takes a moment to import

            from crossrec_cli.artifacts.store import Store  # noqa: PLC0415
            from crossrec_cli.console import show_forget  # noqa: PLC0415
            from crossrec_cli.data.ids import as_ids  # noqa: PLC0415
            from crossrec_cli.export.replacement import restore  # noqa: PLC0415
            from crossrec_cli.privacy import forgetting  # noqa: PLC0415
            from crossrec_cli.ranking.list_request import ListRequest  # noqa: PLC0415

        settings = loaded(config, overrides)
        console.begin("forget")
        ids = pa.concat_arrays([as_ids(users or (), "USER"), ListRequest(file=file).ids_of_file(sys.stdin)])
        folders, event_files = exports or [], events or []
        if dry_run:
            traces = forgetting.look_up(settings, ids, folders, event_files)
        else:
            forgetting.check_run_directory(settings)
            with Store(settings.run_path).lock(lock_timeout, console):
                for folder in folders:
                    restore(folder.resolve())
                traces = forgetting.look_up(settings, ids, folders, event_files)
                forgetting.forget(settings, traces)
                console.open_log(settings.run_path)
                console.log(f"{len(traces.people.ids):,} users are removed from {len(traces.files):,} files")
        document = show_forget.forgotten(console, settings, traces, dry_run)
        console.document({"run_dir": settings.run_dir} | document)
