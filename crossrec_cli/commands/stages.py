"""``crossrec run`` and a command for each stage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from crossrec_cli.artifacts.files import (
    EVALUATE,
    FINETUNE,
    PIPELINE,
    PREPROCESS,
    PRETRAIN_ADAPT,
    RECOMMEND,
    SEARCH,
    TRANSFER,
    TUNE,
)
from crossrec_cli.commands.execution import PageOptions, execute, show_requested_lists
from crossrec_cli.commands.shared import (
    EXIT_CODES,
    AsJson,
    ConfigPath,
    Exported,
    Force,
    LockTimeout,
    Overrides,
    Quiet,
    config_and_export,
    ending,
    loaded,
)
from crossrec_cli.console.terminal import Console, Format
from crossrec_cli.errors import ConfigError
from crossrec_cli.pipeline.nightly import overrides as nightly_overrides
from crossrec_cli.runtime import distributed
from crossrec_cli.runtime.interrupts import defer_interrupts
from crossrec_cli.runtime.launch import launch

app = typer.Typer()


UserIds = Annotated[
    list[str] | None,
    typer.Option("--user", metavar="ID", help="Print this user's list; write nothing. Repeatable."),
]
UsersFile = Annotated[
    Path | None,
    typer.Option(
        "--users", metavar="FILE", help="The same for each user_id of a Parquet or CSV file; -: ids on stdin."
    ),
]
ListFormat = Annotated[
    Format, typer.Option("--format", help="Format of printed lists; csv without users prints all lists.")
]
History = Annotated[
    list[str] | None,
    typer.Option(
        "--history",
        metavar="ITEM",
        help="Print the list of somebody without an id who bought this, or of the one --user since. Repeatable.",
    ),
]
WhyNot = Annotated[
    str | None,
    typer.Option("--why-not", metavar="ITEM", help="Show why this item is not in the list of the one --user."),
]
Events = Annotated[
    Path | None,
    typer.Option(
        "--events",
        metavar="FILE",
        help="Newer interactions: user_id, item_id, and optionally timestamp, event, quantity or rating.",
    ),
]


def _stage_command(name: str, help_text: str, needs: tuple[str, ...] = ()) -> None:
    """Add a command that brings one stage up to date, after the stages in ``needs``."""

    @app.command(name, help=help_text, epilog=EXIT_CODES)
    def command(
        config: ConfigPath,
        overrides: Overrides = None,
        force: Force = False,
        lock_timeout: LockTimeout = 0.0,
        quiet: Quiet = False,
        as_json: AsJson = False,
    ) -> None:
        execute((name,), config, overrides or (), force, Console(quiet, as_json), lock_timeout, needs=needs)


Step = StrEnum("Step", {name: name for name in PIPELINE})  # type: ignore[misc]  # the names are in one table


@app.command(epilog=EXIT_CODES)
def run(
    config: ConfigPath,
    first: Annotated[
        Step | None,
        typer.Option("--from", metavar="STAGE", help="The first stage; the files that it reads must exist."),
    ] = None,
    last: Annotated[Step | None, typer.Option("--to", metavar="STAGE", help="The last stage.")] = None,
    nproc: Annotated[
        int | None,
        typer.Option(
            "--nproc", metavar="N", min=1, help="Number of processes that share the work; default: one per listed GPU."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run, and why; run nothing.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Skip the scorer neural, which is trained by gradients.")
    ] = False,
    nightly: Annotated[
        bool,
        typer.Option(
            "--nightly",
            help="Go on from the model before, with all its choices, instead of training anew; lists of a model that "
            "ranks significantly worse are not written, and the exit code is 7.",
        ),
    ] = False,
    overrides: Overrides = None,
    force: Force = False,
    lock_timeout: LockTimeout = 0.0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run all five stages; those that are up to date are skipped."""
    console = Console(quiet, as_json)
    with ending(console):
        overrides = [*(_going_on(config, overrides, console) if nightly else ()), *(overrides or ())]
        overrides += _without_neural(config, overrides) if quick else ()
        begin = PIPELINE.index(first) if first else 0
        end = PIPELINE.index(last) if last else len(PIPELINE) - 1
        if begin > end:
            raise ConfigError([f"--from {first} comes after --to {last}"])
        stages = PIPELINE[begin : end + 1]
        if distributed.processes() == 1 and not dry_run:
            devices = loaded(config, overrides).runtime.device
            if (processes := nproc or len(devices)) > 1:
                code, problem = launch(processes)
                if problem:
                    console.error([problem])
                raise SystemExit(code)
        if dry_run:
            from crossrec_cli.console import show_stages  # noqa: PLC0415  pyarrow takes a moment to import
            from crossrec_cli.pipeline.plan import plan  # noqa: PLC0415

            settings = loaded(config, overrides)
            console.document(
                {"run_dir": settings.run_dir} | show_stages.planned(console, plan(settings, stages, force))
            )
            return
        execute(stages, config, overrides, force, console, lock_timeout, guarded=nightly)


