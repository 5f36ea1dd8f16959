"""What is in a Markdown page: links, anchors, code blocks. The site's build and the tests read pages by it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+?) -->\n+)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
LINK = re.compile(r"(?<=\]\()(?P<path>[^)#\s]*)(?P<anchor>#[^)\s]*)?(?=\))")
CODE = re.compile(r"```.*?^```$|`[^`\n]+`", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    language: str
    text: str
    reason: str | None
    """Why it is not run, where a comment says so."""


def written_pages() -> list[Path]:
    """The pages that people write: the READMEs and what is in ``docs/``."""
    return [ROOT / "README.md", ROOT / "README.zh.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(text: str) -> Iterator[Block]:
    """A page's fenced blocks, in order."""
    for found in FENCE.finditer(text):
        yield Block(found["language"], found["text"], found["reason"])


def links(text: str) -> Iterator[tuple[str, str]]:
    """Path and anchor of each link that stays within the repository; either may be empty."""
    for found in LINK.finditer(CODE.sub("", text)):
        if ":" not in found["path"]:
            yield found["path"], (found["anchor"] or "")[1:]


def anchors(text: str) -> set[str]:
    """What a link can point to on a page: its headings in lower case, with hyphens for spaces, without punctuation."""
    headings = HEADING.findall(re.sub(r"```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
