"""The ``crossrec`` command. The only place that prints or exits."""

from __future__ import annotations

import json
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.exceptions import TyperException

from crossrec_cli import __version__, show, show_search
from crossrec_cli.artifacts.store import Store
from crossrec_cli.config.load import load_config
from crossrec_cli.config.schema import Config
from crossrec_cli.console import Console
from crossrec_cli.errors import ConfigError, CrossrecError, ExitCode, InputError, RegressionError, UnavailableError
from crossrec_cli.pipeline import PIPELINE, Outcome, run_stages
from crossrec_cli.stages import EVALUATE, FINETUNE, PREPROCESS, PRETRAIN_ADAPT, RECOMMEND, SEARCH, TRANSFER

EXIT_CODES = "Exit codes: " + "; ".join(f"{code.value} {code.meaning}" for code in ExitCode) + "."

INTERRUPTED = threading.Event()
"""Set by Ctrl-C and by SIGTERM."""

app = typer.Typer(
    name="crossrec",
    help="Recommend from one category to the buyers of another.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="The YAML config file.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a config field: a.b=c or list[0].a=b. Repeatable."),
]
Force = Annotated[bool, typer.Option("--force", help="Run even if nothing has changed.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print warnings and errors alone.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, all else on stderr.")]
UserIds = Annotated[list[str] | None, typer.Option("--user", metavar="ID", help="Print this user's list. Repeatable.")]
WhyNot = Annotated[
    str | None, typer.Option("--why-not", metavar="ITEM", help="Say what keeps this item out of the one --user's list.")
]
Events = Annotated[
    Path | None,
    typer.Option("--events", metavar="FILE", help="Interactions since then: user_id and item_id, Parquet or CSV."),
]


def _stage_command(name: str, stages: tuple[str, ...], help_text: str) -> None:
    @app.command(name, help=help_text, epilog=EXIT_CODES)
    def command(
        config: ConfigPath,
        overrides: Overrides = None,
        force: Force = False,
        quiet: Quiet = False,
        as_json: AsJson = False,
    ) -> None:
        _execute(stages, config, overrides or (), force, Console(quiet, as_json))


_stage_command("run", PIPELINE, "Run all five stages; those that are up to date are skipped.")
_stage_command(PREPROCESS, (PREPROCESS,), "Read, clean and split the raw files.")
_stage_command(
    PRETRAIN_ADAPT,
    (PRETRAIN_ADAPT,),
    "Read the item texts with the language model and learn from the source domain's buyers.",
)
_stage_command(FINETUNE, (FINETUNE,), "Go on with the buyers of the target domain, up to the best epoch on validation.")
_stage_command(TRANSFER, (TRANSFER,), "Train with and without the source and the texts, and tell what each is worth.")


