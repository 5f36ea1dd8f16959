"""Data quality: rows that cleaning removed and kept, interactions by time and item, users that groups share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import altair as alt
import pyarrow as pa
import pyarrow.compute as pc

from crossrec_cli.artifacts import columns as c
from crossrec_cli.evaluation.drift import Drift
from crossrec_cli.report import drift_section
from crossrec_cli.report.render import Chart, PageSection, PageTable, render

_TEXT = (
    "Look for rules that remove more than they should, months without data, and a few items with nearly all "
    "interactions."
)
_SHARED = " Where source and target share hardly any users, there is little to transfer."
_SAME = " The target is the whole catalogue: source and target are the same items."
_COUNTED = ("interactions", "users", "items")
_NONE = "–"


class _Row(NamedTuple):
    label: str
    other: str
    value: float


_Measures = dict[str, list[_Row]]


def page(quality: pa.Table, drift: Drift | None = None) -> str:
    """The measures as HTML, with the drift from the data before, if there were any."""
    changes = [] if drift is None else [drift_section.section([drift])]
    return render("Data quality", _lead(_measures(quality)), [section(quality), *changes])


def section(quality: pa.Table) -> PageSection:
    """The measures as tables and charts, without those that are missing."""
    measures = _measures(quality)
    tables = (_domains(measures), _kept(measures), _removed(measures), _catalogue(measures), _identity(measures))
    charts = [draw(measures[name]) for name, draw in _CHARTS.items() if any(row.value for row in measures[name])]
    return PageSection(
        "The data", _TEXT + (_SAME if _is_one(measures) else _SHARED), [table for table in tables if table.rows], charts
    )


def _is_one(measures: _Measures) -> bool:
    """Whether all items are the target's."""
    return [row.label for row in measures["items"]] == [c.TARGET]


def _measures(quality: pa.Table) -> _Measures:
    """The rows of each measure. Values of several platforms under one name are summed; undefined ones are skipped."""
    sums: dict[str, dict[tuple[str, str], float]] = defaultdict(lambda: defaultdict(float))
    for row in quality.filter(pc.is_finite(quality[c.VALUE])).to_pylist():
        sums[row[c.MEASURE]][row[c.LABEL] or _NONE, row[c.OTHER] or _NONE] += row[c.VALUE]
    rows = {name: [_Row(*key, value) for key, value in values.items()] for name, values in sums.items()}
    return defaultdict(list, rows)


def _lead(measures: _Measures) -> str:
    """How many interactions were kept, which rule removed most, and how many users source and target share."""
    sentences = []
    if steps := measures["interactions_left"]:
        share = _percent(steps[-1].value / steps[0].value) if steps[0].value else _NONE
        sentences.append(f"Of {_count(steps[0].value)} interactions, {_count(steps[-1].value)} were kept ({share}).")
    if removed := [row for row in measures["removed"] if row.other == "interactions" and row.value]:
        most = max(removed, key=lambda row: row.value)
        sentences.append(f"The rule that removed most is “{most.label}”: {_count(most.value)}.")
    users = {row.label: row.value for row in measures["users"]}
    if "both" in users and users.get(c.TARGET):
        share = _percent(users["both"] / users[c.TARGET])
        sentences.append(f"{share} of the target's users bought in the source too: {_count(users['both'])}.")
    return " ".join(sentences)


def _domains(measures: _Measures) -> PageTable:
    formats = dict.fromkeys(_COUNTED, _count) | {"density": _percent}
    values = {(name, row.label): row.value for name in formats for row in measures[name]}
    domains = list(dict.fromkeys(domain for _, domain in values))
    rows = [
        [name, *(formats[name](values.get((name, domain))) for domain in domains)] for name in formats if measures[name]
    ]
    return PageTable("Source and target", ["", *domains], rows)


def _kept(measures: _Measures) -> PageTable:
    rows = [_Row(row.label, name, row.value) for name in _COUNTED for row in measures[f"{name}_left"]]
    return _crossed("Rows kept after each step", "step", rows)


def _removed(measures: _Measures) -> PageTable:
    return _crossed("Rows removed by each rule", "rule", measures["removed"])


def _crossed(title: str, corner: str, rows: Sequence[_Row]) -> PageTable:
    """A line for each label and a column for each ``other``, in order of first occurrence."""
    values = {(row.label, row.other): row.value for row in rows}
    others = list(dict.fromkeys(row.other for row in rows))
    labels = dict.fromkeys(row.label for row in rows)
    lines = [[label, *(_count(values.get((label, other))) for other in others)] for label in labels]
    return PageTable(title, [corner, *("count" if other == _NONE else other for other in others)], lines)


def _catalogue(measures: _Measures) -> PageTable:
    return _crossed("Items to check", "items", [row for row in measures["catalogue"] if row.value])


def _identity(measures: _Measures) -> PageTable:
    return _crossed("Joined ids", "", measures["identity"])


