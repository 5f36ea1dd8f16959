"""What a first config lacks, as the files do not say it: the user fills it in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from crossrec_cli.data.guess import Guess
from crossrec_cli.data.parts import Part

WANTED = {
    "user_id": ("who bought", "--user"),
    "item_id": ("what was bought", "--item"),
    "timestamp": ("when", "--time"),
}
TEXT, TIME_FORMAT = "items.text", "interactions.timestamp_format"
NO_FILE = "where {kind} are; no file here looks like it"


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
            missing[TEXT] = f"what the language model reads of an item, as in '{{title}}'{_there(part, 'text')}"
    if len(guess.time_formats) > 1:
        readings = " or ".join(guess.time_formats.values())
        missing[TIME_FORMAT] = f"no day is above 12, so each time has two readings: {readings}"
    return missing


@dataclass
class Choices:
    """What a field that is missing may be."""

    field: str
    """As in ``todo``."""
    question: str
    values: Mapping[str, str]
    """Each with what is to be said of it, or nothing."""


def choices(guess: Guess) -> Iterator[Choices]:
    """Of the fields of ``todo`` for which there is something to choose from; columns come first."""
    for kind, part in (("interactions", guess.interactions), ("items", guess.items)):
        if part.table is None:
            continue
        for ours in part.missing:
            values = dict.fromkeys([*part.likely(ours), *part.unused], "")
            yield Choices(f"{kind}.columns.{ours}", f"{part.table.path}: which column says {WANTED[ours][0]}?", values)
    if guess.items.table and not guess.items.rest:
        values = dict.fromkeys(guess.items.unused, "")
        yield Choices(TEXT, f"{guess.items.table.path}: which column says in words what an item is?", values)
    if len(guess.time_formats) > 1:
        yield Choices(TIME_FORMAT, "interactions: how are the times written?", guess.time_formats)


def _there(part: Part, ours: str) -> str:
    """The columns to choose from, first those whose content looks right."""
    likely = [] if ours == "text" else part.likely(ours)
    others = [name for name in part.unused if name not in likely]
    parts = [
        ("columns with times" if ours == "timestamp" else "columns that repeat like ids", likely),
        ("other columns" if likely else "columns", others),
    ]
    return "".join(f"; {what}: {', '.join(names)}" for what, names in parts if names)
