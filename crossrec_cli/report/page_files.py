"""The evaluation page and its drawings, written into the run directory from its artifacts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from crossrec_cli.report import appendix
from crossrec_cli.report.facts import Facts
from crossrec_cli.report.page import BY_SEGMENT, COMPARED, SOURCE_HELPS, TITLE, page, sections, verdict
from crossrec_cli.report.render import markdown, png

PAGE = "report.html"
CHARTS = "charts"
IN_MARKDOWN = {SOURCE_HELPS, COMPARED, BY_SEGMENT, appendix.COST}
"""Titles of the sections that a pull request gets."""


@dataclass(frozen=True)
class PageFiles:
    """The page of a run, and what was written with it."""

    page: Path
    verdict: str
    charts: Path | None
    """The folder of its charts as pictures."""
    markdown: str | None

    @classmethod
    def write(cls, facts: Facts, run_dir: Path, charts: bool, markdown: bool) -> PageFiles:
        """Write ``report.html``, and its charts as pictures if ``charts`` is set."""
        return cls(
            write_page(facts, run_dir),
            verdict(facts),
            write_charts(facts, run_dir) if charts else None,
            as_markdown(facts) if markdown else None,
        )


def write_page(facts: Facts, run_dir: Path) -> Path:
    """Write ``report.html``; returns its path."""
    path = run_dir / PAGE
    _replace(path, page(facts).encode())
    return path


def write_charts(facts: Facts, run_dir: Path) -> Path:
    """Write every chart of the page as a PNG; returns their folder."""
    folder = run_dir / CHARTS
    folder.mkdir(exist_ok=True)
    for chart in (chart for section in sections(facts) for chart in section.charts):
        name = re.sub(r"\W+", "-", chart.title.lower()).strip("-")
        _replace(folder / f"{name}.png", png(chart))
    return folder


def as_markdown(facts: Facts) -> str:
    """The sections on ranking, transfer and cost, without charts."""
    chosen = [section for section in sections(facts) if section.title in IN_MARKDOWN]
    return markdown(TITLE, verdict(facts), chosen)


def _replace(path: Path, content: bytes) -> None:
    """Write a file completely or not at all; the caller holds the run directory's lock."""
    draft = path.with_name(f".{path.name}")
    draft.write_bytes(content)
    draft.replace(path)
