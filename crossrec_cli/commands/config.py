"""``crossrec config …``."""

from __future__ import annotations

import json

import typer
from rich.text import Text

from crossrec_cli.commands.shared import EXIT_CODES, AsJson, ConfigPath, Overrides, ending, loaded
from crossrec_cli.console.terminal import Console

app = typer.Typer(help="Show and check configs.", no_args_is_help=True, epilog=EXIT_CODES)


@app.command(epilog=EXIT_CODES)
def show(config: ConfigPath, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Print the complete config with every default; passwords in addresses are masked."""
    console = Console(as_json=as_json)
    with ending(console):
        from crossrec_cli.config.document import annotated, masked, set_fields  # noqa: PLC0415  pydantic takes a moment
        from crossrec_cli.config.load import dotted_path  # noqa: PLC0415

        settings = masked(loaded(config, overrides))
        if not as_json:
            console.text(annotated(settings))
        defaults = {dotted_path(path): default for path, default in set_fields(settings).items()}
        console.document({"config": settings.model_dump(mode="json"), "changed_from": defaults})


@app.command(epilog=EXIT_CODES)
def validate(config: ConfigPath, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Check a config and run nothing: every problem with its line, column and the nearest known key."""
    console = Console(as_json=as_json)
    with ending(console):
        loaded(config, overrides)
        console.result(Text(f"{config}: valid"), always=True)
        console.document({"config": str(config), "valid": True})


@app.command(epilog=EXIT_CODES)
def schema() -> None:
    """Print the JSON Schema of configs, with which editors check and complete them."""
    console = Console()
    with ending(console):
        from crossrec_cli.config.document import json_schema  # noqa: PLC0415  pydantic takes a moment to import

        console.text(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
