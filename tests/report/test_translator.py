"""The page in German and in Chinese: nothing that a person reads is English."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields as fields_of
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from string import Formatter
from typing import Any

import pyarrow as pa
import pytest

from crossrec_cli import report
from crossrec_cli.artifacts import schemas
from crossrec_cli.artifacts.store import Store
from crossrec_cli.config.schema import Report
from crossrec_cli.evaluation.drift import MODERATE, Change
from crossrec_cli.pipeline.evaluated import read_facts
from crossrec_cli.report.facts import Facts
from crossrec_cli.report.page import TITLE, page
from crossrec_cli.report.translator import IN_ENGLISH, PARTS, TRANSLATORS
from crossrec_cli.report.verdict import verdict

OTHERS = ["de", "zh"]
NAMES = {"crossrec", "NDCG", "HR", "MRR", "MAP", "recall", "precision", "AUC", "p", "95 %"}
"""The field's own, and this program's."""
SAME_IN_GERMAN = {"Score", "Scorer", "Name", "Feedback", "Software", "Version", "drift", "Drift"}
PAGE_MODULES = [
    "appendix",
    "charts",
    "drift_section",
    "formatting",
    "page",
    "quality_page",
    "source_section",
    "verdict",
]
NOT_ON_THE_PAGE = {"frozen texts", "share of ", "Data quality"}
"""A control's name, what ``Change.figure`` starts with, and the title of quality.html, which is English."""
SENTENCE = re.compile(r"[A-Za-z}],? [a-z{]|^[A-Z][a-z]")
"""Of the page's English texts, unlike columns, formats and colours."""
NUMBER = re.compile(r"[-+−]?[\d.,]+(e-?\d+)?(\+| ?%| s| min| h| GB)?|–|")
PARTS_OF_A_CELL = re.compile(", | → ")
OF_DATA = {
    *(f"{which} {name}" for which in ("new", "gone", "interactions of new") for name in ("users", "items")),
    *("categories of interactions", "prices of interactions", "interactions of a user", "scores of the first entry"),
    *("source", "target", "both", "users", "items", "interactions", "density"),
    *("mean", "small", "moderate", "large", "items without a category"),
}
"""Values of the data that are words of the page too."""


@pytest.fixture
def facts(trained) -> Facts:
    """Those of the planted shop, with all that a page can have a section on."""
    found = read_facts(Store(trained.run_dir), Report(examples=2))
    assert found is not None
    segments = [("all", 90), ("cold user", 60), ("cold item", 9)]
    transfer = [
        [segment, control, 0.4, 0.2, *gain, users, 3]
        for segment, users in segments
        for control, gain in (("crossrec", (-0.02, -0.03, -0.01)), ("frozen texts", (0.0, 0.0, 0.0)))
    ]
    feedback = ["click", "all", found.k, "snips", 0.1, 0.05, 0.2, 12.0, 100]
    preprocessed, *others = found.manifests
    summary = preprocessed.summary | {"drift": drift()}
    return replace(
        found,
        transfer=table(transfer, schemas.TRANSFER),
        feedback=table([feedback], schemas.FEEDBACK),
        manifests=[preprocessed.model_copy(update={"summary": summary}), *others],
    )


