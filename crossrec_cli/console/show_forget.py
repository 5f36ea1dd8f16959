"""What was forgotten of people, and what is left, on the terminal."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from crossrec_cli.config.schema import Config
from crossrec_cli.console.terminal import Console
from crossrec_cli.privacy.forgetting import Traces


def forgotten(console: Console, config: Config, traces: Traces, dry_run: bool) -> dict[str, Any]:
    """Print the files, what the models still have learned, and which raw files still have rows.

    Returns:
        The same for ``--json``.
    """
    database = config.recommend.to
    files = [(str(rows.file), f"{rows.rows:,}") for rows in traces.files]
    files += [(f"table {database.table}", f"{traces.in_database:,}")] if database and traces.in_database else []
    console.table("Would be removed" if dry_run else "Removed", ["file", "rows"], files)
    _left(console, traces)
    return {
        "dry_run": dry_run,
        "users": list(traces.people.ids),
        "removed": {str(rows.file): rows.rows for rows in traces.files},
        "rows_in_database": traces.in_database,
        "models": traces.learned._asdict(),
        "raw_files": {file: len(rows) for file, rows in traces.raw.rows.items()},
        "unread": list(traces.raw.unread),
    }


def _left(console: Console, traces: Traces) -> None:
    learned, raw = traces.learned, traces.raw
    if learned.started:
        console.result(
            Text(
                f"What {' and '.join(learned.started)} learned from {learned.interactions:,} of {learned.of:,} "
                "interactions stays in the models, mixed with everybody's: vectors of items, counts of what sells, "
                "weights of the scorers; and in the figures of evaluate. It ends when they are trained anew: "
                "'crossrec run CONFIG --from pretrain-adapt --force', or the next run on other data."
            ),
            always=False,
        )
    rows = [(file, f"{len(rows):,}") for file, rows in raw.rows.items()]
    if rows:
        console.table("Still in files that crossrec does not change", ["file", "rows"], rows)
        console.result(
            Text("Remove them there: the next preprocess reads these files, and the people are back."), always=False
        )
    for problem in raw.unread:
        console.warn(f"{problem}; whether the people are in it is not known")
