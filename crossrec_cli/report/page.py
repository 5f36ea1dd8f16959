"""The page that a team decides from: is it better than what we have, for which users, at what cost, how reliably?"""

from __future__ import annotations

import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.evaluation.segments import ALL
from crossrec_cli.report import appendix, charts, drift_section, quality_page, source_section
from crossrec_cli.report.facts import CROSSREC, Facts
from crossrec_cli.report.formatting import NONE, SMALL, figure, gain, join_names, measure
from crossrec_cli.report.render import Chart, PageSection, PageTable, render
from crossrec_cli.report.verdict import segments, verdict

SETTINGS = {"item_knn": "neighbours", "ials": "a purchase's weight"}
"""What a baseline's chosen number is, where it is not a λ."""
FEW = " (few)"
"""Marks a small segment."""
TITLE = "Does it recommend better?"
SOURCE_HELPS = "Does the source help?"
COMPARED = "Compared with other models"
BY_SEGMENT = "By segment"


def page(facts: Facts) -> str:
    """The page as HTML."""
    return render(TITLE, verdict(facts), sections(facts))


def sections(facts: Facts) -> list[PageSection]:
    """The page's sections, in order."""
    return [
        *([_transfer(facts.transfer)] if facts.transfer is not None else []),
        *([source_section.section(facts)] if facts.source_share.num_rows else []),
        _compared(facts),
        _by_segment(facts),
        appendix.scorer_shares(facts),
        appendix.calibration(facts),
        appendix.learning(facts),
        appendix.lists(facts),
        quality_page.section(facts.quality),
        *([drift_section.section(facts.drifts)] if facts.drifts else []),
        appendix.cost(facts),
        appendix.user_feedback(facts),
        *([appendix.example_users(facts)] if facts.shown.examples else []),
        appendix.sources(facts),
    ]


def _transfer(table: pa.Table) -> PageSection:
    """What source, texts and training add, by the controls."""
    rows = table.to_pylist()
    cells = [
        [
            f"{row[c.SEGMENT]}, {row[c.N]:,}{_few_mark(row[c.N])}",
            row[c.CONTROL],
            f"{row['ndcg@10']:.4f}",
            f"{row['hr@10']:.4f}",
            gain(row) if row[c.GAIN] else NONE,
        ]
        for row in rows
    ]
    ours = [row for row in rows if row[c.CONTROL] == CROSSREC]
    harmed = [row[c.SEGMENT] for row in ours if row[c.GAIN_HIGH] < 0]
    has_frozen = any(row[c.CONTROL] == "frozen texts" for row in rows)
    text = (
        "The controls have the same budget: without the source's purchases, without the texts, and without training "
        f"(without the scorer neural). Each figure is the mean of {rows[0][c.SEEDS]} seeds, user by user. "
        + ("Frozen texts are read by the language model before its adaptation. " if has_frozen else "")
        + (
            f"The source harms {join_names(harmed)}."
            if harmed
            else "There is no segment that the source harms significantly."
        )
    )
    values = {c.VALUE: c.GAIN, c.LOW: c.GAIN_LOW, c.HIGH: c.GAIN_HIGH, c.N: c.N}
    points = [
        charts.point(row[c.SEGMENT], CROSSREC, {name: row[column] for name, column in values.items()})
        for row in ours
        if row[c.N] >= SMALL
    ]
    columns = ["segment, users", "control", "NDCG@10", "HR@10", "gain (95 %)"]
    chart = Chart(
        "Transfer gain by segment",
        "Right of 0 the source helps.",
        charts.dots(points, "Gain in NDCG@10 over the target alone"),
    )
    return PageSection(SOURCE_HELPS, text, [PageTable("crossrec and its controls", columns, cells)], [chart])