def _going_on(config: Path, overrides: Sequence[str] | None, console: Console) -> tuple[str, ...]:
    """The overrides of a nightly run; none the first time, when there is no model to go on from."""
    from crossrec_cli.artifacts.store import Store  # noqa: PLC0415  pyarrow takes a moment to import

    settings = loaded(config, overrides)
    if Store(settings.run_path).current(FINETUNE):
        return nightly_overrides(settings.finetune.lr)
    console.say("there is no model to go on from: everything is trained")
    return ()


def _without_neural(config: Path, overrides: Sequence[str] | None) -> list[str]:
    """The override that removes the scorer neural."""
    scorers = [name for name in loaded(config, overrides).interest.scorers if name != "neural"]
    return [f"interest.scorers=[{', '.join(scorers)}]"]


_stage_command(PREPROCESS, "Read, clean and split the raw files.")
_stage_command(
    PRETRAIN_ADAPT, "Embed the item texts with the language model, and train neural on source and target together."
)
_stage_command(FINETUNE, "Go on training neural, build the other scorers, and fit the weights of all on validation.")
_stage_command(TRANSFER, "Train without the source, without the texts and without neural, and measure what each adds.")
_stage_command(
    TUNE,
    "Try other values of the fields in tune.search, and write the best config by validation.",
    needs=(PREPROCESS, PRETRAIN_ADAPT),
)


@app.command(epilog=EXIT_CODES)
def recommend(
    config: Annotated[Path | None, typer.Argument(metavar="CONFIG", help="The YAML config file.")] = None,
    exported: Exported = None,
    overrides: Overrides = None,
    user: UserIds = None,
    users: UsersFile = None,
    history: History = None,
    why_not: WhyNot = None,
    events: Events = None,
    list_format: ListFormat = Format.TABLE,
    force: Force = False,
    lock_timeout: LockTimeout = 0.0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write a ranked list of target items for every user, or print the lists of some users."""
    events_override = [] if events is None else [f"recommend.events={json.dumps(str(events))}"]
    overrides = [*(overrides or ()), *events_override]
    console = Console(quiet or list_format == Format.CSV, as_json or list_format == Format.JSON)
    with ending(console):
        with defer_interrupts():
            from crossrec_cli.ranking.list_request import ListRequest  # noqa: PLC0415  pyarrow takes a moment to import

        if request := ListRequest(user or (), users, history or (), why_not):
            settings, export = config_and_export(config, exported, overrides)
            document = show_requested_lists(console, settings, export, request, list_format)
            console.document({"run_dir": settings.run_dir} | document)
        else:
            execute(
                (RECOMMEND,),
                config,
                overrides,
                force,
                console,
                lock_timeout,
                list_format=list_format,
                exported=exported,
            )


@app.command(epilog=EXIT_CODES)
def evaluate(
    config: ConfigPath,
    overrides: Overrides = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the page as Markdown, without charts.")] = False,
    png: Annotated[bool, typer.Option("--png", help="Also write the page's charts as PNG files.")] = False,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            metavar="RUN_DIR",
            help="An earlier run; exit with 7 if this one ranks worse by more than evaluate.tolerance.",
        ),
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    force: Force = False,
    lock_timeout: LockTimeout = 0.0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure how well the test purchases are ranked, compared with baselines, and write report.html."""
    console = Console(quiet or markdown, as_json)
    page = PageOptions(markdown, png, open_page, against)
    execute((EVALUATE,), config, overrides or (), force, console, lock_timeout, page=page)


@app.command(epilog=EXIT_CODES)
def search(
    config: ConfigPath,
    query: Annotated[
        str | None, typer.Argument(metavar="[QUERY]", help="What to search for.", show_default=False)
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", metavar="ID", help="The user who searches; default: an unknown user.")
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            "--queries", metavar="FILE", help="Many queries: a Parquet or CSV file with query and optionally user_id."
        ),
    ] = None,
    overrides: Overrides = None,
    force: Force = False,
    lock_timeout: LockTimeout = 0.0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Rank items by a query and by the user's interest."""
    execute(
        (SEARCH,), config, overrides or (), force, Console(quiet, as_json), lock_timeout, search=(query, user, queries)
    )
