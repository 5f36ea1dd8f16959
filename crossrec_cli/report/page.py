"""The page that a team decides from: is it better than what we have, for whom, at what cost, and can I believe it?"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.evaluation.segments import ALL
from crossrec_cli.report import appendix, charts, quality_page
from crossrec_cli.report.facts import CROSSREC, Facts, Row
from crossrec_cli.report.formatting import NONE, SMALL, figure, gain, listed, measure, tested
from crossrec_cli.report.render import Chart, PageSection, PageTable, render

BELIEVED = 0.05
"""P values below this are taken for more than luck."""
SETTINGS = {"item_knn": "neighbours", "ials": "a purchase's weight"}
"""What the number that was chosen for a baseline sets; for the others it is a λ."""
NAMED, LONGEST = 3, 40
"""So many groups are named in the verdict, with so many characters each."""
FEW = " (few)"
"""Marks a small segment."""
SAME = "The target is the whole catalogue, so source and target are the same items."
TITLE = "Does it recommend better?"


def page(facts: Facts) -> str:
    """The text of an HTML file."""
    return render(TITLE, verdict(facts), sections(facts))


def sections(facts: Facts) -> list[PageSection]:
    """The page's, in order."""
    return [
        *([_transfer(facts.transfer)] if facts.transfer is not None else []),
        _beside_others(facts),
        _segments(facts),
        appendix.what_counts(facts),
        appendix.scores(facts),
        appendix.learning(facts),
        appendix.lists(facts),
        quality_page.section(facts.quality),
        appendix.cost(facts),
        appendix.satisfaction(facts),
        *([appendix.people(facts)] if facts.shown.examples else []),
        appendix.made_from(facts),
    ]


def verdict(facts: Facts) -> str:
    """The answer, in a few sentences."""
    figures, gains = facts.figures, facts.gains
    ours = figures[ALL, CROSSREC, facts.ndcg]
    worse = [model for model, row in gains.items() if row[c.GAIN_HIGH] < 0 and row[c.P_HOLM] < BELIEVED]
    unsure = [model for model, row in gains.items() if model not in worse and not _sure(row)]
    sentences = []
    if worse:
        sentences.append(f"No: {listed(worse)} {'is' if len(worse) == 1 else 'are'} better.")
    elif unsure:
        sentences.append(f"Not shown: the difference to {listed(unsure)} may be chance.")
    elif gains:
        best = max(gains, key=lambda model: figures[ALL, model, facts.ndcg][c.VALUE])
        more = gain(gains[best])
        several = f"all {len(gains)} others, by {more} over the best of them, {best}"
        sentences.append(f"Yes: better than {several if len(gains) > 1 else f'{best}, by {more}'}.")
    else:
        sentences.append("It was compared with nothing: evaluate.baselines names no model.")
    name = f"{measure(facts.ndcg)}@{facts.k}"
    users = tested(facts.evaluated.summary) or f"{ours[c.N]:,} test users"
    sentences.append(f"{CROSSREC} reaches {name} {ours[c.VALUE]:.4f} over {users}.")
    sentences.append(SAME if facts.same_items else _transfer_verdict(facts))
    weak = [part for part in _parts(facts) if _behind(facts, part, c.LOW, c.HIGH)]
    if weak:
        sentences.append(f"Look at {_some(weak)}: there another model is ahead.")
    if behind_there := [part for part in _parts(facts) if part not in weak and _behind(facts, part, c.VALUE, c.VALUE)]:
        sentences.append(f"Another model's mean is higher, perhaps by chance, for {_some(behind_there)}.")
    return " ".join(sentences)


