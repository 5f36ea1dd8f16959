"""What the site's build adds to the pages in this folder.

The reference comes from the code, and some pages from the files next to this folder. Links are written as the
repository has them, so that they also work where it is browsed; here they become links of the site.
"""

from __future__ import annotations

import posixpath
import re

import generate
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pages import LINK, ROOT

MIRRORED = {
    "README.md": "index.md",
    "README.zh.md": "index.zh.md",
    "benchmarks/README.md": "benchmarks.md",
    "sample_data/README.md": "sample-data.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Files of the repository that are pages of the site."""
TO_A_FILE = re.compile(r"\[(?P<label>[^\]]*)\]\((?P<path>(?!https?:|mailto:|#)[^)#\s]+)(?:#[^)\s]*)?\)")


def on_config(config: MkDocsConfig) -> None:
    """Name the records of decisions in the navigation, where there are some."""
    decisions = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    if decisions and config.nav:
        config.nav.append({"Decisions": [f"decisions/{page.name}" for page in decisions]})


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the generated and the mirrored pages."""
    for path, text in generate.pages().items():
        files.append(File.generated(config, path, content=text))
    for source, path in MIRRORED.items():
        files.append(File.generated(config, path, content=(ROOT / source).read_text(encoding="utf-8")))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links within the repository into links within the site."""
    path = page.file.src_uri
    source = {site: source for source, site in MIRRORED.items()}.get(path, f"docs/{path}")

    def to_page(link: re.Match[str]) -> str:
        here = in_site(source, link["path"])
        if here is None or not files.get_file_from_path(here):
            return f"`{posixpath.normpath(posixpath.join(posixpath.dirname(source), link['path']))}`"
        relative = posixpath.relpath(here, posixpath.dirname(path) or ".")
        return LINK.sub(lambda parts: relative + (parts["anchor"] or ""), link[0])

    return TO_A_FILE.sub(to_page, markdown)


def in_site(source: str, link: str) -> str | None:
    """The site's path of what a file of the repository links to; None for what is no page."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    return MIRRORED.get(target) or (target.removeprefix("docs/") if target.startswith("docs/") else None)
