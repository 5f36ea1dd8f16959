"""The evaluation page's drawings."""

from __future__ import annotations

import math
from collections.abc import Sequence

import altair as alt

from crossrec_cli.artifacts import columns as c
from crossrec_cli.report.facts import CROSSREC, Row
from crossrec_cli.report.render import Chart

OTHERS = "others"
_WHO = alt.Scale(domain=[CROSSREC, OTHERS])
_ROOM = 1.25
"""How far a logarithmic axis reaches beyond its data."""


def point(label: str, model: str, row: Row) -> Row:
    """A row of metrics.parquet as something to draw."""
    return {
        "label": label,
        "value": row[c.VALUE],
        "low": row[c.LOW],
        "high": row[c.HIGH],
        "who": CROSSREC if model == CROSSREC else OTHERS,
        "model": model,
        "n": row[c.N],
    }


def dots(points: Sequence[Row], title: str) -> alt.LayerChart:
    """A dot and its interval for each point, a line for each label, in the order given."""
    data = [row for row in points if all(math.isfinite(row[name]) for name in ("value", "low", "high"))]
    lines = list(dict.fromkeys(row["label"] for row in data))
    legend = alt.Legend() if len({row["who"] for row in data}) > 1 else None
    doubled = len(data) > len(lines)
    base = alt.Chart(alt.InlineData(values=data), height=(34 if doubled else 26) * max(len(lines), 1)).encode(
        y=alt.Y("label:N", sort=lines, title=None, axis=alt.Axis(labelLimit=170)),
        color=alt.Color("who:N", scale=_WHO, legend=legend),
        tooltip=[
            alt.Tooltip("label:N", title="What"),
            alt.Tooltip("model:N", title="By"),
            alt.Tooltip("value:Q", title=title, format=".4f"),
            alt.Tooltip("low:Q", title="Interval from", format=".4f"),
            alt.Tooltip("high:Q", title="to", format=".4f"),
            alt.Tooltip("n:Q", title="Users", format=","),
        ],
    )
    if doubled:  # two in a line stand beside each other
        base = base.encode(yOffset=alt.YOffset("who:N", scale=alt.Scale(domain=[CROSSREC, OTHERS], paddingOuter=0.5)))
    rules = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=title), x2="high:Q")
    shape = alt.Shape("who:N", scale=_WHO, legend=legend)  # for paper without colour
    marks = base.mark_point(filled=True, size=70, opacity=1).encode(x="value:Q", shape=shape)
    drawing: alt.LayerChart = rules + marks
    if doubled:  # the other is another one in each line
        named = base.transform_filter(f"datum.who == '{OTHERS}'").mark_text(align="left", dx=6)
        drawing += named.encode(x="high:Q", text="model:N", color=alt.value("var(--muted)"))
    return drawing


def curve(data: Sequence[Row], what: str) -> alt.Chart:
    """``value`` by ``epoch``."""
    drawing: alt.Chart = alt.Chart(alt.InlineData(values=list(data)), height=180).mark_line(
        point=True, color="var(--series-1)"
    )
    return drawing.encode(
        x=alt.X("epoch:Q", title="Epoch", axis=alt.Axis(format="d", tickMinStep=1)),
        y=alt.Y("value:Q", title=what, scale=alt.Scale(zero=False)),
        tooltip=[
            alt.Tooltip("epoch:Q", title="Epoch"),
            alt.Tooltip("value:Q", title=what, format=".4f"),
        ],
    )


def shares(data: Sequence[Row], what: str) -> alt.Chart:
    """A bar of all ``part``s for each ``label``, both in the order given."""
    labels, parts = (list(dict.fromkeys(row[name] for row in data)) for name in ("label", "part"))
    drawing: alt.Chart = alt.Chart(alt.InlineData(values=list(data)), height=40 * len(labels)).mark_bar(
        stroke="var(--paper)"
    )
    return drawing.encode(
        x=alt.X("share:Q", title=what, axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
        y=alt.Y("label:N", sort=labels, title=None, axis=alt.Axis(labelLimit=170)),
        color=alt.Color("part:N", scale=alt.Scale(domain=parts), legend=alt.Legend()),
        order=alt.Order("place:Q"),
        tooltip=[
            alt.Tooltip("label:N", title="Users"),
            alt.Tooltip("part:N", title="Scorer"),
            alt.Tooltip("share:Q", title=what, format=".1%"),
        ],
    )


def reach(data: Sequence[Row], measure: str) -> alt.LayerChart:
    """Each model's ``value`` by its ``coverage``, named."""
    base = alt.Chart(alt.InlineData(values=list(data)), height=260).encode(
        x=alt.X("coverage:Q", title="Coverage", axis=alt.Axis(format="%"), scale=alt.Scale(nice=True)),
        y=alt.Y("value:Q", title=measure),
        tooltip=[
            alt.Tooltip("model:N", title="Model"),
            alt.Tooltip("coverage:Q", title="Coverage", format=".1%"),
            alt.Tooltip("value:Q", title=measure, format=".4f"),
        ],
    )
    legend = alt.Legend()
    color, shape = alt.Color("who:N", scale=_WHO, legend=legend), alt.Shape("who:N", scale=_WHO, legend=legend)
    marks = base.mark_point(filled=True, size=80, opacity=1).encode(color=color, shape=shape)
    names = base.mark_text(align="left", dx=8, dy=-6).encode(text="model:N", color=alt.value("var(--ink)"))
    drawing: alt.LayerChart = marks + names
    return drawing


def reliability(bins: Sequence[Row]) -> Chart:
    """Share bought by score, both logarithmic, and where they agree."""
    shown = [row for row in bins if row["predicted"] > 0 and row["observed"] > 0]
    both = [row[name] for row in shown for name in ("predicted", "observed")]
    ends = [min(both) / _ROOM, max(both) * _ROOM]
    steps = [step * 10.0**-power for power in range(8) for step in (1, 3) if ends[0] <= step * 10.0**-power <= ends[1]]
    scale, axis = alt.Scale(type="log", domain=ends), alt.Axis(format=".2~%", values=steps)
    agree = [{"predicted": end, "observed": end} for end in ends]
    line = alt.Chart(alt.InlineData(values=agree)).mark_line(strokeDash=[4, 4], color="var(--muted)")
    marks = alt.Chart(alt.InlineData(values=shown), height=300).mark_line(
        point=alt.OverlayMarkDef(filled=True, size=60), color="var(--series-1)"
    )
    x = alt.X("predicted:Q", title="Score", scale=scale, axis=axis)
    y = alt.Y("observed:Q", title="Share bought", scale=scale, axis=axis)
    told = [
        alt.Tooltip("predicted:Q", title="Score", format=".3%"),
        alt.Tooltip("observed:Q", title="Bought", format=".3%"),
        alt.Tooltip("pairs:Q", title="Pairs", format=","),
    ]
    off = max(shown, key=lambda row: abs(math.log(row["predicted"] / row["observed"])))
    text = (
        "On the dashed line a score is what it says. Farthest from it: "
        f"{off['predicted']:.3%} said, {off['observed']:.3%} bought."
    )
    return Chart("Scores and what was bought", text, line.encode(x=x, y=y) + marks.encode(x=x, y=y, tooltip=told))
