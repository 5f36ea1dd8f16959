"""The evaluation page and its drawings, written into the run directory from its artifacts."""

from __future__ import annotations

import re
from pathlib import Path

from crossrec_cli.artifacts.store import Store
from crossrec_cli.report.evaluation import TITLE, page, sections, verdict
from crossrec_cli.report.facts import Facts
from crossrec_cli.report.page import markdown, png

PAGE = "report.html"
CHARTS = "charts"


def write_page(store: Store) -> tuple[Path, str] | None:
    """Write ``report.html``; where, and the verdict. None if the run has not been evaluated.

    Raises:
        ArtifactError: if one of its artifacts is damaged.
    """
    facts = Facts.read(store)
    if facts is None:
        return None
    path = store.run_dir / PAGE
    _replace(path, page(facts).encode())
    return path, verdict(facts)


def write_charts(store: Store) -> Path | None:
    """Write every chart of the page as a PNG; the folder. None if the run has not been evaluated."""
    facts = Facts.read(store)
    if facts is None:
        return None
    folder = store.run_dir / CHARTS
    folder.mkdir(exist_ok=True)
    for chart in (chart for section in sections(facts) for chart in section.charts):
        name = re.sub(r"\W+", "-", chart.title.lower()).strip("-")
        _replace(folder / f"{name}.png", png(chart))
    return folder


def as_markdown(store: Store) -> str | None:
    """What is said of ranking and transfer, without charts. None if the run has not been evaluated."""
    facts = Facts.read(store)
    if facts is None:
        return None
    told = {"Does the source help?", "Beside other ways", "For whom?", "What it costs"}
    return markdown(TITLE, verdict(facts), [section for section in sections(facts) if section.title in told])


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; the caller holds the run directory's lock."""
    draft = path.with_name(f".{path.name}")
    draft.write_bytes(content)
    draft.replace(path)