@app.command(epilog=EXIT_CODES)
def recommend(
    config: ConfigPath,
    overrides: Overrides = None,
    user: UserIds = None,
    why_not: WhyNot = None,
    events: Events = None,
    force: Force = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write a ranked list of target items for every user."""
    newer = [] if events is None else [f"recommend.events={json.dumps(str(events))}"]
    _execute((RECOMMEND,), config, [*(overrides or ()), *newer], force, Console(quiet, as_json), user, why_not=why_not)


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
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure how well the test purchases are found, beside other ways, and write report.html."""
    console = Console(quiet or markdown, as_json)
    _execute((EVALUATE,), config, overrides or (), force, console, page=show.Page(markdown, png, open_page, against))


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
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Find items by what a query says and what the user wants."""
    _execute((SEARCH,), config, overrides or (), force, Console(quiet, as_json), asked=(query, user, queries))


data_app = typer.Typer(help="Look at the raw data.", no_args_is_help=True, epilog=EXIT_CODES)
app.add_typer(data_app, name="data")


@data_app.command("check", epilog=EXIT_CODES)
def data_check(config: ConfigPath, overrides: Overrides = None, quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Say what each column maps to, what would be left out, and whether transfer has a chance. Writes nothing."""
    console = Console(quiet, as_json)
    try:
        from crossrec_cli.data.check import check  # noqa: PLC0415  DuckDB takes a moment to import

        found = check(load_config(config, overrides or ()))
        console.document(show.check(console, found))
        if found.problem:
            raise InputError(found.problem)
    except (Exception, KeyboardInterrupt) as error:
        _fail(console, *_explain(error, console))


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        print(f"crossrec {__version__}")  # noqa: T201
        raise typer.Exit


def _execute(
    stages: tuple[str, ...],
    config_path: Path,
    overrides: Sequence[str],
    force: bool,
    console: Console,
    users: Sequence[str] | None = None,
    page: show.Page | None = None,
    why_not: str | None = None,
    asked: tuple[str | None, str | None, Path | None] | None = None,
) -> None:
    """Load the config, run the stages under the lock, show what came of them."""
    try:
        if why_not is not None and len(users or ()) != 1:
            raise ConfigError(["--why-not needs one --user"])
        looked_for = show_search.Asked(*asked) if asked else None
        config = load_config(config_path, overrides)
        _see_that_it_can_be_tracked(config)
        with Store(config.run_path).lock():
            console.open_log(config.run_path)
            earlier = show.evaluated(page.against) if page and page.against else None
            outcomes = []
            for outcome in run_stages(config, stages, console, force):
                show.outcome(console, outcome)
                outcomes.append(outcome)
            document = _document(config, outcomes)
            if why_not is not None and users:
                document["why_not"] = show.why_not(console, config, outcomes, users[0], why_not)
            elif RECOMMEND in stages:
                document["lists"] = show.lists(console, outcomes, users)
            if looked_for:
                document["found"] = show_search.found(console, config, outcomes[-1].artifact, looked_for)
            if {EVALUATE, TRANSFER} & set(stages):
                document |= show.page(console, config, page or show.Page())
            if page and page.against and earlier:
                document["against"] = show.against(
                    console, outcomes[-1].artifact, earlier, page.against, config.evaluate.tolerance
                )
            console.document(document)
    except (Exception, KeyboardInterrupt) as error:
        _fail(console, *_explain(error, console), error.comparison if isinstance(error, RegressionError) else None)


def _see_that_it_can_be_tracked(config: Config) -> None:
    """Before a night of training, and not after it."""
    wanted = {"mlflow": config.tracking.mlflow, "tensorboard": config.tracking.tensorboard}
    for package in (package for package, where in wanted.items() if where and not find_spec(package)):
        raise UnavailableError(f"tracking.{package} needs the package {package}; pip install 'crossrec[{package}]'")


def _explain(error: BaseException, console: Console) -> tuple[list[str], ExitCode]:
    """What to tell of whatever ended the command, and its exit code."""
    if INTERRUPTED.is_set():  # a library may have turned the interrupt into an error of its own
        return ["interrupted; the artifacts of finished stages are whole"], ExitCode.INTERRUPTED
    if isinstance(error, ConfigError):
        return error.problems, error.exit_code
    if isinstance(error, CrossrecError):
        return [str(error)], error.exit_code
    if isinstance(error, OSError):
        return [f"{error.filename or 'run directory'}: {error.strerror or error}"], ExitCode.ARTIFACT
    console.logger.error(traceback.format_exc())
    return [f"unexpected {type(error).__name__}: {error}; details: {console.log_file}"], ExitCode.INTERNAL


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


def _fail(console: Console, problems: list[str], code: ExitCode, comparison: dict[str, Any] | None = None) -> NoReturn:
    console.error(problems)
    against = {"against": comparison} if comparison else {}
    console.document({"error": problems, "exit_code": code.value} | against)
    raise SystemExit(code.value)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    INTERRUPTED.set()
    raise KeyboardInterrupt


def main() -> None:
    """Run the command that the shell gave."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without Unicode is no reason to fail
    try:
        sys.exit(app(prog_name="crossrec", standalone_mode=False))
    except KeyboardInterrupt as error:  # between two steps of the command, or while it ends
        console = Console(as_json="--json" in sys.argv)
        _fail(console, *_explain(error, console))
    except TyperException as error:
        wrong = error.format_message() if isinstance(error, typer.BadParameter.__bases__) else str(error)
        _fail(Console(as_json="--json" in sys.argv), [wrong] if wrong else [], ExitCode.CONFIG)
