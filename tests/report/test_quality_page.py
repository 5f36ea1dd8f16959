from __future__ import annotations

import functools
import json
import re

import pyarrow as pa
import pytest
from facts import lacking

from crossrec_cli.artifacts import schemas
from crossrec_cli.report import quality_page

HOSTILE = "<script>alert(1)</script>"
MEASURES: dict[str, list[tuple[str, str | None, float]]] = {
    "removed": [
        ("missing id", "interactions", 3),
        ("too few interactions", "interactions", 1200),
        ("missing id", "items", 0),
    ],
    "interactions_left": [("read", None, 10_000), ("enough interactions, round 1", None, 8797)],
    "users_left": [("enough interactions, round 1", None, 900)],
    "items_left": [("enough interactions, round 1", None, 500)],
    "interactions": [("source", None, 8000), ("target", None, 797)],
    "users": [("source", None, 890), ("target", None, 40), ("both", None, 30)],
    "items": [("source", None, 450), ("target", None, 50)],
    "density": [("source", None, 8000 / 890 / 450), ("target", None, 797 / 40 / 50)],
    "shared_users": [
        ("GROCERY", "GROCERY", 880),
        ("GROCERY", HOSTILE, 30),
        (HOSTILE, "GROCERY", 30),
        (HOSTILE, HOSTILE, 40),
    ],
    "shared_platform_users": [("a", "a", 600), ("a", "b", 6), ("b", "a", 6), ("b", "b", 300)],
    "popularity": [
        ("0.01", "source", 0.2),
        ("0.1", "source", 0.6),
        ("1", "source", 1),
        ("0.01", "target", 0.9),
        ("1", "target", 1),
    ],
    "per_period": [("2023-11", "a", 5000), ("2023-11", "b", 1797), ("2024-02", "a", 2000)],
    "identity": [("users joined", None, 12), ("conflicts", None, 1)],
}


def table(measures: dict[str, list[tuple[str, str | None, float]]]) -> pa.Table:
    rows = [(name, *row) for name, of in measures.items() for row in of]
    columns = {name: [row[place] for row in rows] for place, name in enumerate(schemas.QUALITY.names)}
    return pa.table(columns, schema=schemas.QUALITY)


@functools.cache
def whole_page() -> str:
    return quality_page.page(table(MEASURES))


def without(*names: str) -> pa.Table:
    return table({name: rows for name, rows in MEASURES.items() if name not in names})


def cells(section: quality_page.Section, title: str) -> list[list[str]]:
    (found,) = [x for x in section.tables if x.title == title]
    return [list(found.columns), *(list(row) for row in found.rows)]


def text(measure: str) -> str:
    """What is said of a measure's chart."""
    (chart,) = quality_page.section(table({measure: MEASURES[measure]})).charts
    return chart.text


def test_tables_by_hand():
    section = quality_page.section(table(MEASURES))
    assert cells(section, "Source and target") == [
        ["", "source", "target", "both"],
        ["interactions", "8,000", "797", "–"],
        ["users", "890", "40", "30"],
        ["items", "450", "50", "–"],
        ["density", "2%", "39.9%", "–"],
    ]
    assert cells(section, "Rows kept after each step") == [
        ["step", "interactions", "users", "items"],
        ["read", "10,000", "–", "–"],
        ["enough interactions, round 1", "8,797", "900", "500"],
    ]
    assert cells(section, "Rows removed by each rule") == [
        ["rule", "interactions", "items"],
        ["missing id", "3", "0"],
        ["too few interactions", "1,200", "–"],
    ]
    assert cells(section, "Joined ids") == [["", "count"], ["users joined", "12"], ["conflicts", "1"]]


def test_the_lead_says_what_is_left_and_how_far_source_and_target_overlap():
    html = whole_page()
    lead = re.sub("<style>.*?</style>|<script.*?</script>", "", html, flags=re.DOTALL).partition("<table")[0]
    kept, removed, shared = ("10,000", "8,797", "88%"), ("too few interactions", "1,200"), ("75%", 30)
    for facts in (kept, removed, shared):
        assert any(not lacking(sentence, *facts) for sentence in re.split(r"\. ?", lead)), facts


def test_each_chart_says_in_words_what_stands_out():
    source, target, _ = text("popularity").split(".")
    assert not lacking(source, "source", "1%", "20%", "10%", "60%")
    assert not lacking(target, "target", "1%", "90%")
    assert not lacking(text("per_period"), "2023-11", "2024-02", "2 of 4 months")
    assert not lacking(text("shared_users"), "75%", "GROCERY", HOSTILE)
    assert not lacking(text("shared_platform_users"), "2%", "a and b")


def test_two_that_share_nobody_have_no_row_and_are_shown_all_the_same():
    (chart,) = quality_page.section(table({"shared_users": [("a", "a", 5), ("b", "b", 3)]})).charts
    assert not lacking(chart.text, "0%", "a and b")
    assert json.dumps({"label": "b", "other": "a", "value": 0.0, "share": 0.0}) in json.dumps(chart.drawing.to_dict())


def test_years_in_place_of_months():
    (chart,) = quality_page.section(table({"per_period": [("2020", "a", 1), ("2023", "a", 2)]})).charts
    assert not lacking(chart.text, 2020, 2023, "2 of 4 years")


def test_what_several_platforms_say_adds_up():
    section = quality_page.section(
        table({"removed": [("missing id", "interactions", 3), ("missing id", "interactions", 4)]})
    )
    assert cells(section, "Rows removed by each rule")[1] == ["missing id", "7"]


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_that_is_missing_leaves_its_part_out(name):
    whole, less = quality_page.section(table(MEASURES)), quality_page.section(without(name))
    only = quality_page.section(table({name: MEASURES[name]}))
    assert len(less.charts) == len(whole.charts) - len(only.charts)
    assert len(only.tables) + len(only.charts) == 1
    assert quality_page.page(without(name)) != whole_page()


def test_nothing_but_zeros_and_nothing_at_all():
    zeros = {name: [(label, other, 0.0) for label, other, _ in rows] for name, rows in MEASURES.items()}
    assert not quality_page.section(table(zeros)).charts
    assert not quality_page.section(table({})).tables
    nan = table({"density": [("source", None, float("nan")), ("target", None, 0.5)]})
    assert cells(quality_page.section(nan), "Source and target")[1] == ["density", "50%"]
    assert quality_page.page(table({}))
    assert quality_page.page(table(zeros))


def test_the_same_table_gives_the_same_page():
    assert quality_page.page(table(MEASURES)) == whole_page()


def test_a_browser_draws_all_of_it(browser):
    html = quality_page.page(table(MEASURES))
    assert HOSTILE not in html
    drawn, console = browser(html)
    assert console == ""
    assert len(re.findall(r'<svg[^>]* class="marks"', drawn)) == len(quality_page.section(table(MEASURES)).charts) == 4
    assert "NaN" not in re.sub(r"<script.*?</script>", "", drawn, flags=re.S)
