"""A first config for files of which nothing is known but what is in them."""

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
# Written by 'crossrec init' from the files in {folder}: see that each line is right{todo}.
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
encoder: {{model: all-MiniLM-L6-v2}}        # a packaged model, a folder, or a hub id with a revision
recommend: {{k: 10, reasons: 3}}
runtime: {{device: auto, precision: auto}}
"""
CATEGORIES = """\
  source: {{category: "*"}}                 # all that is not target
  # What to recommend is for you to say; this is a guess. Interactions by category{sampled}:
{categories}
  target: {{category: {target}}}"""
WHOLE = """\
  # {why}: the whole catalogue is recommended.
  # 'crossrec init --category COLUMN' names the column of the categories.
  target: {{category: "*"}}"""
CLEAN = """\
  clean: {{max_rejected: {share}}}            # {guests:.0%} of the rows have no user, as orders without an account do
"""
WANTED = {
    "user_id": ("who bought", "--user"),
    "item_id": ("what was bought", "--item"),
    "timestamp": ("when", "--time"),
}
NO_FILE = "where {kind} are; no file here looks like it"
INDENT = 8
SHOWN = 12
"""Categories and words of events that are named."""


def first_config(found: Guess, folder: Path, sample: int) -> str:
    """YAML with comments, which ``load_config`` reads once what ``todo`` names is filled in.

    Args:
        found: what the files seem to be.
        folder: where they are.
        sample: so many interactions were read at most.
    """
    wanted = todo(found)
    share = min(1.0, ceil((found.guests + Clean().max_rejected) * 20) / 20)
    is_above = found.guests > Clean().max_rejected
    return CONFIG.format(
        folder=_comment(str(folder)),
        todo=", and fill in what is TODO" if wanted else "",
        run_dir=_value(f"runs/{folder.resolve().name or 'shop'}"),
        platform="\n".join(_platform(found, wanted)),
        clean=CLEAN.format(share=share, guests=found.guests) if is_above else "",
        domains=_domains(found, sample),
    )


def todo(found: Guess) -> dict[str, str]:
    """What is left to be filled in: keys within the platform, and what each is, with the columns there are."""
    wanted = {}
    for kind, part in (("interactions", found.interactions), ("items", found.items)):
        if part.table is None:
            wanted[f"{kind}.path"] = NO_FILE.format(kind=kind)
        for ours in part.missing:
            what, option = WANTED[ours]
            wanted[f"{kind}.columns.{ours}"] = f"the column that says {what}; {option} names it too{_there(part, ours)}"
        if not part.rest and kind == "items":
            wanted["items.text"] = f"what the language model reads of an item, as in '{{title}}'{_there(part, 'text')}"
    if len(found.time_formats) > 1:
        ways = " or ".join(found.time_formats.values())
        wanted["interactions.timestamp_format"] = f"no day is above 12, so each time reads both ways: {ways}"
    return wanted


def _there(part: Part, ours: str) -> str:
    """The columns that may be meant, first those whose contents look like it."""
    likely = [] if ours == "text" else part.likely(ours)
    others = [name for name in part.unused if name not in likely]
    parts = [
        ("reading as times" if ours == "timestamp" else "repeating as ids do", likely),
        ("other columns" if likely else "columns there", others),
    ]
    return "".join(f"; {what}: {', '.join(names)}" for what, names in parts if names)


def _platform(found: Guess, wanted: Mapping[str, str]) -> Iterator[str]:
    """Lines of the one platform."""
    yield "      interactions:"
    yield from _file("interactions", found.interactions, wanted)
    if "order" in found.interactions.means:
        yield _line(f"# '{_comment(found.interactions.means['order'])}' holds no times: it gives the order alone")
    if "interactions.timestamp_format" in wanted:
        yield _line(f"# TODO: {_comment(wanted['interactions.timestamp_format'])}")
        yield from (
            _line(f"# timestamp_format: {_value(form)}  # {_comment(way)}") for form, way in found.time_formats.items()
        )
    elif found.time_formats:
        yield _line(f"timestamp_format: {_value(next(iter(found.time_formats)))}")
    if found.events:
        yield _line("# A weight is how much one counts beside the others; what is not named here is left out.")
        yield _line(f"events: {_value(event_weights([*found.events][:SHOWN]))}")
    yield "      items:"
    yield from _file("items", found.items, wanted)
    yield _line("# What the language model reads. An empty column drops out together with the punctuation behind it.")
    if "items.text" in wanted:
        yield _line(f"# TODO: {_comment(wanted['items.text'])}")
    text = ". ".join(f"{{{name}}}" for name in found.items.rest)
    yield _line(f"text: {_value(text) if text else ''}".rstrip())
    if found.users:
        yield "      users:"
        yield from _file("users", found.users, wanted)
        yield _line("# Each value is learned as a tag: someone without purchases still gets a list of their own.")
        yield _line(f"tags: {_value(found.users.rest)}")


def _file(kind: str, part: Part, wanted: Mapping[str, str]) -> Iterator[str]:
    """A file's path, how it is written and its columns; without a value where there is something to do."""
    table = part.table
    if table is None:
        yield _line(f"# TODO: {_comment(wanted[f'{kind}.path'])}")
    yield _line(f"path: {_value(table.path)}" if table else "path:")
    if table and table.source.csv:
        written = {"delimiter": table.source.csv.delimiter} | table.source.csv.model_dump(
            mode="json", exclude_defaults=True
        )
        yield _line(f"csv: {_value(written)}")
    if table:
        yield _line(f"# It also has: {_comment(', '.join(part.unused) or 'nothing else')}")
    yield _line("columns:")
    for ours in dict.fromkeys([*part.missing, *part.means]):
        if ours in part.missing:
            yield _line(f"  # TODO: {_comment(wanted[f'{kind}.columns.{ours}'])}")
        yield _line(f"  {ours}: {_value(part.means[ours])}" if ours in part.means else f"  {ours}:")


def _domains(found: Guess, sample: int) -> str:
    if found.target == WHOLE_CATALOGUE:
        why = "There is one category alone" if found.categories else "No column looks like a category"
        return WHOLE.format(why=why)
    return CATEGORIES.format(
        sampled=f", of the first {sample:,}" if sum(found.categories.values()) >= sample else "",
        categories="\n".join(_counted(found.categories)),
        target=_value([found.target]),
    )


def _counted(counts: Mapping[str, int]) -> list[str]:
    lines = [f"  #   {count:>10,}  {_comment(name)}" for name, count in [*counts.items()][:SHOWN]]
    more = len(counts) - SHOWN
    return [*lines, f"  #   and {more:,} categories more"] if more > 0 else lines


def _line(text: str) -> str:
    return " " * INDENT + text


def _value(value: object) -> str:
    """On one line, quoted where YAML needs it."""
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10**6)
    return text.removesuffix("\n...\n").rstrip("\n")


def _comment(text: str) -> str:
    """Without what would end a comment."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
