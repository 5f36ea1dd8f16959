"""The evaluation page and its drawings, written into the run directory from its artifacts."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from crossrec_cli.report.facts import Facts
from crossrec_cli.report.verdict import verdict

PAGE = "report.html"
CHARTS = "charts"
LAST_LINE = "<!-- sources"


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
            verdict(facts.in_english),
            write_charts(facts, run_dir) if charts else None,
            as_markdown(facts) if markdown else None,
        )


def write_page(facts: Facts, run_dir: Path) -> Path:
    """Write ``report.html``, unless there is a whole page of the same facts; returns its path."""
    path = run_dir / PAGE
    if not _is_of(path, facts.digest):
        from crossrec_cli.report.page import page  # noqa: PLC0415  charts take a moment to import

        content = page(facts)
        _replace(path, (content + _last_line(content, facts.digest)).encode())
    return path


def _is_of(path: Path, digest: str) -> bool:
    """Whether a page is of the facts with this digest, and as it was written."""
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return False
    content, line, _ = text.rpartition(LAST_LINE)
    return bool(line) and text == content + _last_line(content, digest)


def _last_line(content: str, digest: str) -> str:
    """A comment with the hashes of the page's facts and of what is above it."""
    return f"{LAST_LINE} {digest} {hashlib.sha256(content.encode()).hexdigest()} -->\n"


def write_charts(facts: Facts, run_dir: Path) -> Path:
    """Write every chart of the page as a PNG, named in English as scripts expect it; returns their folder."""
    from crossrec_cli.report.page import sections  # noqa: PLC0415  charts take a moment to import
    from crossrec_cli.report.render import png  # noqa: PLC0415

    folder = run_dir / CHARTS
    folder.mkdir(exist_ok=True)
    drawn, named = ([chart for section in sections(of) for chart in section.charts] for of in (facts, facts.in_english))
    for chart, english in zip(drawn, named, strict=True):
        name = re.sub(r"\W+", "-", english.title.lower()).strip("-")
        _replace(folder / f"{name}.png", png(chart))
    return folder


def as_markdown(facts: Facts) -> str:
    """The sections on ranking, transfer and cost, without charts, in English as all that the terminal shows."""
    from crossrec_cli.report import page  # noqa: PLC0415  charts take a moment to import
    from crossrec_cli.report.appendix import COST  # noqa: PLC0415
    from crossrec_cli.report.render import markdown  # noqa: PLC0415

    wanted = {page.SOURCE_HELPS, page.COMPARED, page.BY_SEGMENT, COST}
    chosen = [section for section in page.sections(facts.in_english) if section.title in wanted]
    return markdown(page.TITLE, verdict(facts.in_english), chosen)


def _replace(path: Path, content: bytes) -> None:
    """Write a file completely or not at all; the caller holds the run directory's lock."""
    draft = path.with_name(f".{path.name}")
    draft.write_bytes(content)
    draft.replace(path)
