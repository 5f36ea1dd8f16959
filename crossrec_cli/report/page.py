"""The page that a team decides from: is it better than what we have, for which users, at what cost, how reliably?"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.evaluation.segments import ALL
from crossrec_cli.report import appendix, charts, drift_section, quality_page, source_section
from crossrec_cli.report.facts import CROSSREC, Facts, Row
from crossrec_cli.report.formatting import NONE, SMALL, between, figure, gain, measure
from crossrec_cli.report.render import Chart, PageSection, PageTable, render
from crossrec_cli.report.translator import Translator
from crossrec_cli.report.verdict import segments, verdict

SETTINGS = {"item_knn": "{model} with neighbours {value:g}", "ials": "{model} with a purchase's weight {value:g}"}
"""A baseline with its chosen number, where that is not a λ."""
FEW = " (few)"
"""Marks a small segment."""
TITLE = "Does it recommend better?"
SOURCE_HELPS = "Does the source help?"
COMPARED = "Compared with other models"
BY_SEGMENT = "By segment"


def page(facts: Facts) -> str:
    """The page as HTML."""
    translate = facts.translate
    return render(translate(TITLE), verdict(facts), sections(facts), translate.language)


def sections(facts: Facts) -> list[PageSection]:
    """The page's sections, in order."""
    return [
        *([_transfer(facts.transfer, facts.translate)] if facts.transfer is not None else []),
        *([source_section.section(facts)] if facts.source_share.num_rows else []),
        _compared(facts),
        _by_segment(facts),
        appendix.scorer_shares(facts),
        appendix.calibration(facts),
        appendix.learning(facts),
        appendix.lists(facts),
        quality_page.section(facts.quality, facts.translate),
        *([drift_section.section(facts.drifts, facts.translate)] if facts.drifts else []),
        appendix.cost(facts),
        appendix.user_feedback(facts),
        *([appendix.example_users(facts)] if facts.shown.examples else []),
        appendix.sources(facts),
    ]


def _transfer(table: pa.Table, translate: Translator) -> PageSection:
    """What source, texts and training add, by the controls."""
    rows = table.to_pylist()
    cells = [
        [
            f"{row[c.SEGMENT]}, {row[c.N]:,}{_few_mark(row[c.N], translate)}",
            row[c.CONTROL],
            f"{row['ndcg@10']:.4f}",
            f"{row['hr@10']:.4f}",
            gain(row, translate) if row[c.GAIN] else NONE,
        ]
        for row in rows
    ]
    values = {c.VALUE: c.GAIN, c.LOW: c.GAIN_LOW, c.HIGH: c.GAIN_HIGH, c.N: c.N}
    points = [
        charts.point(row[c.SEGMENT], CROSSREC, {name: row[column] for name, column in values.items()})
        for row in rows
        if row[c.CONTROL] == CROSSREC and row[c.N] >= SMALL
    ]
    columns = ["segment, users", "control", "NDCG@10", "HR@10", "gain (95 %)"]
    chart = Chart(
        translate("Transfer gain by segment"),
        translate("Right of 0 the source helps."),
        charts.dots(points, translate("Gain in NDCG@10 over the target alone"), translate),
    )
    tables = [PageTable(translate("crossrec and its controls"), [*map(translate, columns)], cells)]
    return PageSection(translate(SOURCE_HELPS), _transfer_text(rows, translate), tables, [chart])


def _transfer_text(rows: Sequence[Row], translate: Translator) -> str:
    """What the controls are, and which segments the source harms."""
    controls = (
        "The controls have the same budget: without the source's purchases, without the texts, and without training "
        "(without the scorer neural). Each figure is the mean of {seeds} seeds, user by user."
    )
    frozen = "Frozen texts are read by the language model before its adaptation."
    harmed = [row[c.SEGMENT] for row in rows if row[c.CONTROL] == CROSSREC and row[c.GAIN_HIGH] < 0]
    return translate.sentences(
        [
            translate(controls, seeds=rows[0][c.SEEDS]),
            translate(frozen) if any(row[c.CONTROL] == "frozen texts" for row in rows) else "",
            translate("The source harms {segments}.", segments=translate.join(harmed))
            if harmed
            else translate("There is no segment that the source harms significantly."),
        ]
    )