def _some(parts: Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    names = [part if len(part) <= LONGEST else f"{part[:LONGEST]}…" for part in parts[:NAMED]]
    return listed(names + ([f"{len(parts) - NAMED} more"] if len(parts) > NAMED else []))


def _sure(row: Row) -> bool:
    return bool(row[c.GAIN_LOW] > 0 and row[c.P_HOLM] < BELIEVED)


def _parts(facts: Facts) -> list[str]:
    """The segments that have a case."""
    rows = {
        part: row for (part, model, metric), row in facts.figures.items() if (model, metric) == (CROSSREC, facts.ndcg)
    }
    return [part for part, row in rows.items() if part != ALL and row[c.N]]


def _behind(facts: Facts, part: str, theirs: str, own: str) -> bool:
    """Whether a figure of another model lies above one of crossrec's, in a segment that is large enough to tell."""
    ours = facts.figures[part, CROSSREC, facts.ndcg]
    others = (facts.figures[part, model, facts.ndcg] for model in facts.gains)
    return ours[c.N] >= SMALL and any(row[theirs] > ours[own] for row in others)


def _transfer_verdict(facts: Facts) -> str:
    if facts.transfer_is_stale:
        return f"Whether the source helps is out of date ({facts.transfer_is_stale}); run 'crossrec transfer' again."
    if facts.transfer is None:
        return "Whether the source helps was not measured; 'crossrec transfer' does that."
    row = next(row for row in facts.transfer.to_pylist() if row[c.SEGMENT] == ALL and row[c.CONTROL] == CROSSREC)
    if row[c.GAIN_LOW] > 0:
        return f"The source helps: {gain(row)}."
    return (
        f"The source harms: {gain(row)}." if row[c.GAIN_HIGH] < 0 else f"Whether the source helps is open: {gain(row)}."
    )


def _transfer(table: pa.Table) -> PageSection:
    """What source and texts are worth, by the controls."""
    rows = table.to_pylist()
    told = [
        [
            f"{row[c.SEGMENT]}, {row[c.N]:,}{_few(row[c.N])}",
            row[c.CONTROL],
            f"{row['ndcg@10']:.4f}",
            f"{row['hr@10']:.4f}",
            gain(row) if row[c.GAIN] else NONE,
        ]
        for row in rows
    ]
    ours = [row for row in rows if row[c.CONTROL] == CROSSREC]
    harmed = [row[c.SEGMENT] for row in ours if row[c.GAIN_HIGH] < 0]
    read_before = any(row[c.CONTROL] == "frozen texts" for row in rows)
    text = (
        "The same with the same budget, without the source's purchases, without the texts, and without training "
        f"(without the scorer neural); the mean of {rows[0][c.SEEDS]} seeds, user by user. "
        + ("Frozen texts are read by the language model as it came. " if read_before else "")
        + (f"The source harms {listed(harmed)}." if harmed else "The source harms no group of users beyond doubt.")
    )
    values = {c.VALUE: c.GAIN, c.LOW: c.GAIN_LOW, c.HIGH: c.GAIN_HIGH, c.N: c.N}
    points = [
        charts.point(row[c.SEGMENT], CROSSREC, {name: row[column] for name, column in values.items()})
        for row in ours
        if row[c.N] >= SMALL
    ]
    columns = ["users", "control", "NDCG@10", "HR@10", "gain (95 %)"]
    chart = Chart(
        "The gain by users",
        "Right of 0 the source helps.",
        charts.dots(points, "Gain in NDCG@10 over the target alone"),
    )
    return PageSection("Does the source help?", text, [PageTable("crossrec and its controls", columns, told)], [chart])


def _beside_others(facts: Facts) -> PageSection:
    """Every model over all users."""
    figures, gains, ndcg = facts.figures, facts.gains, f"{measure(facts.ndcg)}@{facts.k}"
    models = sorted({model for _, model, _ in figures}, key=lambda model: -figures[ALL, model, facts.ndcg][c.VALUE])
    ranking = [name for name in dict.fromkeys(name for _, _, name in figures) if name not in appendix.LISTS]
    rows = [[model, *(f"{figures[ALL, model, name][c.VALUE]:.4f}" for name in ranking)] for model in models]
    told = [[model, gain(row), f"{row[c.P_HOLM]:.2g}"] for model, row in gains.items()]
    settings = next(made.summary["settings"] for made in facts.manifests if "settings" in made.summary)
    text = (
        f"{_ranked(facts)} for the same users, who have each bought something new in the target since. "
        f"Chosen on validation: {', '.join(_setting(*chosen) for chosen in settings.items()) or 'nothing'}. "
        f"An interval holds 95 % of 2,000 bootstrap samples of users; p is of Wilcoxon's signed-rank test, raised "
        f"after Holm for the number of others, {len(gains)}."
    )
    points = [charts.point(model, model, figures[ALL, model, facts.ndcg]) for model in models]
    ends = [f"{row['label']}, {row['value']:.4f}" for row in (points[0], points[-1])]
    chart = Chart(f"{ndcg} of each model", f"From {ends[0]}, to {ends[1]}.", charts.dots(points, ndcg))
    tables = [
        PageTable(f"Test, lists of {facts.k}", ["model", *map(measure, ranking)], rows),
        PageTable(f"crossrec's gain in {ndcg}", ["over", "gain (95 %)", "p"], told),
    ]
    return PageSection("Beside other ways", text, tables[: 1 + bool(told)], [chart])


def _ranked(facts: Facts) -> str:
    """What the models had to rank."""
    if sampled := facts.evaluated.config.get("evaluate.candidates"):
        return f"All rank what was bought among {sampled:,} sampled items, which flatters all of them,"
    if facts.evaluated.config.get("evaluate.negatives"):
        return "All rank what was bought among the items that evaluate.negatives gives, which flatters all of them,"
    if "external" in facts.gains:
        return "All rank the target's items, external as far as its lists go,"
    return "All rank the same items"


def _setting(model: str, value: float) -> str:
    """What was chosen for a model, and of what."""
    return f"{model} with {SETTINGS.get(model, 'λ')} {value:g}"


def _segments(facts: Facts) -> PageSection:
    """Crossrec and the best other model in each part of the users."""
    figures, ndcg = facts.figures, f"{measure(facts.ndcg)}@{facts.k}"
    rows, points = [], []
    for part in _parts(facts):
        ours = figures[part, CROSSREC, facts.ndcg]
        best = max(facts.gains, key=lambda model: figures[part, model, facts.ndcg][c.VALUE], default=CROSSREC)
        theirs = figures[part, best, facts.ndcg]
        within = f"{figure(ours[c.LOW], 4)} to {figure(ours[c.HIGH], 4)}"
        label = f"{part}{_few(ours[c.N])}"
        rows.append([label, f"{ours[c.N]:,}", figure(ours[c.VALUE], 4), within, figure(theirs[c.VALUE], 4), best])
        if ours[c.N] >= SMALL:
            points += [
                charts.point(part, model, figures[part, model, facts.ndcg]) for model in dict.fromkeys((best, CROSSREC))
            ]
    text = (
        f"A segment of fewer than {SMALL} users is marked: its figures are mostly chance, and the chart leaves it out."
    )
    columns = ["users", "number", CROSSREC, "95 %", "best other", "which"]
    lead = f"{len({row['label'] for row in points})} groups, some of them overlapping."
    drawn = [Chart("crossrec and the best other by users", lead, charts.dots(points, ndcg))] if points else []
    return PageSection("For whom?", text, [PageTable(f"{ndcg} by users", columns, rows)], drawn)


def _few(number: int) -> str:
    return "" if number >= SMALL else FEW
