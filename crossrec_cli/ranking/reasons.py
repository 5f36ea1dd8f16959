"""Why a list holds what it holds: the history items that carried each entry, and what they have in common with it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import schemas
from crossrec_cli.models import popularity
from crossrec_cli.models.base import Floats
from crossrec_cli.models.dataset import Dataset
from crossrec_cli.models.fused import FusedModel, ScoreParts
from crossrec_cli.models.histories import Histories
from crossrec_cli.models.ragged import Bools, Ints

WORD = re.compile(r"[^\W\d_]{3,}")
WORDS_NAMED = 5
KINDS: Mapping[str, str] = {
    "text": "like what was bought: {}",
    "words": "like what was bought: {}",
    "attributes": "same brand, category or price as {}",
    "popularity": "sells well with {}",
    "neighbours": "buyers of {} buy it",
    "linear": "buyers of {} buy it",
    "neural": "fits a history with {}",
}
"""What a history item says for an entry, by the scorer that makes most of it."""


@dataclass(frozen=True)
class Catalogue:
    """What reasons need to know of the items."""

    items: pa.Table
    """preprocess's."""
    is_target: Bools
    _words: dict[int, dict[str, None]] = field(default_factory=dict)

    @cached_property
    def facts(self) -> Mapping[str, Sequence[Any]]:
        """Id, text, brand and category of every item."""
        return {name: self.items[name].to_pylist() for name in (c.ITEM_ID, c.TEXT, c.BRAND, c.CATEGORY)}

    def words(self, item: int) -> dict[str, None]:
        """The words of an item's text, in their order, each once."""
        if item not in self._words:
            self._words[item] = dict.fromkeys(WORD.findall((self.facts[c.TEXT][item] or "").lower()))
        return self._words[item]

    def shared(self, item: int, others: Sequence[int]) -> list[str]:
        """Brand, category and words that an item shares with one of the others at least."""
        facts = {
            name: own
            for name in (c.BRAND, c.CATEGORY)
            if (own := self.facts[name][item]) and any(self.facts[name][other] == own for other in others)
        }
        told = set(WORD.findall(" ".join(facts.values()).lower()))
        theirs = set().union(*(self.words(other) for other in others)) - told
        words = [word for word in self.words(item) if word in theirs]
        return [f"{name} {own}" for name, own in facts.items()] + words[:WORDS_NAMED]

    def name(self, item: int) -> str:
        """What people know an item by."""
        return str(self.facts[c.TEXT][item] or self.facts[c.ITEM_ID][item])


@dataclass(frozen=True)
class Why:
    """Gives the reasons of lists."""

    fused: FusedModel
    histories: Histories
    catalogue: Catalogue
    most: int
    """So many history items are named, of those that speak for an entry."""

    @classmethod
    def of(cls, fused: FusedModel, dataset: Dataset, most: int) -> Why:
        """For the lists that a model makes of all that happened."""
        return cls(fused, dataset.histories, Catalogue(dataset.items, dataset.histories.item_stats.is_target), most)

    def of_lists(self, users: Ints, listed: Ints, shown: Bools) -> pa.Table:
        """One row of ``schemas.WHY`` for each entry that is shown, user by user.

        Args:
            users: user indices, int64 (B,).
            listed: their lists, item indices, int64 (B, k).
            shown: whether there is an entry, bool (B, k).
        """
        given = self.histories.items.take(users)
        found = self.fused.score_parts(given, self.histories.tags.take(users), listed)
        parts = np.stack(list(found.history.values()))
        in_target = self.catalogue.is_target[given.values]
        rows = []
        for user, (begin, length) in enumerate(zip(given.starts, given.lengths, strict=True)):
            some = slice(begin, begin + length)
            history = _History(given.values[some], in_target[some])
            for column in np.flatnonzero(shown[user]).tolist():
                row = self._row(history, parts[:, some, column], found.falls[some, column], int(listed[user, column]))
                rows.append(row | _rest(found, user, column, row[c.FROM_SOURCE] + row[c.FROM_TARGET]))
        return pa.Table.from_pylist(rows, schema=schemas.WHY)

    def _row(self, history: _History, parts: Floats, falls: Floats, item: int) -> dict[str, Any]:
        """For one entry, what the history's items say for it, (scorers, items), and the first of them in words.

        The first are those without which the score falls most.
        """
        part, names = parts.sum(axis=0), list(self.fused.names)
        best = np.argsort(-falls, kind="stable")[: self.most]
        best = best[(falls[best] > 0) & (part[best] > 0)]
        speaks = part[part > 0].sum()
        named = [
            {
                c.ITEM_ID: self.catalogue.facts[c.ITEM_ID][history.items[place]],
                c.DOMAIN: c.TARGET if history.in_target[place] else c.SOURCE,
                c.SCORER: names[int(parts[:, place].argmax())],
                c.PART: part[place],
                c.SHARE: part[place] / speaks,
            }
            for place in best
        ]
        others = history.items[best].tolist()
        shared = self.catalogue.shared(item, others) if others else []
        return {
            c.FROM_SOURCE: float(part[~history.in_target].sum()),
            c.FROM_TARGET: float(part[history.in_target].sum()),
            c.REASONS: named,
            c.IN_COMMON: shared,
            c.BECAUSE: sentence([self.catalogue.name(other) for other in others], named, shared),
        }


def _rest(found: ScoreParts, user: int, column: int, of_history: float) -> dict[str, Any]:
    """What of an entry's score is of no history item, and all of it by scorer."""
    whole = {name: float(part[user, column]) for name, part in found.total.items()}
    sales = whole.get(popularity.NAME, 0.0) + float(found.shift[user])
    return {
        c.FROM_SALES: sales,
        c.FROM_REST: float(found.logits[user, column]) - sales - of_history,
        c.BY_SCORER: [{c.SCORER: name, c.PART: part} for name, part in whole.items()],
    }


@dataclass(frozen=True)
class _History:
    """One user's."""

    items: Ints
    in_target: Bools


def sentence(names: Sequence[str], named: Sequence[Mapping[str, Any]], shared: Sequence[str]) -> str:
    """Why an item is listed, for people: which kind of reason each history item is, the strongest first."""
    if not names:
        return "It sells well; nothing in the history speaks for it."
    kinds: dict[str, list[str]] = {}
    for name, reason in zip(names, named, strict=True):
        kinds.setdefault(KINDS[reason[c.SCORER]], []).append(f"{name} ({reason[c.SHARE]:.0%}, {reason[c.DOMAIN]})")
    found = "; ".join(kind.format("; ".join(items)) for kind, items in kinds.items())
    alike = f"; in common: {', '.join(shared)}" if shared else ""
    return f"{found[0].upper()}{found[1:]}{alike}."
