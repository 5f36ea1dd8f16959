"""The evaluation page's drawings."""

from __future__ import annotations

import math
from collections.abc import Sequence

import altair as alt

from crossrec_cli.artifacts import columns as c
from crossrec_cli.report.facts import CROSSREC, Row
from crossrec_cli.report.render import Chart
from crossrec_cli.report.translator import Translator

OTHERS = "others"
_MARGIN = 1.25
"""How far a logarithmic axis reaches beyond its data."""


def point(label: str, model: str, row: Row) -> Row:
    """A row of metrics.parquet as something to draw."""
    return {
        "label": label,
        "value": row[c.VALUE],
        "low": row[c.LOW],
        "high": row[c.HIGH],
        "series": CROSSREC if model == CROSSREC else OTHERS,
        "model": model,
        "n": row[c.N],
    }


def _with_series(points: Sequence[Row], translate: Translator) -> list[Row]:
    """The points with the series in the page's language, as the legend shows it."""
    return [row | {"series": translate.name(row["series"])} for row in points]


def _series(translate: Translator) -> alt.Scale:
    return alt.Scale(domain=[CROSSREC, translate(OTHERS)])


def dots(points: Sequence[Row], title: str, translate: Translator) -> alt.LayerChart:
    """A dot and its interval for each point, a line for each label, in the order given."""
    finite = [row for row in points if all(math.isfinite(row[name]) for name in ("value", "low", "high"))]
    data, series = _with_series(finite, translate), _series(translate)
    lines = list(dict.fromkeys(row["label"] for row in data))
    legend = alt.Legend() if len({row["series"] for row in data}) > 1 else None
    doubled = len(data) > len(lines)
    base = alt.Chart(alt.InlineData(values=data), height=(34 if doubled else 26) * max(len(lines), 1)).encode(
        y=alt.Y("label:N", sort=lines, title=None, axis=alt.Axis(labelLimit=170)),
        color=alt.Color("series:N", scale=series, legend=legend),
        tooltip=[
            alt.Tooltip("label:N", title=translate("Name")),
            alt.Tooltip("model:N", title=translate("Model")),
            alt.Tooltip("value:Q", title=title, format=".4f"),
            alt.Tooltip("low:Q", title=translate("Interval from"), format=".4f"),
            alt.Tooltip("high:Q", title=translate("to"), format=".4f"),
            alt.Tooltip("n:Q", title=translate("Users"), format=","),
        ],
    )
    if doubled:  # two dots of a line are drawn next to each other
        base = base.encode(
            yOffset=alt.YOffset("series:N", scale=alt.Scale(domain=[CROSSREC, translate(OTHERS)], paddingOuter=0.5))
        )
    rules = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=title), x2="high:Q")
    shape = alt.Shape("series:N", scale=series, legend=legend)  # for paper without colour
    marks = base.mark_point(filled=True, size=70, opacity=1).encode(x="value:Q", shape=shape)
    drawing: alt.LayerChart = rules + marks
    if doubled:  # the other model differs from line to line
        named = base.transform_filter(f"datum.series == '{translate(OTHERS)}'").mark_text(align="left", dx=6)
        drawing += named.encode(x="high:Q", text="model:N", color=alt.value("var(--muted)"))
    return drawing


def curve(data: Sequence[Row], title: str, translate: Translator) -> alt.Chart:
    """``value`` by ``epoch``."""
    drawing: alt.Chart = alt.Chart(alt.InlineData(values=list(data)), height=180).mark_line(
        point=True, color="var(--series-1)"
    )
    return drawing.encode(
        x=alt.X("epoch:Q", title=translate("Epoch"), axis=alt.Axis(format="d", tickMinStep=1)),
        y=alt.Y("value:Q", title=title, scale=alt.Scale(zero=False)),
        tooltip=[
            alt.Tooltip("epoch:Q", title=translate("Epoch")),
            alt.Tooltip("value:Q", title=title, format=".4f"),
        ],
    )


