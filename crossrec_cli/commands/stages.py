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
    ending,
    given,
    loaded,
)
from crossrec_cli.console.terminal import Console, Format
from crossrec_cli.errors import ConfigError
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
    typer.Option("--users", metavar="FILE", help="The same for the user_id of a Parquet or CSV file; -: ids on stdin."),
]
Form = Annotated[Format, typer.Option("--format", help="How to print lists; csv without users prints all.")]
WhyNot = Annotated[
    str | None, typer.Option("--why-not", metavar="ITEM", help="Say what keeps this item out of the one --user's list.")
]
Events = Annotated[
    Path | None,
    typer.Option("--events", metavar="FILE", help="Interactions since then: user_id, item_id, perhaps event and more."),
]


def _stage_command(name: str, help_text: str, needs: tuple[str, ...] = ()) -> None:
    """A command that brings one stage up to date, after those that it needs."""

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


Step = StrEnum("Step", {name: name for name in PIPELINE})  # type: ignore[misc]  # one table says what there is


@app.command(epilog=EXIT_CODES)
def run(
    config: ConfigPath,
    first: Annotated[
        Step | None, typer.Option("--from", metavar="STAGE", help="Begin here; what it reads must be there.")
    ] = None,
    last: Annotated[Step | None, typer.Option("--to", metavar="STAGE", help="End here.")] = None,
    nproc: Annotated[
        int | None,
        typer.Option("--nproc", metavar="N", min=1, help="So many processes share the work; else one a listed GPU."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and why.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the scorer that is trained by gradients.")] = False,
    overrides: Overrides = None,
    force: Force = False,
    lock_timeout: LockTimeout = 0.0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run all five stages; those that are up to date are skipped."""
    console = Console(quiet, as_json)
    with ending(console):
        overrides = [*(overrides or ()), *(_without_training(config, overrides) if quick else ())]
        begin, end = (PIPELINE.index(step) if step else at for step, at in ((first, 0), (last, len(PIPELINE) - 1)))
        if begin > end:
            raise ConfigError([f"--from {first} comes after --to {last}"])
        stages = PIPELINE[begin : end + 1]
        if distributed.processes() == 1 and not dry_run:
            devices = loaded(config, overrides).runtime.device
            if (wanted := nproc or len(devices)) > 1:
                code, told = launch(wanted)
                if told:
                    console.error([told])
                raise SystemExit(code)
        if dry_run:
            from crossrec_cli.console import show_stages  # noqa: PLC0415  pyarrow takes a moment to import
            from crossrec_cli.pipeline.plan import plan  # noqa: PLC0415

            settings = loaded(config, overrides)
            console.document(
                {"run_dir": settings.run_dir} | show_stages.planned(console, plan(settings, stages, force))
            )
            return
        execute(stages, config, overrides, force, console, lock_timeout)


def _without_training(config: Path, overrides: Sequence[str] | None) -> list[str]:
    """The override that leaves the scorer out which is trained by gradients."""
    scorers = [name for name in loaded(config, overrides).interest.scorers if name != "neural"]
    return [f"interest.scorers=[{', '.join(scorers)}]"]


_stage_command(PREPROCESS, "Read, clean and split the raw files.")
_stage_command(
    PRETRAIN_ADAPT, "Read the item texts with the language model, and learn from buyers of source and target."
)
_stage_command(FINETUNE, "Go on with the buyers of both domains, and weigh all scorers on validation.")
_stage_command(TRANSFER, "Learn without the source, without the texts, without training, and tell what each is worth.")
_stage_command(
    TUNE,
    "Try other values of what tune.search names, and write the best config by validation.",
    needs=(PREPROCESS, PRETRAIN_ADAPT),
)


@app.command(epilog=EXIT_CODES)
def recommend(
    config: Annotated[Path | None, typer.Argument(metavar="CONFIG", help="The YAML config file.")] = None,
    exported: Exported = None,
    overrides: Overrides = None,
    user: UserIds = None,
    users: UsersFile = None,
    why_not: WhyNot = None,
    events: Events = None,
    form: Form = Format.TABLE,
    force: Force = False,
    lock_timeout: LockTimeout = 0.0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write a ranked list of target items for every user, or print those of some."""
    newer = [] if events is None else [f"recommend.events={json.dumps(str(events))}"]
    overrides = [*(overrides or ()), *newer]
    console = Console(quiet or form == Format.CSV, as_json or form == Format.JSON)
    with ending(console):
        with defer_interrupts():
            from crossrec_cli.ranking.list_request import ListRequest  # noqa: PLC0415  pyarrow takes a moment to import

        if request := ListRequest(user or (), users, why_not):
            settings, made = given(config, exported, overrides)
            found = show_requested_lists(console, settings, made, request, form)
            console.document({"run_dir": settings.run_dir} | found)
        else:
            execute((RECOMMEND,), config, overrides, force, console, lock_timeout, form=form, exported=exported)


@app.command(epilog=EXIT_CODES)
def evaluate(
    config: ConfigPath,
    overrides: Overrides = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the page as Markdown, without charts.")] = False,
    png: Annotated[bool, typer.Option("--png", help="Also write the page's charts as pictures for slides.")] = False,
    against: Annotated[
        Path | None, typer.Option("--against", metavar="RUN_DIR", help="Exit with 7 if it ranks worse than this run.")
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    force: Force = False,
    lock_timeout: LockTimeout = 0.0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure how well the test purchases are found, beside other ways, and write report.html."""
    console = Console(quiet or markdown, as_json)
    page = PageOptions(markdown, png, open_page, against)
    execute((EVALUATE,), config, overrides or (), force, console, lock_timeout, page=page)


@app.command(epilog=EXIT_CODES)
def search(
    config: ConfigPath,
    query: Annotated[
        str | None, typer.Argument(metavar="[QUERY]", help="What is looked for.", show_default=False)
    ] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="ID", help="Who asks; else somebody unknown.")] = None,
    queries: Annotated[
        Path | None,
        typer.Option("--queries", metavar="FILE", help="Many at once: query and perhaps user_id, Parquet or CSV."),
    ] = None,
    overrides: Overrides = None,
    force: Force = False,
    lock_timeout: LockTimeout = 0.0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Find items by what a query says and what the user wants."""
    asked = (query, user, queries)
    execute((SEARCH,), config, overrides or (), force, Console(quiet, as_json), lock_timeout, asked=asked)