def _popularity(rows: Sequence[_Row]) -> Chart:
    domains = list(dict.fromkeys(row.other for row in rows))
    text = " ".join(_head(domain, [row for row in rows if row.other == domain]) for domain in domains)
    scale, legend = alt.Scale(domain=domains), alt.Legend(symbolType="stroke", symbolSize=300)
    unit_range, axis = alt.Scale(domain=[0, 1]), alt.Axis(format="%")
    data = [{"domain": row.other, "items": float(row.label), "interactions": row.value} for row in rows]
    drawing = (
        alt.Chart(alt.InlineData(values=data))
        .mark_line(point=True)
        .encode(
            x=alt.X("items:Q", title="Share of the items, most bought first", scale=unit_range, axis=axis),
            y=alt.Y("interactions:Q", title="Share of the interactions", scale=unit_range, axis=axis),
            color=alt.Color("domain:N", scale=scale, legend=legend),
            strokeDash=alt.StrokeDash("domain:N", scale=scale, legend=legend),  # for paper without colour
            tooltip=[
                alt.Tooltip("domain:N", title="Domain"),
                alt.Tooltip("items:Q", title="Share of the items", format=".3~p"),
                alt.Tooltip("interactions:Q", title="Share of the interactions", format=".3~p"),
            ],
        )
    )
    return Chart("Share of the interactions with the most bought items", text, drawing)


def _head(domain: str, rows: Sequence[_Row]) -> str:
    """The first point in words, and the first with at least half of the interactions."""
    half = next((row for row in rows if row.value >= 0.5), rows[-1])
    first, *more = (
        f"{_percent(float(row.label))} of the items have {_percent(row.value)}"
        for row in dict.fromkeys([rows[0], half])
    )
    return ", ".join([f"In the {domain}, the most bought {first} of the interactions", *more]) + "."


def _shared(unit: str, rows: Sequence[_Row]) -> Chart:
    data = _pairs(rows)
    width = 7 * max(len(_count(row.value)) for row in rows)  # pixels, of the longest figure
    base = alt.Chart(alt.InlineData(values=data), height=26 * len({row.label for row in rows})).encode(
        x=alt.X("other:N", sort=None, title=unit.capitalize()),
        y=alt.Y("label:N", sort=None, title=unit.capitalize()),
        tooltip=[
            alt.Tooltip("label:N", title="First"),
            alt.Tooltip("other:N", title="Second"),
            alt.Tooltip("value:Q", title="Users of both", format=","),
            alt.Tooltip("share:Q", title="Share of the smaller", format=".3~p"),
        ],
    )
    pale = alt.Scale(domain=[0, 1], range=[0.03, 0.55])  # figures on it stay readable, light and dark
    cells = base.mark_rect(fill="var(--series-1)").encode(
        fillOpacity=alt.FillOpacity("share:Q", scale=pale, legend=None)
    )
    figures = base.mark_text(opacity=alt.expr(f"bandwidth('x') < {width} ? 0 : 1")).encode(
        text=alt.Text("value:Q", format=",")
    )
    return Chart(f"Shared users, by {unit}", _most_and_least(data), cells + figures)


def _pairs(rows: Sequence[_Row]) -> list[dict[str, Any]]:
    """Every pair, with 0 where it has no row, and with its share of the smaller one's users."""
    values = {(row.label, row.other): row.value for row in rows}
    names = list(dict.fromkeys(row.label for row in rows))
    data = []
    for label, other in product(names, names):
        value = values.get((label, other), 0.0)
        smaller = min(values.get((name, name), 0.0) for name in (label, other))
        data.append({"label": label, "other": other, "value": value, "share": value / smaller if smaller else 0.0})
    return data


def _most_and_least(data: Sequence[dict[str, Any]]) -> str:
    text = "A stronger colour is a larger share of the smaller one's users. The diagonal has all users of one."
    if pairs := [row for row in data if row["label"] != row["other"]]:
        most, least = (choose(pairs, key=lambda row: row["share"]) for choose in (max, min))
        text += f" Largest: {_percent(most['share'])}, {most['label']} and {most['other']}."
        text += f" Smallest: {_percent(least['share'])}, {least['label']} and {least['other']}."
    return text


def _per_period(rows: Sequence[_Row]) -> Chart:
    periods = sorted({row.label for row in rows if row.value})
    unit = "year" if len(periods[0]) == len("2024") else "month"
    platforms = list(dict.fromkeys(row.other for row in rows))
    data = [{"period": row.label, "platform": row.other, "interactions": row.value} for row in rows]
    drawing = (
        alt.Chart(alt.InlineData(values=data))
        .mark_bar()
        .encode(
            x=alt.X("period:T", timeUnit="utcyear" if unit == "year" else "utcyearmonth", title=unit.capitalize()),
            y=alt.Y("interactions:Q", title="Interactions", axis=alt.Axis(format=",d")),
            color=alt.Color("platform:N", sort=platforms, legend=alt.Legend() if len(platforms) > 1 else None),
            tooltip=[
                alt.Tooltip("period:N", title=unit.capitalize()),
                alt.Tooltip("platform:N", title="Platform"),
                alt.Tooltip("interactions:Q", title="Interactions", format=","),
            ],
        )
    )
    return Chart(f"Interactions in each {unit}", _gaps(periods, unit), drawing)


def _gaps(periods: Sequence[str], unit: str) -> str:
    numbers = [int(period[:4]) if unit == "year" else 12 * int(period[:4]) + int(period[5:]) for period in periods]
    spanned = numbers[-1] - numbers[0] + 1
    missing = spanned - len(numbers)
    gaps = f"none in {missing} of {spanned} {unit}s" if missing else f"some in every {unit}"
    return f"From {periods[0]} to {periods[-1]}, {gaps}."


def _count(value: float | None) -> str:
    return _NONE if value is None else f"{value:,.0f}"


def _percent(share: float | None) -> str:
    return _NONE if share is None else f"{100 * share:.3g}%"


_CHARTS: dict[str, Callable[[Sequence[_Row]], Chart]] = {
    "popularity": _popularity,
    "shared_users": partial(_shared, "category"),
    "shared_platform_users": partial(_shared, "platform"),
    "per_period": _per_period,
}
