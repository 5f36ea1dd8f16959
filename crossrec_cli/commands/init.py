"""``crossrec init``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from crossrec_cli.commands.shared import EXIT_CODES, AsJson, Quiet, ending, loaded
from crossrec_cli.console.terminal import Console
from crossrec_cli.errors import ConfigError, InputError
from crossrec_cli.runtime.interrupts import defer_interrupts

if TYPE_CHECKING:
    from crossrec_cli.data.guess import Guess

app = typer.Typer()
NAME = "crossrec.yaml"


def _column(option: str, what: str) -> typer.models.OptionInfo:
    option_info: typer.models.OptionInfo = typer.Option(
        option, metavar="COLUMN", help=f"The column that says {what}, where its name does not say so."
    )
    return option_info


@app.command(epilog=EXIT_CODES)
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files of the shop lie.", show_default=False)],
    user: Annotated[str | None, _column("--user", "who bought")] = None,
    item: Annotated[str | None, _column("--item", "what was bought")] = None,
    time: Annotated[str | None, _column("--time", "when")] = None,
    category: Annotated[str | None, _column("--category", "of which category an item is")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write DIR/crossrec.yaml, a commented config, from the files in DIR; what they do not say is left to do in it."""
    console = Console(quiet, as_json)
    console.begin("init")
    with ending(console):
        with defer_interrupts():
            from crossrec_cli.config.schema import Runtime  # noqa: PLC0415
            from crossrec_cli.data import engine, guess, profile  # noqa: PLC0415
            from crossrec_cli.data.first_config import first_config, todo  # noqa: PLC0415  DuckDB takes a moment

        path = folder / NAME
        if path.exists():
            raise InputError(f"{path}: is there already; move it away first")
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder")
        named = {"user_id": user, "item_id": item, "timestamp": time, "category": category}
        given = {ours: column for ours, column in named.items() if column is not None}
        with (
            tempfile.TemporaryDirectory() as scratch,
            engine.connect("duckdb", Path(scratch) / "tables", Runtime()) as tables,
        ):
            found = guess.guess(tables, folder, given)
        text = first_config(found, folder, profile.SAMPLE)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
        _tell(console, path, found, todo(found))


def _tell(console: Console, path: Path, found: Guess, todo: dict[str, str]) -> None:
    """What was written, and what is left to do."""
    for reason in found.passed_over:
        console.warn(f"passed over {reason}")
    for problem in found.torn:
        console.warn(problem)
    for key, what in todo.items():
        console.warn(f"{path}: TODO {key}: {what}")
    try:
        loaded(path)
        next_step = f"crossrec data check {path}"
    except ConfigError:
        next_step = f"crossrec config validate {path}"
    console.result(Text(f"wrote {path}; see that it is right, then: {next_step}"), wanted=False)
    console.document(
        {
            "config": str(path),
            "interactions": found.interactions.table.path if found.interactions.table else None,
            "items": found.items.table.path if found.items.table else None,
            "users": found.users.table.path if found.users and found.users.table else None,
            "target": found.target,
            "todo": [*todo],
            "passed_over": found.passed_over,
            "torn": found.torn,
        }
    )
