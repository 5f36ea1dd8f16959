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
_TEXT = (
    "Of all that a user's purchases add to the scores of the listed items, as log-odds, how much comes from source "
    "purchases. A pair has the part of its source category in the scores of the listed items of its target category; "
    "below 0 it lowers them."
)


def section(facts: Facts) -> PageSection:
    """The strongest pairs of categories, and the mean share by segment next to the transfer gain."""
    translate = facts.translate
    rows = facts.source_share.to_pylist()
    pairs = [row for row in rows if row[c.CATEGORY] is not None]
    shown = strongest(pairs)[:PAIRS]
    gains = {
        row[c.SEGMENT]: gain(row, translate)
        for row in ([] if facts.transfer is None else facts.transfer.to_pylist())
        if row[c.CONTROL] == CROSSREC
    }
    of_pairs = [
        [f"{row[c.SOURCE_CATEGORY]} → {row[c.CATEGORY]}", f"{row[c.SHARE]:.0%}", f"{row[c.N]:,}"] for row in shown
    ]
    share = {"value": c.SHARE, "low": c.LOW, "high": c.HIGH}
    of_segments = [
        [
            row[c.SEGMENT],
            f"{row[c.N]:,}",
            translate("{value} ({low} to {high})", **{name: f"{row[of]:.0%}" for name, of in share.items()}),
            *([gains.get(row[c.SEGMENT], NONE)] if gains else []),
        ]
        for row in rows
        if row[c.CATEGORY] is None
    ]
    text = (
        "The source may say much and yet not help: whether it helps is the transfer gain."
        if gains
        else "The source may say much and yet not help: whether it helps is the transfer gain, which crossrec transfer "
        "measures."
    )
    by_segment = ["segment", "users", "source share (95 %)", *(["transfer gain"] if gains else [])]
    by_pair = ["source → target", "share", "listed items"]
    tables = [
        PageTable(translate("By segment"), [*map(translate, by_segment)], of_segments),
        PageTable(translate("The strongest pairs of categories"), [*map(translate, by_pair)], of_pairs),
    ]
    paragraph = translate.sentences([translate(_TEXT), translate(text)])
    return PageSection(translate(TITLE), paragraph, tables[: 1 + bool(of_pairs)])
