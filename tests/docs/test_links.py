"""Links of the README and of the pages in docs/ lead somewhere, in the repository as on the site."""

from __future__ import annotations

from pathlib import Path

import generate
import pytest
from pages import ROOT, anchors, blocks, links, written_pages

PAGES = written_pages()
GENERATED = {ROOT / "docs" / path: text for path, text in generate.pages().items()}


def text_of(path: Path) -> str:
    return GENERATED[path] if path in GENERATED else path.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [*PAGES, *GENERATED], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for path, anchor in links(text_of(page)):
        target = (page.parent / path).resolve() if path else page
        assert target in GENERATED or target.exists(), path
        if anchor:
            assert anchor in anchors(text_of(target)), f"{path}#{anchor}"


def test_a_broken_link_is_seen():
    assert list(links("[a](b.md#c) `[x](y)`\n```\n[x](z)\n```\n![d](e.png) [f](#g) [h](https://i)")) == [
        ("b.md", "c"),
        ("e.png", ""),
        ("", "g"),
    ]
    assert anchors("# A `b` c, d\n```\n# no\n```\n## 中文 e") == {"a-b-c-d", "中文-e"}


def test_the_readme_leads_to_every_page():
    reached = {(ROOT / path).resolve() for path, _ in links((ROOT / "README.md").read_text(encoding="utf-8"))}
    pages = {page for page in PAGES if page.is_relative_to(ROOT / "docs") and "decisions" not in page.parts}
    assert pages <= reached


@pytest.mark.parametrize(("pattern", "most"), [("README*.md", 200), ("benchmarks/*.md", 150), ("docs/decisions/*", 40)])
def test_pages_are_short(pattern, most):
    pages = list(ROOT.glob(pattern))
    assert pages
    for page in pages:
        assert len(page.read_text(encoding="utf-8").splitlines()) <= most, page


def test_the_chinese_readme_shows_the_same_links_figures_and_commands():
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh.md"))
    pages = [{path for path, _ in links(text) if path.endswith(".md")} for text in (english, chinese)]
    assert pages[0] ^ pages[1] == {"README.md", "README.zh.md"}
    assert len(figures(english)) > 5
    assert figures(english) == figures(chinese)
    assert commands(english) == commands(chinese)


def figures(text: str) -> list[list[str]]:
    """The cells of tables that are figures."""
    rows = [line.split("|") for line in text.splitlines() if line.startswith("|")]
    return [
        numbers for row in rows if (numbers := [cell.strip() for cell in row if cell.strip()[:2] in {"**", "+.", "−."}])
    ]


def commands(text: str) -> list[list[str]]:
    """Code without its comments."""
    return [[line.partition("#")[0].strip() for line in block.text.splitlines()] for block in blocks(text)]
