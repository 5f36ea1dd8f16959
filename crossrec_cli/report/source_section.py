"""The section on how much of the scores the source says."""

from __future__ import annotations

from crossrec_cli.artifacts import columns as c
from crossrec_cli.evaluation.source_share import strongest
from crossrec_cli.report.facts import CROSSREC, Facts
from crossrec_cli.report.formatting import NONE, gain
from crossrec_cli.report.render import PageSection, PageTable

TITLE = "What the source contributes"
PAIRS = 8
"""How many pairs of categories are shown."""


def section(facts: Facts) -> PageSection:
    """The strongest pairs of categories, and the mean share by segment next to the transfer gain."""
    rows = facts.source_share.to_pylist()
    pairs = [row for row in rows if row[c.CATEGORY] is not None]
    shown = strongest(pairs)[:PAIRS]
    gains = {
        row[c.SEGMENT]: gain(row)
        for row in ([] if facts.transfer is None else facts.transfer.to_pylist())
        if row[c.CONTROL] == CROSSREC
    }
    of_pairs = [
        [f"{row[c.SOURCE_CATEGORY]} → {row[c.CATEGORY]}", f"{row[c.SHARE]:.0%}", f"{row[c.N]:,}"] for row in shown
    ]
    of_segments = [
        [
            row[c.SEGMENT],
            f"{row[c.N]:,}",
            f"{row[c.SHARE]:.0%} ({row[c.LOW]:.0%} to {row[c.HIGH]:.0%})",
            *([gains.get(row[c.SEGMENT], NONE)] if gains else []),
        ]
        for row in rows
        if row[c.CATEGORY] is None
    ]
    text = (
        "Of all that a user's purchases add to the scores of the listed items, as log-odds, how much comes from source "
        "purchases. A pair has the part of its source category in the scores of the listed items of its target "
        "category; below 0 it lowers them. The source may say much and yet not help: whether it helps is the transfer "
        f"gain{'' if gains else ', which crossrec transfer measures'}."
    )
    tables = [
        PageTable(
            "By segment",
            ["segment", "users", "source share (95 %)", *(["transfer gain"] if gains else [])],
            of_segments,
        ),
        PageTable("The strongest pairs of categories", ["source → target", "share", "listed items"], of_pairs),
    ]
    return PageSection(TITLE, text, tables[: 1 + bool(of_pairs)])
