"""Drift on the pages: how far data and scores are from those before."""

from __future__ import annotations

from collections.abc import Sequence

from crossrec_cli.evaluation.drift import LARGE, MODERATE, Drift, shown
from crossrec_cli.report.render import PageSection, PageTable
from crossrec_cli.report.translator import IN_ENGLISH, Translator

TITLE = "Drift since the run before"
_TEXT = (
    "Compared with the files that these replaced. The population stability index says how far a distribution is from "
    "the one before, less what chance alone gives: up to {moderate:g} small, above {large:g} large."
)


def section(drifts: Sequence[Drift], translate: Translator = IN_ENGLISH) -> PageSection:
    """Some measures, as tables."""
    name, before, now = translate.name, translate("before"), translate("now")
    sizes = [(name(of), *(f"{count:,}" for count in pair)) for drift in drifts for of, pair in drift.sizes.items()]
    shares = [(name(of), f"{share:.1%}") for drift in drifts for of, share in drift.shares.items()]
    changes = [
        (
            name(of),
            f"{change.stability_index:.3f}",
            name(change.level),
            _figure(change.figure, translate),
            shown(change.before),
            shown(change.now),
        )
        for drift in drifts
        for of, change in drift.distributions.items()
    ]
    columns = ["", translate("stability index"), translate("drift"), translate("figure"), before, now]
    tables = (
        PageTable(translate("Sizes"), ["", before, now], sizes),
        PageTable(translate("New and gone"), ["", translate("share")], shares),
        PageTable(translate("Distributions"), columns, changes),
    )
    text = translate(_TEXT, moderate=MODERATE, large=LARGE)
    return PageSection(translate(TITLE), text, [table for table in tables if table.rows])


def _figure(figure: str, translate: Translator) -> str:
    """``Change.figure``, in which only the category is data."""
    _, is_share, category = figure.partition("share of ")
    return translate("share of {category}", category=translate.name(category)) if is_share else translate.name(figure)
