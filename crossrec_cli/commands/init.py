"""``crossrec init``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from crossrec_cli.commands.shared import EXIT_CODES, AsJson, Quiet, ending, loaded
from crossrec_cli.console import Console
from crossrec_cli.errors import InputError
from crossrec_cli.interrupts import whole

app = typer.Typer()
NAME = "crossrec.yaml"


@app.command(epilog=EXIT_CODES)
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files of the shop lie.", show_default=False)],
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write DIR/crossrec.yaml, a commented config, from the columns of the files in DIR."""
    console = Console(quiet, as_json)
    with ending(console):
        with whole():
            from crossrec_cli.config.schema import Runtime  # noqa: PLC0415
            from crossrec_cli.data import engine, guess  # noqa: PLC0415
            from crossrec_cli.data.first_config import first_config  # noqa: PLC0415  DuckDB takes a moment to import

        path = folder / NAME
        if path.exists():
            raise InputError(f"{path}: is there already; move it away first")
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder")
        with tempfile.TemporaryDirectory() as scratch:
            with engine.connect("duckdb", Path(scratch) / "tables", Runtime()) as tables:
                found = guess.guess(tables, folder)
            draft = Path(scratch) / NAME
            draft.write_text(first_config(found, folder, guess.SAMPLE), encoding="utf-8")
            loaded(draft)
            with path.open("x", encoding="utf-8") as file:
                file.write(draft.read_text(encoding="utf-8"))
        for reason in found.passed_over:
            console.warn(f"passed over {reason}")
        if "timestamp" not in found.interactions.means:
            console.warn(f"no column of {found.interactions.path} looks like a time: fill it in, or name an 'order'")
        console.result(Text(f"wrote {path}; see that it is right, then: crossrec data check {path}"), wanted=False)
        console.document(
            {
                "config": str(path),
                "interactions": found.interactions.path,
                "items": found.items.path,
                "users": found.users.path if found.users else None,
                "target": found.target,
                "passed_over": found.passed_over,
            }
        )
