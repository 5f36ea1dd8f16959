"""The page that a team decides from: is it better than what we have, for which users, at what cost, how reliably?"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.evaluation.segments import ALL
from crossrec_cli.report import appendix, charts, quality_page
from crossrec_cli.report.facts import CROSSREC, Facts, Row
from crossrec_cli.report.formatting import NONE, SMALL, figure, gain, join_names, measure, tested
from crossrec_cli.report.render import Chart, PageSection, PageTable, render

SIGNIFICANT = 0.05
"""Differences with a p value below this are significant."""
SETTINGS = {"item_knn": "neighbours", "ials": "a purchase's weight"}
"""What a baseline's chosen number is, where it is not a λ."""
MAX_NAMED, MAX_CHARS = 3, 40
"""How many segments the verdict names, and with how many characters each."""
FEW = " (few)"
"""Marks a small segment."""
SAME = "The target is the whole catalogue, so source and target are the same items."
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
        _compared(facts),
        _by_segment(facts),
        appendix.scorer_shares(facts),
        appendix.calibration(facts),
        appendix.learning(facts),
        appendix.lists(facts),
        quality_page.section(facts.quality),
        appendix.cost(facts),
        appendix.user_feedback(facts),
        *([appendix.example_users(facts)] if facts.shown.examples else []),
        appendix.sources(facts),
    ]


def verdict(facts: Facts) -> str:
    """The answer, in a few sentences."""
    figures, gains = facts.figures, facts.gains
    ours = figures[ALL, CROSSREC, facts.ndcg]
    worse = [model for model, row in gains.items() if row[c.GAIN_HIGH] < 0 and row[c.P_HOLM] < SIGNIFICANT]
    unsure = [model for model, row in gains.items() if model not in worse and not _significant_gain(row)]
    sentences = []
    if worse:
        sentences.append(f"No: {join_names(worse)} {'is' if len(worse) == 1 else 'are'} better.")
    elif unsure:
        sentences.append(f"Not shown: the difference to {join_names(unsure)} may be chance.")
    elif gains:
        best = max(gains, key=lambda model: figures[ALL, model, facts.ndcg][c.VALUE])
        difference = gain(gains[best])
        several = f"all {len(gains)} others, by {difference} over the best of them, {best}"
        sentences.append(f"Yes: better than {several if len(gains) > 1 else f'{best}, by {difference}'}.")
    else:
        sentences.append("Not compared with any model: evaluate.baselines is empty.")
    name = f"{measure(facts.ndcg)}@{facts.k}"
    users = tested(facts.evaluated.summary) or f"{ours[c.N]:,} test users"
    sentences.append(f"{CROSSREC} reaches {name} {ours[c.VALUE]:.4f} over {users}.")
    sentences.append(SAME if facts.same_items else _transfer_verdict(facts))
    behind = [segment for segment in _segments(facts) if _is_behind(facts, segment, c.LOW, c.HIGH)]
    if behind:
        sentences.append(f"Another model is better for {_abridged(behind)}.")
    level = [segment for segment in _segments(facts) if segment not in behind]
    if lower := [segment for segment in level if _is_behind(facts, segment, c.VALUE, c.VALUE)]:
        sentences.append(f"Another model's mean is higher, perhaps by chance, for {_abridged(lower)}.")
    return " ".join(sentences)


def _abridged(segments: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    names = [name if len(name) <= MAX_CHARS else f"{name[:MAX_CHARS]}…" for name in segments[:MAX_NAMED]]
    return join_names(names + ([f"{len(segments) - MAX_NAMED} more"] if len(segments) > MAX_NAMED else []))


def _significant_gain(row: Row) -> bool:
    return bool(row[c.GAIN_LOW] > 0 and row[c.P_HOLM] < SIGNIFICANT)


def _segments(facts: Facts) -> list[str]:
    """The segments that have a case."""
    rows = {
        segment: row
        for (segment, model, metric), row in facts.figures.items()
        if (model, metric) == (CROSSREC, facts.ndcg)
    }
    return [segment for segment, row in rows.items() if segment != ALL and row[c.N]]


def _is_behind(facts: Facts, segment: str, theirs: str, own: str) -> bool:
    """Whether a figure of another model is above one of crossrec's, in a segment that is large enough to tell.

    Args:
        facts: the run's.
        segment: its name.
        theirs: the column of the other model's figure.
        own: the column of crossrec's.
    """
    ours = facts.figures[segment, CROSSREC, facts.ndcg]
    others = (facts.figures[segment, model, facts.ndcg] for model in facts.gains)
    return ours[c.N] >= SMALL and any(row[theirs] > ours[own] for row in others)


def _transfer_verdict(facts: Facts) -> str:
    if facts.transfer_is_stale:
        return f"The transfer gain is out of date ({facts.transfer_is_stale}); run 'crossrec transfer' again."
    if facts.transfer is None:
        return "Whether the source helps was not measured; 'crossrec transfer' measures it."
    row = next(row for row in facts.transfer.to_pylist() if row[c.SEGMENT] == ALL and row[c.CONTROL] == CROSSREC)
    if row[c.GAIN_LOW] > 0:
        return f"The source helps: {gain(row)}."
    return (
        f"The source harms: {gain(row)}."
        if row[c.GAIN_HIGH] < 0
        else f"It is unclear whether the source helps: {gain(row)}."
    )


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
    for segment in _segments(facts):
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
