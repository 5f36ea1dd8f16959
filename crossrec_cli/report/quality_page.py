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
from crossrec_cli.report.translator import IN_ENGLISH, Translator

_TEXT = (
    "Look for rules that remove more than they should, months without data, and a few items with nearly all "
    "interactions."
)
_SHARED = "Where source and target share hardly any users, there is little to transfer."
_SAME = "The target is the whole catalogue: source and target are the same items."
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


def section(quality: pa.Table, translate: Translator = IN_ENGLISH) -> PageSection:
    """The measures as tables and charts, without those that are missing."""
    measures = _measures(quality)
    tables = [draw(measures, translate) for draw in (_domains, _kept, _removed, _catalogue, _identity)]
    charts = [
        draw(measures[name], translate) for name, draw in _CHARTS.items() if any(row.value for row in measures[name])
    ]
    text = translate.sentences([translate(_TEXT), translate(_SAME if _is_one(measures) else _SHARED)])
    return PageSection(translate("The data"), text, [table for table in tables if table.rows], charts)


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


def _domains(measures: _Measures, translate: Translator) -> PageTable:
    formats = dict.fromkeys(_COUNTED, _count) | {"density": _percent}
    values = {(name, row.label): row.value for name in formats for row in measures[name]}
    domains = list(dict.fromkeys(domain for _, domain in values))
    rows = [
        [translate.name(name), *(formats[name](values.get((name, domain))) for domain in domains)]
        for name in formats
        if measures[name]
    ]
    return PageTable(translate("Source and target"), ["", *map(translate.name, domains)], rows)


def _kept(measures: _Measures, translate: Translator) -> PageTable:
    rows = [_Row(row.label, name, row.value) for name in _COUNTED for row in measures[f"{name}_left"]]
    return _crossed(translate("Rows kept after each step"), translate("step"), rows, translate)


def _removed(measures: _Measures, translate: Translator) -> PageTable:
    return _crossed(translate("Rows removed by each rule"), translate("rule"), measures["removed"], translate)


def _crossed(title: str, corner: str, rows: Sequence[_Row], translate: Translator) -> PageTable:
    """A line for each label and a column for each ``other``, in order of first occurrence."""
    values = {(row.label, row.other): row.value for row in rows}
    others = list(dict.fromkeys(row.other for row in rows))
    labels = dict.fromkeys(row.label for row in rows)
    lines = [[label, *(_count(values.get((label, other))) for other in others)] for label in labels]
    columns = [translate("count") if other == _NONE else translate.name(other) for other in others]
    return PageTable(title, [corner, *columns], lines)


def _catalogue(measures: _Measures, translate: Translator) -> PageTable:
    rows = [row for row in measures["catalogue"] if row.value]
    return _crossed(translate("Items to check"), translate("items"), rows, translate)


def _identity(measures: _Measures, translate: Translator) -> PageTable:
    return _crossed(translate("Joined ids"), "", measures["identity"], translate)


def _popularity(rows: Sequence[_Row], translate: Translator) -> Chart:
    domains = list(dict.fromkeys(row.other for row in rows))
    text = translate.sentences(
        _head(domain, [row for row in rows if row.other == domain], translate) for domain in domains
    )
    scale = alt.Scale(domain=[translate.name(domain) for domain in domains])
    legend = alt.Legend(symbolType="stroke", symbolSize=300)
    unit_range, axis = alt.Scale(domain=[0, 1]), alt.Axis(format="%")
    items, interactions = translate("Share of the items"), translate("Share of the interactions")
    data = [{"domain": translate.name(row.other), "items": float(row.label), "interactions": row.value} for row in rows]
    drawing = (
        alt.Chart(alt.InlineData(values=data))
        .mark_line(point=True)
        .encode(
            x=alt.X("items:Q", title=translate("Share of the items, most bought first"), scale=unit_range, axis=axis),
            y=alt.Y("interactions:Q", title=interactions, scale=unit_range, axis=axis),
            color=alt.Color("domain:N", scale=scale, legend=legend),
            strokeDash=alt.StrokeDash("domain:N", scale=scale, legend=legend),  # for paper without colour
            tooltip=[
                alt.Tooltip("domain:N", title=translate("Domain")),
                alt.Tooltip("items:Q", title=items, format=".3~p"),
                alt.Tooltip("interactions:Q", title=interactions, format=".3~p"),
            ],
        )
    )
    return Chart(translate("Share of the interactions with the most bought items"), text, drawing)


def _head(domain: str, rows: Sequence[_Row], translate: Translator) -> str:
    """The first point in words, and the first with at least half of the interactions."""
    first, half = rows[0], next((row for row in rows if row.value >= 0.5), rows[-1])
    text = "In the {domain}, the most bought {items} of the items have {share} of the interactions."
    if half != first:
        text = (
            "In the {domain}, the most bought {items} of the items have {share} of the interactions, {more} of the "
            "items have {larger}."
        )
    return translate(
        text,
        domain=translate.name(domain),
        items=_percent(float(first.label)),
        share=_percent(first.value),
        more=_percent(float(half.label)),
        larger=_percent(half.value),
    )


