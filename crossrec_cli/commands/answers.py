"""Commands that ask the trained model: similar items, and audiences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossrec_cli.artifacts.files import AUDIENCE, RECOMMEND, SEARCH, SIMILAR
from crossrec_cli.commands.shared import EXIT_CODES, AsJson, ConfigPath, Overrides, Quiet, check_out, ending, loaded
from crossrec_cli.console.terminal import Console
from crossrec_cli.errors import ConfigError
from crossrec_cli.runtime.interrupts import defer_interrupts

app = typer.Typer()

Out = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="The Parquet file to write; default: in the run directory.")
]


@app.command(epilog=EXIT_CODES)
def similar(
    config: ConfigPath,
    items: Annotated[
        list[str] | None, typer.Argument(metavar="[ITEM]...", help="Items of the data.", show_default=False)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Write the lists of all items to a file.")] = False,
    k: Annotated[int, typer.Option("--k", min=1, help="How many items a list has.")] = 10,
    out: Out = None,
    overrides: Overrides = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """List the target items that the buyers of an item are likely to buy, and how they are related to it."""
    console = Console(quiet, as_json)
    with ending(console):
        if every == bool(items):
            raise ConfigError(["name items, or give --all"])
        if out and not every:
            raise ConfigError(["--out goes with --all; the lists of named items are printed"])
        check_out(out)
        with defer_interrupts():
            import numpy as np  # noqa: PLC0415  torch takes a moment to import

            from crossrec_cli.artifacts import columns as c  # noqa: PLC0415
            from crossrec_cli.artifacts import parquet, schemas  # noqa: PLC0415
            from crossrec_cli.console import show_answers  # noqa: PLC0415
            from crossrec_cli.data.ids import known_indices  # noqa: PLC0415
            from crossrec_cli.pipeline.current import inputs_of  # noqa: PLC0415
            from crossrec_cli.ranking.recommender import Recommender  # noqa: PLC0415
            from crossrec_cli.ranking.similar_items import SimilarItems  # noqa: PLC0415

        settings = loaded(config, overrides)
        inputs = inputs_of(settings, RECOMMEND, console)
        console.begin("similar")
        recommender = Recommender(settings, inputs, console)
        catalogue, similar_items = recommender.dataset.items, SimilarItems(recommender)
        document: dict[str, object]
        if every:
            path, asked = out or settings.run_path / SIMILAR, np.arange(catalogue.num_rows)
            with console.progress("comparing", len(asked), "items") as advance:
                rows = parquet.write_parts(path, schemas.SIMILAR, similar_items.lists(asked, k, advance))
            document = show_answers.all_similar(console, path, rows)
        else:
            asked = known_indices(dict.fromkeys(items or ()), catalogue[c.ITEM_ID], "item")
            document = show_answers.similar(console, similar_items.lists(asked, k), catalogue)
        console.document({"run_dir": settings.run_dir} | document)


@app.command(epilog=EXIT_CODES)
def audience(
    config: ConfigPath,
    items: Annotated[
        list[str] | None, typer.Argument(metavar="[ITEM]...", help="Items of the data.", show_default=False)
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", help="Instead of items: what a new item of the target would be called.")
    ] = None,
    size: Annotated[int, typer.Option("--size", min=1, help="How many users.")] = 5_000,
    out: Out = None,
    overrides: Overrides = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write the users who are likeliest to buy one of some items, and have not bought all of them."""
    console = Console(quiet, as_json)
    with ending(console):
        if bool(items) == (text is not None):
            raise ConfigError(["name items, or give --text"])
        if text is not None and not text.encode(errors="ignore").strip():
            raise ConfigError(["--text is empty"])
        check_out(out)
        with defer_interrupts():
            from crossrec_cli.artifacts import columns as c  # noqa: PLC0415
            from crossrec_cli.artifacts import parquet, schemas  # noqa: PLC0415  torch takes a moment to import
            from crossrec_cli.console import show_answers  # noqa: PLC0415
            from crossrec_cli.pipeline.current import inputs_of  # noqa: PLC0415
            from crossrec_cli.ranking.audience import AudienceMaker  # noqa: PLC0415
            from crossrec_cli.ranking.recommender import Recommender  # noqa: PLC0415

        settings = loaded(config, overrides)
        recommender = Recommender(settings, inputs_of(settings, RECOMMEND, console), console)
        console.begin("audience")
        maker = AudienceMaker(recommender)
        users = recommender.dataset.users[c.USER_ID]
        with console.progress("scoring", len(users), "users") as advance:
            if text is None:
                chosen = maker.of_items(items or (), size, advance)
            else:
                chosen = maker.of_text(
                    text.encode(errors="ignore").decode(), inputs_of(settings, SEARCH, console), size, advance
                )
        path = out or settings.run_path / AUDIENCE
        with console.progress("writing", len(chosen.users), "users") as advance:
            parquet.write_parts(path, schemas.AUDIENCE, maker.rows(chosen, advance))
        console.document({"run_dir": settings.run_dir} | show_answers.audience(console, path, chosen))