def table(rows: list[list[Any]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema)


def drift() -> dict[str, Any]:
    """Every measure, at every level."""
    distributions = {
        "categories of interactions": Change(1.0, "share of record", 0.1, 0.2),
        "prices of interactions": Change(MODERATE + 0.01, "mean", 1.0, 2.0),
        "interactions of a user": Change(0.0, "share of items without a category", None, 0.2),
        "scores of the first entry": Change(0.0, "mean", 1.0, 2.0),
    }
    new = {name: 0.1 for name in OF_DATA if name.partition(" ")[0] in {"new", "gone"} or " of new " in name}
    sizes = dict.fromkeys(("users", "items", "interactions"), (1, 2))
    return {
        "sizes": sizes,
        "shares": new,
        "distributions": {name: change.__dict__ for name, change in distributions.items()},
    }


class Read(HTMLParser):
    """A page's texts, in order: those of its elements, and those of its charts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.language: str | None = None
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.language = dict(attrs).get("lang", self.language)

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            if data.startswith("{"):
                self.texts += [text for spec in json.loads(data)["specs"] for text in drawn(spec)]
        elif data.strip() and self.cdata_elem is None:
            self.texts.append(data.strip())


def drawn(spec: Any, key: str = "") -> Iterator[str]:
    """The titles of axes, legends and tooltips in a chart, the names in its data, and what screen readers read."""
    if isinstance(spec, Mapping):
        for name, value in spec.items():
            yield from drawn(value, name)
    elif isinstance(spec, list):
        for value in spec:
            yield from drawn(value, key)
    elif isinstance(spec, str) and key in {"title", "description", "label", "series", "domain"}:
        yield spec


def names_of_the_data(facts: Facts) -> set[str]:
    """Every word of the run's tables and manifests."""
    tables = [value for of in fields_of(facts) if isinstance(value := getattr(facts, of.name), pa.Table)]
    values = {cell for each in tables for row in each.to_pylist() for cell in row.values() if isinstance(cell, str)}
    cells = {part for value in values for part in PARTS_OF_A_CELL.split(value)}
    manifests = facts.manifests
    config = {
        part
        for each in manifests
        for key, value in each.config.items()
        for part in (key, *(", ".join(map(str, value)) if isinstance(value, list) else str(value)).split(", "))
    }
    versions = {part for each in manifests for pair in each.versions.items() for part in pair}
    return cells | config | versions | {part for each in manifests for part in (each.stage, each.id, each.started)}


@pytest.mark.parametrize("language", OTHERS)
def test_all_that_a_person_reads_is_in_the_shops_language(facts, language):
    english, other = Read(page(facts)), Read(page(replace(facts, translate=TRANSLATORS[language])))
    assert (english.language, other.language) == ("en", language)
    known = names_of_the_data(facts) - OF_DATA | NAMES | (SAME_IN_GERMAN if language == "de" else set())
    same = {text for text, translated in zip(english.texts, other.texts, strict=True) if text == translated}
    parts = {re.sub(r"^✓ |@\d+$", "", part) for text in same for part in PARTS_OF_A_CELL.split(text)}
    assert len(english.texts) > 500
    assert {part for part in parts - known if not NUMBER.fullmatch(part)} == set()


def fields(template: str) -> list[tuple[str | None, str | None]]:
    """The names of a template's fields, and how they are written."""
    return sorted((name, form) for _, name, form, _ in Formatter().parse(template) if name is not None)


def test_every_language_has_the_same_fields():
    for part in PARTS:
        for english, others in part.items():
            assert len(others) == len(OTHERS)
            for other in others:
                assert fields(other) == fields(english), english


def test_no_text_has_two_translations():
    assert len({english for part in PARTS for english in part}) == sum(map(len, PARTS))


def constants(module: str) -> set[str]:
    """All strings of one of the page's modules but its docstrings and the parts of f-strings."""
    nodes = list(ast.walk(ast.parse((Path(report.__path__[0]) / f"{module}.py").read_text(encoding="utf-8"))))
    left_out = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    left_out |= {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    return {
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left_out
    }


def test_every_text_of_the_code_has_a_translation_and_no_translation_is_left_over():
    """Also those texts that no page of the tests shows."""
    translated = {english for part in PARTS for english in part}
    written = {text for module in PAGE_MODULES for text in constants(module)} | constants("translator")
    assert {text for text in written if SENTENCE.search(text)} - constants("translator") - NOT_ON_THE_PAGE <= translated
    assert translated <= written | OF_DATA


def test_a_text_without_a_translation_is_refused():
    assert IN_ENGLISH("{count} hats", count=2) == "2 hats"
    with pytest.raises(KeyError):
        TRANSLATORS["de"]("{count} hats", count=2)


def test_the_config_chooses_the_pages_language_and_the_terminal_stays_english(trained, crossrec):
    path, charts = trained.run_dir / "report.html", trained.run_dir / "charts"
    options = ("evaluate", trained.path, "--json", "--png", "--markdown")
    english = json.loads(crossrec(*options).stdout)
    pictures = {file.name: file.read_bytes() for file in charts.iterdir()}
    german = json.loads(crossrec(*options, "--set", "report.language=de").stdout)
    assert (english["verdict"], english["markdown"]) == (german["verdict"], german["markdown"])
    assert Read(path.read_text(encoding="utf-8")).language == "de"
    assert TITLE not in path.read_text(encoding="utf-8")
    assert {file.name for file in charts.iterdir()} == set(pictures)
    assert pictures != {file.name: file.read_bytes() for file in charts.iterdir()}


def test_auto_is_the_language_of_the_target_items(trained):
    found = read_facts(Store(trained.run_dir), Report(language="zh"))
    assert found is not None
    assert found.translate is TRANSLATORS["zh"]
    assert found.in_english.translate is IN_ENGLISH
    assert verdict(found) != verdict(found.in_english)
    auto = read_facts(Store(trained.run_dir), Report())
    assert auto is not None
    assert auto.translate is IN_ENGLISH