def _shared(title: str, unit: str, rows: Sequence[_Row], translate: Translator) -> Chart:
    data, unit = _pairs(rows), translate(unit)
    width = 7 * max(len(_count(row.value)) for row in rows)  # pixels, of the longest figure
    base = alt.Chart(alt.InlineData(values=data), height=26 * len({row.label for row in rows})).encode(
        x=alt.X("other:N", sort=None, title=unit),
        y=alt.Y("label:N", sort=None, title=unit),
        tooltip=[
            alt.Tooltip("label:N", title=translate("First")),
            alt.Tooltip("other:N", title=translate("Second")),
            alt.Tooltip("value:Q", title=translate("Users of both"), format=","),
            alt.Tooltip("share:Q", title=translate("Share of the smaller"), format=".3~p"),
        ],
    )
    pale = alt.Scale(domain=[0, 1], range=[0.03, 0.55])  # figures on it stay readable, light and dark
    cells = base.mark_rect(fill="var(--series-1)").encode(
        fillOpacity=alt.FillOpacity("share:Q", scale=pale, legend=None)
    )
    figures = base.mark_text(opacity=alt.expr(f"bandwidth('x') < {width} ? 0 : 1")).encode(
        text=alt.Text("value:Q", format=",")
    )
    return Chart(translate(title), _most_and_least(data, translate), cells + figures)


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


def _most_and_least(data: Sequence[dict[str, Any]], translate: Translator) -> str:
    text = "A stronger colour is a larger share of the smaller one's users. The diagonal has all users of one."
    sentences = [translate(text)]
    if pairs := [row for row in data if row["label"] != row["other"]]:
        for sentence, choose in (
            ("Largest: {share}, {first} and {second}.", max),
            ("Smallest: {share}, {first} and {second}.", min),
        ):
            pair = choose(pairs, key=lambda row: row["share"])
            share = _percent(pair["share"])
            sentences.append(translate(sentence, share=share, first=pair["label"], second=pair["other"]))
    return translate.sentences(sentences)


def _per_period(rows: Sequence[_Row], translate: Translator) -> Chart:
    periods = sorted({row.label for row in rows if row.value})
    by_year = len(periods[0]) == len("2024")
    title, unit = ("Interactions in each year", "Year") if by_year else ("Interactions in each month", "Month")
    interactions, platforms = translate("Interactions"), list(dict.fromkeys(row.other for row in rows))
    named = by_year or translate is IN_ENGLISH  # Vega's own labels have the months' English names
    axis = alt.Undefined if named else alt.Axis(format="%Y-%m")
    data = [{"period": row.label, "platform": row.other, "interactions": row.value} for row in rows]
    drawing = (
        alt.Chart(alt.InlineData(values=data))
        .mark_bar()
        .encode(
            x=alt.X("period:T", timeUnit="utcyear" if by_year else "utcyearmonth", title=translate(unit), axis=axis),
            y=alt.Y("interactions:Q", title=interactions, axis=alt.Axis(format=",d")),
            color=alt.Color("platform:N", sort=platforms, legend=alt.Legend() if len(platforms) > 1 else None),
            tooltip=[
                alt.Tooltip("period:N", title=translate(unit)),
                alt.Tooltip("platform:N", title=translate("Platform")),
                alt.Tooltip("interactions:Q", title=interactions, format=","),
            ],
        )
    )
    return Chart(translate(title), _gaps(periods, by_year, translate), drawing)


def _gaps(periods: Sequence[str], by_year: bool, translate: Translator) -> str:
    numbers = [int(period[:4]) if by_year else 12 * int(period[:4]) + int(period[5:]) for period in periods]
    spanned = numbers[-1] - numbers[0] + 1
    if missing := spanned - len(numbers):
        text = (
            "From {first} to {last}, none in {missing} of {spanned} years."
            if by_year
            else "From {first} to {last}, none in {missing} of {spanned} months."
        )
        return translate(text, first=periods[0], last=periods[-1], missing=missing, spanned=spanned)
    text = "From {first} to {last}, some in every year." if by_year else "From {first} to {last}, some in every month."
    return translate(text, first=periods[0], last=periods[-1])


def _count(value: float | None) -> str:
    return _NONE if value is None else f"{value:,.0f}"


def _percent(share: float | None) -> str:
    return _NONE if share is None else f"{100 * share:.3g}%"


_CHARTS: dict[str, Callable[[Sequence[_Row], Translator], Chart]] = {
    "popularity": _popularity,
    "shared_users": partial(_shared, "Shared users, by category", "Category"),
    "shared_platform_users": partial(_shared, "Shared users, by platform", "Platform"),
    "per_period": _per_period,
}
