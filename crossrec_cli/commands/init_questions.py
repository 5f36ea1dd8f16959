"""What ``crossrec init`` asks on a terminal: which column is what, where neither its name nor its content shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from crossrec_cli.console.questions import choose
from crossrec_cli.console.terminal import Console

if TYPE_CHECKING:
    from crossrec_cli.data.engine import Engine
    from crossrec_cli.data.guess import Guess


def asked(tables: Engine, folder: Path, columns: Mapping[str, str], result: Guess, console: Console) -> Guess:
    """The guess with the answers, each question asked once; what is left open stays TODO.

    Args:
        tables: reads the files.
        folder: of the files.
        columns: those named on the command line, by ours.
        result: what could be guessed with these.
        console: of a terminal.
    """
    from crossrec_cli.data.guess import guess  # noqa: PLC0415  DuckDB takes a moment
    from crossrec_cli.data.missing_fields import TEXT, TIME_FORMAT, choices  # noqa: PLC0415

    given, seen = {name: [column] for name, column in columns.items()}, set[str]()
    while question := next((one for one in choices(result) if one.field not in seen), None):
        seen.add(question.field)
        answer = choose(console, question.question, question.values)
        if answer is None:
            continue
        if question.field == TIME_FORMAT:
            result = replace(result, time_formats={answer: result.time_formats[answer]})
        elif question.field == TEXT:
            result = replace(result, items=replace(result.items, rest=[answer]))
        else:
            given.setdefault(question.field.rpartition(".")[2], []).append(answer)
            result = guess(tables, folder, given)
    return result
