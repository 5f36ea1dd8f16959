"""Commands for experiments: the log of lists that were served, and two variants compared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossrec_cli.artifacts.files import IMPRESSIONS
from crossrec_cli.commands.shared import EXIT_CODES, AsJson, Quiet, check_out, ending
from crossrec_cli.console.terminal import Console
from crossrec_cli.errors import ConfigError, RegressionError
from crossrec_cli.runtime.interrupts import defer_interrupts

app = typer.Typer()


@app.command(epilog=EXIT_CODES)
def feedback(
    directory: Annotated[
        Path, typer.Argument(metavar="DIRECTORY", help="The directory of serve.log.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The Parquet file to write; default: in the directory.")
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write the log of crossrec serve: each item shown, with its propensity, and whether it was clicked or bought."""
    console = Console(quiet, as_json)
    with ending(console):
        check_out(out)
        with defer_interrupts():
            from crossrec_cli.artifacts import parquet, schemas  # noqa: PLC0415  pyarrow takes a moment to import
            from crossrec_cli.console import show_experiment  # noqa: PLC0415
            from crossrec_cli.serving.impression_log import ImpressionLog  # noqa: PLC0415

        console.begin("feedback")
        log, path = ImpressionLog.existing(directory), out or directory / IMPRESSIONS
        rows = parquet.write_parts(path, schemas.IMPRESSIONS, log.tables())
        console.document(show_experiment.exported(console, path, rows, log.counts()))


@app.command(epilog=EXIT_CODES)
def ab(
    logs: Annotated[
        list[Path],
        typer.Argument(metavar="LOG_A [LOG_B]", help="Files of 'crossrec feedback': one a variant, or one of both."),
    ],
    a: Annotated[
        str | None, typer.Option("--a", metavar="VARIANT", help="Of one log: the variant that is A; default: by name.")
    ] = None,
    b: Annotated[
        str | None,
        typer.Option("--b", metavar="VARIANT", help="Of one log: the variant that is B; default: the other."),
    ] = None,
    detect: Annotated[
        float,
        typer.Option("--detect", min=0.0001, max=10, help="A difference that matters, as a share of A's rate."),
    ] = 0.05,
    share_a: Annotated[
        float, typer.Option("--share-a", min=0.001, max=0.999, help="The share of users who were to see A.")
    ] = 0.5,
    fail: Annotated[bool, typer.Option("--fail", help="Exit with 7 if B is significantly worse.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Compare two variants of the lists: what they earn, whether the difference is chance, and whether to trust it."""
    console = Console(quiet, as_json)
    with ending(console):
        if fail and len(logs) == 1 and a is None:
            raise ConfigError(["--fail with one log needs --a, the variant that B must not be worse than"])
        with defer_interrupts():
            from crossrec_cli.console import show_experiment  # noqa: PLC0415  SciPy takes a moment to import
            from crossrec_cli.evaluation.experiment import Experiment  # noqa: PLC0415

        console.begin("ab")
        compared = Experiment.read(logs, a, b, share_a, detect)
        document = show_experiment.experiment(console, compared)
        if fail and compared.lost:
            raise RegressionError(show_experiment.worse(compared), document)
        console.document(document)
