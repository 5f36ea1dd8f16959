from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import altair as alt
import pytest

from crossrec_cli.config.field_types import SCORERS
from crossrec_cli.report.render import Chart, PageSection, PageTable, render

HOSTILE = "</script><script>document.title = 'broken'; alert(1)</script>"
LOADS = {"src", "href", "srcset", "action", "data", "poster"}


class Seen(HTMLParser):
    """A page as a browser reads it: its elements, their attributes, its text and its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.scripts: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts.append(data)
        else:
            self.text += data


def chart(label: str = "a", title: str = "Bars") -> Chart:
    data = alt.InlineData(values=[{"label": label, "value": 1}, {"label": "b", "value": 2}])
    return Chart(title, "b is the larger.", alt.Chart(data).mark_bar().encode(x="label:N", y="value:Q"))


def hostile() -> str:
    table = PageTable(HOSTILE, [HOSTILE, HOSTILE], [[HOSTILE, HOSTILE]])
    section = PageSection(HOSTILE, HOSTILE, [table], [Chart(HOSTILE, HOSTILE, chart(HOSTILE).drawing)])
    return render(HOSTILE, HOSTILE, [section])


def test_what_comes_from_data_stays_text():
    html = hostile()
    seen = Seen(html)
    assert "<script>document" not in html
    assert seen.tags.count("script") == 2
    assert seen.text.count(HOSTILE) == 12
    spec = json.loads(seen.scripts[0])["specs"][0]
    assert HOSTILE in json.dumps(spec)
    assert spec["description"] == f"{HOSTILE}. {HOSTILE}"


def test_nothing_is_loaded():
    seen = Seen(render("Page", "Lead", [PageSection("One", "Text", charts=[chart()])]))
    assert not seen.attributes & LOADS
    assert not {"link", "img", "iframe", "object"} & set(seen.tags)
    assert "default-src 'none'" in render("Page", "Lead", [])


def test_the_same_input_gives_the_same_bytes_in_another_process():
    code = "import sys; from tests.report import test_render; sys.stdout.write(test_render.hostile())"
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONHASHSEED": "1", "PYTHONIOENCODING": "utf-8"}
    other = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, check=True)
    assert other.stdout.decode() == hostile()


def test_a_value_that_is_no_number_is_refused_rather_than_drawn_wrong():
    data = alt.InlineData(values=[{"x": float("nan")}])
    with pytest.raises(ValueError, match="JSON"):
        render("Page", "", [PageSection("One", "", charts=[Chart("C", "", alt.Chart(data).mark_point())])])


def test_figures_are_to_the_right_and_labels_are_headers():
    html = render(
        "Page", "Lead", [PageSection("One", "Text", [PageTable("Counts", ["what", "n"], [["users", "1,234"]])])]
    )
    assert '<th scope="row">users</th><td>1,234</td>' in html
    assert re.search(r"td {[^}]*text-align: right", html)


def test_each_scorer_has_a_colour_of_its_own_in_light_and_dark():
    html = render("Page", "", [])
    pairs = re.findall(r"--series-\d+: light-dark\((#\w+), (#\w+)\)", html)
    assert len(pairs) > len(SCORERS), "and one for federated"
    assert all(len(set(colours)) == len(colours) for colours in zip(*pairs, strict=True))
    assert html.count('"var(--series-') == len(pairs), "and charts take them all"


def test_a_browser_draws_every_chart_and_runs_nothing_else(browser):
    charts = [chart(HOSTILE), chart(title="More bars")]
    html = render("Page", "Lead", [PageSection("One", "", charts=charts), PageSection("Two", "", charts=[chart()])])
    drawn, console = browser(html, width=500)  # it opens none narrower
    assert console == ""
    assert "<title>Page</title>" in drawn
    assert len(re.findall(r'<svg[^>]* class="marks"', drawn)) == 3
    assert drawn.count('class="mark-rect role-mark') == 3
    shown = chart(title="More bars")
    assert f'aria-label="{shown.title}. {shown.text}"' in drawn
    assert all(int(width) <= 500 - 32 for width in re.findall(r'class="marks" width="(\d+)"', drawn))
