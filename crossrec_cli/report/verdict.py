"""The evaluation's answer in a few sentences."""

from __future__ import annotations

from collections.abc import Sequence

from crossrec_cli.artifacts import columns as c
from crossrec_cli.report.facts import CROSSREC, Facts, Row
from crossrec_cli.report.formatting import SMALL, gain, measure, tested
from crossrec_cli.report.translator import Translator

SIGNIFICANT = 0.05
"""Differences with a p value below this are significant."""
MAX_NAMED, MAX_CHARS = 3, 40
"""How many segments the verdict names, and with how many characters each."""
SAME = "The target is the whole catalogue, so source and target are the same items."


def verdict(facts: Facts) -> str:
    """The answer, in a few sentences."""
    figures, translate = facts.figures, facts.translate
    ours = figures[c.ALL, CROSSREC, facts.ndcg]
    users = tested(facts.evaluated.summary, translate) or translate("{users:,} test users", users=ours[c.N])
    name, value = f"{measure(facts.ndcg, translate)}@{facts.k}", ours[c.VALUE]
    sentences = [
        _answer(facts),
        translate("crossrec reaches {name} {value:.4f} over {users}.", name=name, value=value, users=users),
        translate(SAME) if facts.same_items else _transfer_verdict(facts),
    ]
    behind = [segment for segment in segments(facts) if _is_behind(facts, segment, c.LOW, c.HIGH)]
    if behind:
        sentences.append(translate("Another model is better for {segments}.", segments=_abridged(behind, translate)))
    level = [segment for segment in segments(facts) if segment not in behind]
    if lower := [segment for segment in level if _is_behind(facts, segment, c.VALUE, c.VALUE)]:
        text = "Another model's mean is higher, perhaps by chance, for {segments}."
        sentences.append(translate(text, segments=_abridged(lower, translate)))
    return translate.sentences(sentences)


def _answer(facts: Facts) -> str:
    """Whether crossrec is better than all other models."""
    gains, translate = facts.gains, facts.translate
    if not gains:
        return translate("Not compared with any model: evaluate.baselines is empty.")
    worse = [model for model, row in gains.items() if row[c.GAIN_HIGH] < 0 and row[c.P_HOLM] < SIGNIFICANT]
    if len(worse) == 1:
        return translate("No: {model} is better.", model=worse[0])
    if worse:
        return translate("No: {models} are better.", models=translate.join(worse))
    if unsure := [model for model, row in gains.items() if not _significant_gain(row)]:
        text = "Not shown: the difference to {models} may be chance."
        return translate(text, models=translate.join(unsure))
    best = max(gains, key=lambda model: facts.figures[c.ALL, model, facts.ndcg][c.VALUE])
    difference = gain(gains[best], translate)
    if len(gains) == 1:
        return translate("Yes: better than {model}, by {gain}.", model=best, gain=difference)
    text = "Yes: better than all {count} others, by {gain} over the best of them, {model}."
    return translate(text, count=len(gains), gain=difference, model=best)


def _abridged(segments: Sequence[str], translate: Translator) -> str:
    """The first few names, and how many more there are."""
    names = [name if len(name) <= MAX_CHARS else f"{name[:MAX_CHARS]}…" for name in segments[:MAX_NAMED]]
    more = [translate("{count} more", count=len(segments) - MAX_NAMED)] if len(segments) > MAX_NAMED else []
    return translate.join(names + more)


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
    translate = facts.translate
    if facts.transfer_is_stale:
        text = "The transfer gain is out of date ({reason}); run 'crossrec transfer' again."
        return translate(text, reason=facts.transfer_is_stale)
    if facts.transfer is None:
        return translate("Whether the source helps was not measured; 'crossrec transfer' measures it.")
    row = next(row for row in facts.transfer.to_pylist() if row[c.SEGMENT] == c.ALL and row[c.CONTROL] == CROSSREC)
    difference = gain(row, translate)
    if row[c.GAIN_LOW] > 0:
        return translate("The source helps: {gain}.", gain=difference)
    if row[c.GAIN_HIGH] < 0:
        return translate("The source harms: {gain}.", gain=difference)
    return translate("It is unclear whether the source helps: {gain}.", gain=difference)
