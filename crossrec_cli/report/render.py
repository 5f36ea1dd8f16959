"""One self-contained HTML file from text, tables and charts, for screen, phone and paper.

Its script is Vega, inlined. Its policy forbids the browser to load anything. Every colour is defined once, as a CSS
variable with a light and a dark value. The charts use these variables, so they follow a change of theme without being
drawn again. Text from data is escaped here and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.metadata import version
from typing import Any

import altair as alt
import vl_convert
from platformdirs import user_cache_path

from crossrec_cli.artifacts import user_cache

_STYLE = """
:root { color-scheme: light dark;
  --paper: light-dark(#ffffff, #15181c); --ink: light-dark(#1b1f24, #e6e8eb);
  --muted: light-dark(#57606a, #a3acb6); --line: light-dark(#d5dae0, #383e46);
  --series-1: light-dark(#0072b2, #56b4e9); --series-2: light-dark(#d55e00, #e69f00);
  --series-3: light-dark(#008f68, #2bc299); --series-4: light-dark(#aa4499, #e08fc1);
  --series-5: light-dark(#8a6d00, #f0e442); --series-6: light-dark(#333f48, #c3cad1);
  --series-7: light-dark(#8585f5, #8a6fe8); --series-8: light-dark(#a83232, #ff8a80); }
body { margin: 0 auto; padding: 1.5rem 1rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1, h2 { line-height: 1.2; }
h2 { margin-top: 2.5rem; }
p { max-width: 42rem; }
.lead { font-size: 1.15rem; }
.table { overflow-x: auto; margin: 1.5rem 0; }
table { min-width: 16rem; border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; }
th, td { padding: .25rem 0 .25rem 1rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { font-weight: 400; color: var(--muted); vertical-align: bottom; }
th:first-child { padding-left: 0; text-align: left; }
th[scope=row] { color: inherit; white-space: normal; min-width: 8.5rem; max-width: 18rem; }
.words th[scope=row] { min-width: 1.5rem; max-width: none; overflow-wrap: normal; }
.words th, .words td { text-align: left; white-space: normal; vertical-align: top; }
figure { margin: 2rem 0; break-inside: avoid; }
figcaption { max-width: 42rem; margin-bottom: .5rem; color: var(--muted); }
figcaption b { display: block; font-weight: 600; color: var(--ink); }
.chart { width: 100%; }
.chart svg { display: block; max-width: 100%; height: auto; }
#vg-tooltip-element.vg-tooltip { background: var(--paper); color: var(--ink); border-color: var(--line); }
#vg-tooltip-element.vg-tooltip td.key { color: var(--muted); }
#vg-tooltip-element.vg-tooltip td { border: 0; }
@media (max-width: 30rem) { table { font-size: .875rem; } }
@media print { :root { color-scheme: light; } body { padding: 0; max-width: none; font-size: 10pt; }
  .table { overflow: visible; } h2, caption, figcaption { break-after: avoid; } tr { break-inside: avoid; } }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'"
"""Vega compiles a chart's expressions, hence eval; a label is data and never reaches it."""
_SCRIPT = """
const {specs, options} = JSON.parse(document.getElementById("specs").textContent);
document.querySelectorAll(".chart").forEach((chart, index) => vegaEmbed(chart, specs[index], options));
"""
_INK, _MUTED, _LINE = "var(--ink)", "var(--muted)", "var(--line)"
_OPTIONS: dict[str, Any] = {
    "actions": False,
    "renderer": "svg",  # it can use CSS variables, and prints sharply
    "config": {
        "background": None,
        "font": "system-ui, sans-serif",
        "view": {"stroke": None},
        "range": {"category": [f"var(--series-{number})" for number in range(1, 9)]},
        "axis": {
            "labelColor": _MUTED,
            "titleColor": _MUTED,
            "titleFontWeight": "normal",
            "domainColor": _LINE,
            "tickColor": _LINE,
            "gridColor": _LINE,
            "labelFontSize": 12,
            "titleFontSize": 12,
            "labelLimit": 130,
            "labelSeparation": 8,
        },
        "axisX": {"grid": False},
        "legend": {
            "orient": "top",
            "columns": 2,  # as many as fit on a phone
            "labelColor": _INK,
            "labelFontSize": 12,
            "labelLimit": 120,
            "title": None,
        },
        "text": {"color": _INK},
    },
}


@dataclass(frozen=True)
class PageTable:
    """A table of formatted cells: the first column is text, the others are figures."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: bool = False
    """The other columns are text as well."""


@dataclass(frozen=True)
class Chart:
    """A chart with what it shows in words, for its caption and for screen readers."""

    title: str
    text: str
    """Complete sentences."""
    drawing: alt.Chart | alt.LayerChart


@dataclass(frozen=True)
class PageSection:
    """A part of a page."""

    title: str
    text: str
    tables: Sequence[PageTable] = ()
    charts: Sequence[Chart] = ()


def render(title: str, lead: str, sections: Sequence[PageSection], language: str = "en") -> str:
    """The page as HTML. The same input gives the same text; ``language`` is that of the texts, such as ``de``."""
    charts = [chart for section in sections for chart in section.charts]
    specs = _json({"specs": [_spec(chart) for chart in charts], "options": _OPTIONS})
    body = "\n".join(_section(section) for section in sections)
    return f"""<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
<p class="lead">{escape(lead)}</p>
{body}
</main>
<script type="application/json" id="specs">{specs}</script>
<script>{_script()}</script>
</body>
</html>
"""


def markdown(title: str, lead: str, sections: Sequence[PageSection]) -> str:
    """The page as Markdown, without its charts, for a pull request."""
    parts = [f"## {title}", markdown_text(lead)]
    for section in sections:
        parts += [f"### {section.title}", markdown_text(section.text), *map(markdown_table, section.tables)]
    return "\n\n".join(parts) + "\n"


def markdown_table(table: PageTable) -> str:
    """A table with its title, as Markdown."""
    rule = ["---"] + ["---" if table.words else "---:"] * (len(table.columns) - 1)
    lines = [table.columns, rule, *([markdown_text(cell) for cell in row] for row in table.rows)]
    return "\n".join([f"**{table.title}**", "", *(f"| {' | '.join(line)} |" for line in lines)])


def markdown_text(text: str) -> str:
    """Text from data, escaped so that it neither ends a table cell nor starts HTML."""
    return escape(text, quote=False).replace("|", "\\|").replace("`", "\\`")


def png(chart: Chart, width: int = 900) -> bytes:
    """A chart as PNG for slides, in light colours, at twice a screen's resolution; ``width`` is in CSS pixels."""
    colours = dict(re.findall(r"(--[\w-]+): light-dark\((#\w+)", _STYLE))
    config = {**_OPTIONS["config"], "background": colours["--paper"], "title": {"anchor": "start", "color": _INK}}
    spec = chart.drawing.to_dict() | {"width": width, "title": chart.title}
    text = re.sub(r"var\((--[\w-]+)\)", lambda match: colours[match[1]], json.dumps({**spec, "config": config}))
    image: bytes = vl_convert.vegalite_to_png(json.loads(text), scale=2)
    return image


@cache
def _script() -> str:
    """Vega and its start, bundled: that takes a second and 130 MB, so the result is kept in the user's cache."""
    key = hashlib.sha256(f"{version('vl-convert-python')} {_SCRIPT}".encode()).hexdigest()[:16]
    cached = user_cache_path("crossrec") / f"charts-{key}.js"
    if cached.is_file():
        return cached.read_text(encoding="utf-8")
    script: str = vl_convert.javascript_bundle(_SCRIPT)
    user_cache.keep(cached, lambda draft: draft.write_text(script, encoding="utf-8"))
    return script


def _section(section: PageSection) -> str:
    tables = "\n".join(_table(table) for table in section.tables)
    charts = "\n".join(_chart(chart) for chart in section.charts)
    return f"<section>\n<h2>{escape(section.title)}</h2>\n<p>{escape(section.text)}</p>\n{charts}\n{tables}\n</section>"


def _table(table: PageTable) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in table.columns)
    rows = "\n".join(
        f'<tr><th scope="row">{escape(label)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for label, *cells in table.rows
    )
    kind = ' class="words"' if table.words else ""
    caption = f"<caption>{escape(table.title)}</caption>"
    return f'<div class="table"><table{kind}>\n{caption}\n<tr>{head}</tr>\n{rows}\n</table></div>'


def _chart(chart: Chart) -> str:
    caption = f"<figcaption><b>{escape(chart.title)}</b>{escape(chart.text)}</figcaption>"
    return f'<figure>{caption}<div class="chart"></div></figure>'


def _spec(chart: Chart) -> dict[str, Any]:
    # A test compares the charts with Vega-Lite's schema, which takes longer than drawing them.
    return chart.drawing.to_dict(validate=False) | {"width": "container", "description": f"{chart.title}. {chart.text}"}


def _json(document: object) -> str:
    """JSON that cannot end the script element that contains it."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
