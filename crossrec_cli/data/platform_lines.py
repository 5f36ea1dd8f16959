"""The platform's section of a first config, line by line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import yaml

from crossrec_cli.data.guess import Guess
from crossrec_cli.data.parts import Part
from crossrec_cli.data.vocabulary import event_weights

INDENT = 8
SHOWN = 12
"""How many categories and event words are written down at most."""


def platform_lines(guess: Guess, missing: Mapping[str, str]) -> Iterator[str]:
    """Lines of the one platform."""
    yield "      interactions:"
    yield from _file("interactions", guess.interactions, missing)
    if "order" in guess.interactions.means:
        yield _line(f"# '{as_comment(guess.interactions.means['order'])}' has no times: it is only an order")
    if "interactions.timestamp_format" in missing:
        yield _line(f"# TODO: {as_comment(missing['interactions.timestamp_format'])}")
        yield from (
            _line(f"# timestamp_format: {as_yaml(form)}  # {as_comment(reading)}")
            for form, reading in guess.time_formats.items()
        )
    elif guess.time_formats:
        yield _line(f"timestamp_format: {as_yaml(next(iter(guess.time_formats)))}")
    if guess.events:
        yield _line("# A weight is how much an event counts, relative to the others. Other events are removed.")
        yield _line(f"events: {as_yaml(event_weights([*guess.events][:SHOWN]))}")
    yield "      items:"
    yield from _file("items", guess.items, missing)
    if guess.categories_file:
        yield _line("# Proposed from the texts: the file has a line for each item, to be edited.")
        yield _line(f"categories: {as_yaml(guess.categories_file)}")
    yield _line("# The text for the language model. An empty column is removed with the punctuation after it.")
    if "items.text" in missing:
        yield _line(f"# TODO: {as_comment(missing['items.text'])}")
    text = ". ".join(f"{{{name}}}" for name in guess.items.rest)
    yield _line(f"text: {as_yaml(text) if text else ''}".rstrip())
    if guess.users:
        yield "      users:"
        yield from _file("users", guess.users, missing)
        yield _line("# Each value is learned as a tag, so that users without purchases get lists of their own too.")
        yield _line(f"tags: {as_yaml(guess.users.rest)}")


def _file(kind: str, part: Part, missing: Mapping[str, str]) -> Iterator[str]:
    """A file's path, format and columns; what the user must fill in has no value."""
    table = part.table
    if table is None:
        yield _line(f"# TODO: {as_comment(missing[f'{kind}.path'])}")
    yield _line(f"path: {as_yaml(table.path)}" if table else "path:")
    if table and table.source.csv:
        layout = {"delimiter": table.source.csv.delimiter} | table.source.csv.model_dump(
            mode="json", exclude_defaults=True
        )
        yield _line(f"csv: {as_yaml(layout)}")
    if table:
        yield _line(f"# It also has: {as_comment(', '.join(part.unused) or 'nothing else')}")
    yield _line("columns:")
    for ours in dict.fromkeys([*part.missing, *part.means]):
        if ours in part.missing:
            yield _line(f"  # TODO: {as_comment(missing[f'{kind}.columns.{ours}'])}")
        yield _line(f"  {ours}: {as_yaml(part.means[ours])}" if ours in part.means else f"  {ours}:")


def _line(text: str) -> str:
    return " " * INDENT + text


def as_yaml(value: object) -> str:
    """YAML on one line, quoted if needed."""
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10**6)
    return text.removesuffix("\n...\n").rstrip("\n")


def as_comment(text: str) -> str:
    """Without characters that would end a comment."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
