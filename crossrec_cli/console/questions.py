"""Questions to the person at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from rich.text import Text

from crossrec_cli.console.terminal import Console, visible


def can_ask(console: Console) -> bool:
    """Whether somebody is there to answer: stdin and stderr are a terminal, and the output is for a person."""
    return sys.stdin.isatty() and console.err.is_terminal and not console.quiet and not console.as_json


def choose(console: Console, question: str, choices: Mapping[str, str]) -> str | None:
    """One of some choices, by its number or as it is; None: left open, with Enter or the end of the input.

    Args:
        console: of a terminal.
        question: ends with a question mark.
        choices: each with a note.
    """
    console.err.print(Text(visible(question)))
    for number, (choice, note) in enumerate(choices.items(), 1):
        console.err.print(Text(f"  {number:>2}  {visible(choice)}{f'  ({visible(note)})' if note else ''}"))
    by_answer = {str(number): choice for number, choice in enumerate(choices, 1)} | {name: name for name in choices}
    while True:
        try:
            answer = console.err.input("number or name, Enter to leave it open: ").strip()
        except EOFError:
            return None
        if not answer or answer in by_answer:
            return by_answer.get(answer)
        console.err.print(Text(f"there is no {visible(answer)}"))
