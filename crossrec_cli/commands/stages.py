"""``crossrec run`` and a command for each stage."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from crossrec_cli.errors import ConfigError, UnavailableError
from crossrec_cli.runtime import distributed
from crossrec_cli.runtime.interrupts import whole
from crossrec_cli.runtime.launch import launch

if TYPE_CHECKING:  # pydantic and pyarrow take a moment to import, which help can do without
    from crossrec_cli.config.schema import Config
    from crossrec_cli.console import show
    from crossrec_cli.pipeline.run import Outcome

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
        _execute((name,), config, overrides or (), force, Console(quiet, as_json), lock_timeout, needs=needs)


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
            from crossrec_cli.console import show  # noqa: PLC0415  pyarrow takes a moment to import
            from crossrec_cli.pipeline.plan import plan  # noqa: PLC0415

            settings = loaded(config, overrides)
            console.document({"run_dir": settings.run_dir} | show.planned(console, plan(settings, stages, force)))
            return
        _execute(stages, config, overrides, force, console, lock_timeout)


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
        with whole():
            from crossrec_cli.console import show_lists  # noqa: PLC0415  pyarrow takes a moment to import
            from crossrec_cli.pipeline.current import inputs_of  # noqa: PLC0415

        if asked := show_lists.Asked(user or (), users, why_not):
            settings, made = given(config, exported, overrides)
            inputs = inputs_of(settings, RECOMMEND, console, made)
            found = show_lists.listed(console, settings, inputs, asked, form, sys.stdin)
            console.document({"run_dir": settings.run_dir} | found)
        else:
            _execute((RECOMMEND,), config, overrides, force, console, lock_timeout, form=form, exported=exported)


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
    with whole():
        from crossrec_cli.console import show  # noqa: PLC0415  pyarrow takes a moment to import

    console = Console(quiet or markdown, as_json)
    page = show.Page(markdown, png, open_page, against)
    _execute((EVALUATE,), config, overrides or (), force, console, lock_timeout, page=page)


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
    _execute((SEARCH,), config, overrides or (), force, Console(quiet, as_json), lock_timeout, asked=asked)


def _execute(
    stages: tuple[str, ...],
    config_path: Path | None,
    overrides: Sequence[str],
    force: bool,
    console: Console,
    lock_timeout: float,
    page: show.Page | None = None,
    form: Format = Format.TABLE,
    asked: tuple[str | None, str | None, Path | None] | None = None,
    exported: Path | None = None,
    needs: tuple[str, ...] = (),
) -> None:
    """Load the config, run the stages under the lock, those they need before them, show what came of them."""
    with ending(console):
        with whole():
            from crossrec_cli.artifacts.store import Store  # noqa: PLC0415
            from crossrec_cli.console import show, show_lists, show_search  # noqa: PLC0415  pyarrow takes a moment to import
            from crossrec_cli.pipeline.run import follow, run_stages  # noqa: PLC0415

        looked_for = show_search.Asked(*asked) if asked else None
        config, made = given(config_path, exported, overrides)
        _see_that_it_can_be_tracked(config)
        if TUNE in stages:
            _see_that_it_can_be_tuned(config)
        distributed.join()
        if distributed.follows():
            follow(config)
            return
        with Store(config.run_path).lock(lock_timeout, console):
            console.open_log(config.run_path)
            earlier = show.evaluated(page.against) if page and page.against else None
            outcomes = []
            needed = run_stages(config, needs, console)
            for outcome in chain(needed, run_stages(config, stages, console, force, made)):
                show.outcome(console, outcome)
                outcomes.append(outcome)
            distributed.dismiss()
            document = _document(config, outcomes)
            if RECOMMEND in stages:
                recommended = next(made.artifact for made in outcomes if made.stage == RECOMMEND)
                document["lists"] = show_lists.of_run(console, recommended, form)
            if looked_for:
                document["found"] = show_search.found(console, config, outcomes[-1].artifact, looked_for)
            if {EVALUATE, TRANSFER} & set(stages):
                document |= show.page(console, config, page or show.Page())
            if page and page.against and earlier:
                document["against"] = show.against(
                    console, outcomes[-1].artifact, earlier, page.against, config.evaluate.tolerance
                )
            console.document(document)


def _see_that_it_can_be_tracked(config: Config) -> None:
    """Before a night of training, and not after it."""
    wanted = {"mlflow": config.tracking.mlflow, "tensorboard": config.tracking.tensorboard}
    for package in (package for package, where in wanted.items() if where and not find_spec(package)):
        raise UnavailableError(f"tracking.{package} needs the package {package}; pip install 'crossrec[{package}]'")


def _see_that_it_can_be_tuned(config: Config) -> None:
    """Before the stages that tune needs."""
    if not config.tune.search:
        raise ConfigError(["tune.search: names no field; for example finetune.lr: {low: 1e-4, high: 1e-2, log: true}"])
    if not find_spec("optuna"):
        raise UnavailableError("tune needs the package optuna; pip install 'crossrec[tune]'")


def _document(config: Config, outcomes: list[Outcome]) -> dict[str, Any]:
    stages = [
        {
            "stage": outcome.stage,
            "ran": outcome.ran,
            "reason": outcome.reason,
            "path": str(outcome.artifact.path),
            "wall_seconds": outcome.artifact.manifest.wall_seconds,
            "summary": outcome.artifact.manifest.summary,
        }
        for outcome in outcomes
    ]
    return {"run_dir": config.run_dir, "stages": stages}
