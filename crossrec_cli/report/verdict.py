"""The evaluation's answer in a few sentences."""

from __future__ import annotations

from collections.abc import Sequence

from crossrec_cli.artifacts import columns as c
from crossrec_cli.report.facts import CROSSREC, Facts, Row
from crossrec_cli.report.formatting import SMALL, gain, join_names, measure, tested

SIGNIFICANT = 0.05
"""Differences with a p value below this are significant."""
MAX_NAMED, MAX_CHARS = 3, 40
"""How many segments the verdict names, and with how many characters each."""
SAME = "The target is the whole catalogue, so source and target are the same items."


def verdict(facts: Facts) -> str:
    """The answer, in a few sentences."""
    figures, gains = facts.figures, facts.gains
    ours = figures[c.ALL, CROSSREC, facts.ndcg]
    worse = [model for model, row in gains.items() if row[c.GAIN_HIGH] < 0 and row[c.P_HOLM] < SIGNIFICANT]
    unsure = [model for model, row in gains.items() if model not in worse and not _significant_gain(row)]
    sentences = []
    if worse:
        sentences.append(f"No: {join_names(worse)} {'is' if len(worse) == 1 else 'are'} better.")
    elif unsure:
        sentences.append(f"Not shown: the difference to {join_names(unsure)} may be chance.")
    elif gains:
        best = max(gains, key=lambda model: figures[c.ALL, model, facts.ndcg][c.VALUE])
        difference = gain(gains[best])
        several = f"all {len(gains)} others, by {difference} over the best of them, {best}"
        sentences.append(f"Yes: better than {several if len(gains) > 1 else f'{best}, by {difference}'}.")
    else:
        sentences.append("Not compared with any model: evaluate.baselines is empty.")
    name = f"{measure(facts.ndcg)}@{facts.k}"
    users = tested(facts.evaluated.summary) or f"{ours[c.N]:,} test users"
    sentences.append(f"{CROSSREC} reaches {name} {ours[c.VALUE]:.4f} over {users}.")
    sentences.append(SAME if facts.same_items else _transfer_verdict(facts))
    behind = [segment for segment in segments(facts) if _is_behind(facts, segment, c.LOW, c.HIGH)]
    if behind:
        sentences.append(f"Another model is better for {_abridged(behind)}.")
    level = [segment for segment in segments(facts) if segment not in behind]
    if lower := [segment for segment in level if _is_behind(facts, segment, c.VALUE, c.VALUE)]:
        sentences.append(f"Another model's mean is higher, perhaps by chance, for {_abridged(lower)}.")
    return " ".join(sentences)


def _abridged(segments: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    names = [name if len(name) <= MAX_CHARS else f"{name[:MAX_CHARS]}…" for name in segments[:MAX_NAMED]]
    return join_names(names + ([f"{len(segments) - MAX_NAMED} more"] if len(segments) > MAX_NAMED else []))


def _significant_gain(row: Row) -> bool:
    return bool(row[c.GAIN_LOW] > 0 and row[c.P_HOLM] < SIGNIFICANT)


def segments(facts: Facts) -> list[str]:
    """The segments that have a case."""
    rows = {
        segment: row
        for (segment, model, metric), row in facts.figures.items()
        if (model, metric) == (CROSSREC, facts.ndcg)
    }
    return [segment for segment, row in rows.items() if segment != c.ALL and row[c.N]]


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
    row = next(row for row in facts.transfer.to_pylist() if row[c.SEGMENT] == c.ALL and row[c.CONTROL] == CROSSREC)
    if row[c.GAIN_LOW] > 0:
        return f"The source helps: {gain(row)}."
    return (
        f"The source harms: {gain(row)}."
        if row[c.GAIN_HIGH] < 0
        else f"It is unclear whether the source helps: {gain(row)}."
    )
