"""The evaluation page and its drawings, written into the run directory from its artifacts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from crossrec_cli.report.facts import Facts
from crossrec_cli.report.page import TITLE, page, sections, verdict
from crossrec_cli.report.render import markdown, png

PAGE = "report.html"
CHARTS = "charts"


@dataclass(frozen=True)
class PageFiles:
    """The page of a run, and what else was made of it."""

    page: Path
    verdict: str
    charts: Path | None
    """The folder of its charts as pictures."""
    markdown: str | None

    @classmethod
    def write(cls, facts: Facts, run_dir: Path, charts: bool, markdown: bool) -> PageFiles:
        """Write ``report.html``, and as pictures its charts where they are wanted."""
        return cls(
            write_page(facts, run_dir),
            verdict(facts),
            write_charts(facts, run_dir) if charts else None,
            as_markdown(facts) if markdown else None,
        )


def write_page(facts: Facts, run_dir: Path) -> Path:
    """Write ``report.html``; where."""
    path = run_dir / PAGE
    _replace(path, page(facts).encode())
    return path


def write_charts(facts: Facts, run_dir: Path) -> Path:
    """Write every chart of the page as a PNG; the folder."""
    folder = run_dir / CHARTS
    folder.mkdir(exist_ok=True)
    for chart in (chart for section in sections(facts) for chart in section.charts):
        name = re.sub(r"\W+", "-", chart.title.lower()).strip("-")
        _replace(folder / f"{name}.png", png(chart))
    return folder


def as_markdown(facts: Facts) -> str:
    """What is said of ranking, transfer and cost, without charts."""
    told = {"Does the source help?", "Beside other ways", "For whom?", "What it costs"}
    return markdown(TITLE, verdict(facts), [section for section in sections(facts) if section.title in told])


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; the caller holds the run directory's lock."""
    draft = path.with_name(f".{path.name}")
    draft.write_bytes(content)
    draft.replace(path)
