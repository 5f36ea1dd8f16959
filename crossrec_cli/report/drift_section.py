"""Drift on the pages: how far data and scores are from those before."""

from __future__ import annotations

from collections.abc import Sequence

from crossrec_cli.evaluation.drift import LARGE, MODERATE, Drift, shown
from crossrec_cli.report.render import PageSection, PageTable

TITLE = "Drift since the run before"
_TEXT = (
    "Compared with the files that these replaced. The population stability index says how far a distribution is from "
    f"the one before, less what chance alone gives: up to {MODERATE:g} small, above {LARGE:g} large."
)


def section(drifts: Sequence[Drift]) -> PageSection:
    """Some measures, as tables."""
    sizes = [(name, f"{before:,}", f"{now:,}") for drift in drifts for name, (before, now) in drift.sizes.items()]
    shares = [(name, f"{share:.1%}") for drift in drifts for name, share in drift.shares.items()]
    changes = [
        (name, f"{change.stability_index:.3f}", change.level, change.figure, shown(change.before), shown(change.now))
        for drift in drifts
        for name, change in drift.distributions.items()
    ]
    tables = (
        PageTable("Sizes", ["", "before", "now"], sizes),
        PageTable("New and gone", ["", "share"], shares),
        PageTable("Distributions", ["", "stability index", "drift", "figure", "before", "now"], changes),
    )
    return PageSection(TITLE, _TEXT, [table for table in tables if table.rows])