def _compared(facts: Facts) -> PageSection:
    """Every model over all users."""
    figures, gains, translate = facts.figures, facts.gains, facts.translate
    ndcg = f"{measure(facts.ndcg, translate)}@{facts.k}"
    models = sorted({model for _, model, _ in figures}, key=lambda model: -figures[ALL, model, facts.ndcg][c.VALUE])
    ranking = [name for name in dict.fromkeys(name for _, _, name in figures) if name not in appendix.LISTS]
    rows = [[model, *(f"{figures[ALL, model, name][c.VALUE]:.4f}" for name in ranking)] for model in models]
    gain_rows = [[model, gain(row, translate), f"{row[c.P_HOLM]:.2g}"] for model, row in gains.items()]
    points = [charts.point(model, model, figures[ALL, model, facts.ndcg]) for model in models]
    first, last = points[0], points[-1]
    ends = {"first": first["label"], "high": first["value"], "last": last["label"], "low": last["value"]}
    chart = Chart(
        translate("{measure} of each model", measure=ndcg),
        translate("From {first}, {high:.4f}, to {last}, {low:.4f}.", **ends),
        charts.dots(points, ndcg, translate),
    )
    columns = [translate("model"), *(measure(name, translate) for name in ranking)]
    tables = [
        PageTable(translate("Test, lists of {k}", k=facts.k), columns, rows),
        PageTable(
            translate("crossrec's gain in {measure}", measure=ndcg),
            [translate("over"), translate("gain (95 %)"), "p"],
            gain_rows,
        ),
    ]
    return PageSection(translate(COMPARED), _compared_text(facts), tables[: 1 + bool(gain_rows)], [chart])


def _compared_text(facts: Facts) -> str:
    """What the models had to rank, their settings, and how they are compared."""
    translate = facts.translate
    settings = next(each.summary["settings"] for each in facts.manifests if "settings" in each.summary)
    chosen = [
        translate(SETTINGS.get(model, "{model} with λ {value:g}"), model=model, value=value)
        for model, value in settings.items()
    ]
    significance = (
        "An interval holds 95 % of 2,000 bootstrap samples of users. p is the p value of Wilcoxon's signed-rank test, "
        "with Holm's correction for {count} comparisons."
    )
    return translate.sentences(
        [
            _candidates(facts),
            translate("Each of these users then bought something new in the target."),
            translate(
                "Chosen on validation: {settings}.", settings=translate(", ").join(chosen) or translate("nothing")
            ),
            translate(significance, count=len(facts.gains)),
        ]
    )


def _candidates(facts: Facts) -> str:
    """What the models had to rank."""
    translate = facts.translate
    if sampled := facts.evaluated.config.get("evaluate.candidates"):
        return translate(
            "All rank what was bought among {count:,} sampled items (which makes all figures larger) for the same "
            "users.",
            count=sampled,
        )
    if facts.evaluated.config.get("evaluate.negatives"):
        return translate(
            "All rank what was bought among the items of evaluate.negatives (which makes all figures larger) for the "
            "same users."
        )
    if "external" in facts.gains:
        return translate("All rank the target's items (external: only those in its lists) for the same users.")
    return translate("All rank the same items for the same users.")


def _by_segment(facts: Facts) -> PageSection:
    """Crossrec and the best other model in each segment."""
    figures, translate = facts.figures, facts.translate
    ndcg = f"{measure(facts.ndcg, translate)}@{facts.k}"
    rows, points = [], []
    for segment in segments(facts):
        ours = figures[segment, CROSSREC, facts.ndcg]
        best = max(facts.gains, key=lambda model: figures[segment, model, facts.ndcg][c.VALUE], default=CROSSREC)
        theirs = figures[segment, best, facts.ndcg]
        interval = between(figure(ours[c.LOW], 4), figure(ours[c.HIGH], 4), translate)
        label = f"{segment}{_few_mark(ours[c.N], translate)}"
        rows.append([label, f"{ours[c.N]:,}", figure(ours[c.VALUE], 4), interval, figure(theirs[c.VALUE], 4), best])
        if ours[c.N] >= SMALL:
            points += [
                charts.point(segment, model, figures[segment, model, facts.ndcg])
                for model in dict.fromkeys((best, CROSSREC))
            ]
    text = "A segment of fewer than {small} users is marked, and not in the chart: its figures are mostly chance."
    columns = [translate("segment"), translate("users"), CROSSREC, "95 %", translate("best other"), translate("model")]
    caption = translate("{count} segments, some of them overlapping.", count=len({row["label"] for row in points}))
    title = translate("crossrec and the best other model, by segment")
    drawings = [Chart(title, caption, charts.dots(points, ndcg, translate))] if points else []
    tables = [PageTable(translate("{measure} by segment", measure=ndcg), columns, rows)]
    return PageSection(translate(BY_SEGMENT), translate(text, small=SMALL), tables, drawings)


def _few_mark(users: int, translate: Translator) -> str:
    return "" if users >= SMALL else translate(FEW)
