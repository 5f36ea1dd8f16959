"""What a first config lacks, as the files do not say it: the user fills it in."""

from __future__ import annotations

from crossrec_cli.data.guess import Guess
from crossrec_cli.data.parts import Part

WANTED = {
    "user_id": ("who bought", "--user"),
    "item_id": ("what was bought", "--item"),
    "timestamp": ("when", "--time"),
}
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