def _compared(facts: Facts) -> PageSection:
    """Every model over all users."""
    figures, gains, ndcg = facts.figures, facts.gains, f"{measure(facts.ndcg)}@{facts.k}"
    models = sorted({model for _, model, _ in figures}, key=lambda model: -figures[ALL, model, facts.ndcg][c.VALUE])
    ranking = [name for name in dict.fromkeys(name for _, _, name in figures) if name not in appendix.LISTS]
    rows = [[model, *(f"{figures[ALL, model, name][c.VALUE]:.4f}" for name in ranking)] for model in models]
    gain_rows = [[model, gain(row), f"{row[c.P_HOLM]:.2g}"] for model, row in gains.items()]
    settings = next(each.summary["settings"] for each in facts.manifests if "settings" in each.summary)
    text = (
        f"{_candidates(facts)} for the same users. Each of these users then bought something new in the target. "
        f"Chosen on validation: {', '.join(_setting(*chosen) for chosen in settings.items()) or 'nothing'}. "
        f"An interval holds 95 % of 2,000 bootstrap samples of users. p is the p value of Wilcoxon's signed-rank test, "
        f"with Holm's correction for {len(gains)} comparisons."
    )
    points = [charts.point(model, model, figures[ALL, model, facts.ndcg]) for model in models]
    ends = [f"{row['label']}, {row['value']:.4f}" for row in (points[0], points[-1])]
    chart = Chart(f"{ndcg} of each model", f"From {ends[0]}, to {ends[1]}.", charts.dots(points, ndcg))
    tables = [
        PageTable(f"Test, lists of {facts.k}", ["model", *map(measure, ranking)], rows),
        PageTable(f"crossrec's gain in {ndcg}", ["over", "gain (95 %)", "p"], gain_rows),
    ]
    return PageSection(COMPARED, text, tables[: 1 + bool(gain_rows)], [chart])


def _candidates(facts: Facts) -> str:
    """What the models had to rank, as the start of a sentence."""
    if sampled := facts.evaluated.config.get("evaluate.candidates"):
        return f"All rank what was bought among {sampled:,} sampled items (which makes all figures larger)"
    if facts.evaluated.config.get("evaluate.negatives"):
        return "All rank what was bought among the items of evaluate.negatives (which makes all figures larger)"
    if "external" in facts.gains:
        return "All rank the target's items (external: only those in its lists)"
    return "All rank the same items"


def _setting(model: str, value: float) -> str:
    """A model's setting and its chosen value."""
    return f"{model} with {SETTINGS.get(model, 'λ')} {value:g}"


def _by_segment(facts: Facts) -> PageSection:
    """Crossrec and the best other model in each segment."""
    figures, ndcg = facts.figures, f"{measure(facts.ndcg)}@{facts.k}"
    rows, points = [], []
    for segment in segments(facts):
        ours = figures[segment, CROSSREC, facts.ndcg]
        best = max(facts.gains, key=lambda model: figures[segment, model, facts.ndcg][c.VALUE], default=CROSSREC)
        theirs = figures[segment, best, facts.ndcg]
        interval = f"{figure(ours[c.LOW], 4)} to {figure(ours[c.HIGH], 4)}"
        label = f"{segment}{_few_mark(ours[c.N])}"
        rows.append([label, f"{ours[c.N]:,}", figure(ours[c.VALUE], 4), interval, figure(theirs[c.VALUE], 4), best])
        if ours[c.N] >= SMALL:
            points += [
                charts.point(segment, model, figures[segment, model, facts.ndcg])
                for model in dict.fromkeys((best, CROSSREC))
            ]
    text = f"A segment of fewer than {SMALL} users is marked, and not in the chart: its figures are mostly chance."
    columns = ["segment", "users", CROSSREC, "95 %", "best other", "model"]
    caption = f"{len({row['label'] for row in points})} segments, some of them overlapping."
    title = "crossrec and the best other model, by segment"
    drawings = [Chart(title, caption, charts.dots(points, ndcg))] if points else []
    return PageSection(BY_SEGMENT, text, [PageTable(f"{ndcg} by segment", columns, rows)], drawings)


def _few_mark(users: int) -> str:
    return "" if users >= SMALL else FEW