def shares(data: Sequence[Row], title: str, translate: Translator) -> alt.Chart:
    """A bar of all ``part``s for each ``label``, both in the order given."""
    labels, parts = (list(dict.fromkeys(row[name] for row in data)) for name in ("label", "part"))
    drawing: alt.Chart = alt.Chart(alt.InlineData(values=list(data)), height=40 * len(labels)).mark_bar(
        stroke="var(--paper)"
    )
    return drawing.encode(
        x=alt.X("share:Q", title=title, axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
        y=alt.Y("label:N", sort=labels, title=None, axis=alt.Axis(labelLimit=170)),
        color=alt.Color("part:N", scale=alt.Scale(domain=parts), legend=alt.Legend()),
        order=alt.Order("order:Q"),
        tooltip=[
            alt.Tooltip("label:N", title=translate("Users")),
            alt.Tooltip("part:N", title=translate("Scorer")),
            alt.Tooltip("share:Q", title=title, format=".1%"),
        ],
    )


def reach(data: Sequence[Row], measure: str, translate: Translator) -> alt.LayerChart:
    """Each model's ``value`` by its ``coverage``, named."""
    data, series = _with_series(data, translate), _series(translate)
    base = alt.Chart(alt.InlineData(values=data), height=260).encode(
        x=alt.X("coverage:Q", title=translate("Coverage"), axis=alt.Axis(format="%"), scale=alt.Scale(nice=True)),
        y=alt.Y("value:Q", title=measure),
        tooltip=[
            alt.Tooltip("model:N", title=translate("Model")),
            alt.Tooltip("coverage:Q", title=translate("Coverage"), format=".1%"),
            alt.Tooltip("value:Q", title=measure, format=".4f"),
        ],
    )
    legend = alt.Legend()
    color, shape = (
        alt.Color("series:N", scale=series, legend=legend),
        alt.Shape("series:N", scale=series, legend=legend),
    )
    marks = base.mark_point(filled=True, size=80, opacity=1).encode(color=color, shape=shape)
    names = base.mark_text(align="left", dx=8, dy=-6).encode(text="model:N", color=alt.value("var(--ink)"))
    drawing: alt.LayerChart = marks + names
    return drawing


def reliability(bins: Sequence[Row], translate: Translator) -> Chart:
    """Share bought by score, both logarithmic, and where they agree."""
    shown = [row for row in bins if row["predicted"] > 0 and row["observed"] > 0]
    both = [row[name] for row in shown for name in ("predicted", "observed")]
    ends = [min(both) / _MARGIN, max(both) * _MARGIN]
    steps = [step * 10.0**-power for power in range(8) for step in (1, 3) if ends[0] <= step * 10.0**-power <= ends[1]]
    scale, axis = alt.Scale(type="log", domain=ends), alt.Axis(format=".2~%", values=steps)
    agree = [{"predicted": end, "observed": end} for end in ends]
    line = alt.Chart(alt.InlineData(values=agree)).mark_line(strokeDash=[4, 4], color="var(--muted)")
    marks = alt.Chart(alt.InlineData(values=shown), height=300).mark_line(
        point=alt.OverlayMarkDef(filled=True, size=60), color="var(--series-1)"
    )
    x = alt.X("predicted:Q", title=translate("Score"), scale=scale, axis=axis)
    y = alt.Y("observed:Q", title=translate("Share bought"), scale=scale, axis=axis)
    tooltip = [
        alt.Tooltip("predicted:Q", title=translate("Score"), format=".3%"),
        alt.Tooltip("observed:Q", title=translate("Bought"), format=".3%"),
        alt.Tooltip("pairs:Q", title=translate("Pairs"), format=","),
    ]
    farthest = max(shown, key=lambda row: abs(math.log(row["predicted"] / row["observed"])))
    text = (
        "On the dashed line the score is equal to the share bought. Farthest from it: score {score:.3%}, {share:.3%} "
        "bought."
    )
    return Chart(
        translate("Calibration: score and share bought"),
        translate(text, score=farthest["predicted"], share=farthest["observed"]),
        line.encode(x=x, y=y) + marks.encode(x=x, y=y, tooltip=tooltip),
    )
