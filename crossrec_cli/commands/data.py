"""``crossrec data …``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossrec_cli.artifacts.files import PREPROCESS, RECOMMEND
from crossrec_cli.commands.shared import EXIT_CODES, AsJson, ConfigPath, Overrides, Quiet, ending, loaded
from crossrec_cli.console.terminal import Console
from crossrec_cli.errors import ArtifactError, InputError
from crossrec_cli.runtime.interrupts import defer_interrupts

app = typer.Typer(help="Check the data.", no_args_is_help=True, epilog=EXIT_CODES)


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


@app.command("drift", epilog=EXIT_CODES)
def data_drift(
    config: ConfigPath,
    against: Annotated[
        Path,
        typer.Option(
            "--against",
            metavar="RUN_DIR",
            help="An earlier run; or this one: its artifacts before.",
            show_default=False,
        ),
    ],
    limit: Annotated[
        float | None,
        typer.Option("--limit", min=0, help="Exit with 7 if a stability index is above this, such as 0.25."),
    ] = None,
    overrides: Overrides = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Show how far a run's data and scores are from an earlier run's."""
    console = Console(quiet, as_json)
    with ending(console):
        with defer_interrupts():
            from crossrec_cli.artifacts.store import Store  # noqa: PLC0415  pyarrow takes a moment to import
            from crossrec_cli.console import show_drift  # noqa: PLC0415
            from crossrec_cli.evaluation.drift import Drift, Snapshot  # noqa: PLC0415

        run_path, snapshots = loaded(config, overrides).run_path, []
        itself = against.resolve() == run_path.resolve()
        for option, run_dir in (("CONFIG", run_path), ("--against", against)):
            store = Store(run_dir)
            read = store.previous if itself and option == "--against" else store.current
            preprocess = read(PREPROCESS)
            if preprocess is None and read == store.previous:
                raise ArtifactError(f"{option}: {run_dir}: is this run, which has no earlier preprocess artifact")
            if preprocess is None:
                raise ArtifactError(
                    f"{option}: {run_dir}: no preprocess artifact; run 'crossrec preprocess' there first"
                )
            snapshots.append(Snapshot.of(preprocess, read(RECOMMEND)))
        drift = Drift.of(*snapshots)
        document = show_drift.drift(console, drift)
        if limit is not None:
            drift.check(limit, "--limit")
        console.document(document)
