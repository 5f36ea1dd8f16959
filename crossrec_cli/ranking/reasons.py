"""The reasons of a list's entries: the history items behind each, and what these have in common with it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import schemas
from crossrec_cli.models import popularity
from crossrec_cli.models.dataset import Dataset
from crossrec_cli.models.domain_parts import DomainParts, PartedUsers
from crossrec_cli.models.fused import FusedModel, ScoreParts
from crossrec_cli.models.histories import Histories
from crossrec_cli.models.ragged import Bools, Ints
from crossrec_cli.models.vectors import Floats
from crossrec_cli.ranking.reason_sentences import ENGLISH, language_of, sentence
from crossrec_cli.text.segment import UNSPACED, spaced

WORD = re.compile(rf"[^\W\d_]{{3,}}|{UNSPACED}{{2,}}")
WORDS_NAMED = 5


@dataclass(frozen=True)
class Catalogue:
    """Facts about the items that reasons need."""

    items: pa.Table
    """preprocess's table."""
    is_target: Bools
    _words: dict[int, dict[str, None]] = field(default_factory=dict)

    @cached_property
    def facts(self) -> Mapping[str, Sequence[Any]]:
        """Id, text, brand and category of every item."""
        return {name: self.items[name].to_pylist() for name in (c.ITEM_ID, c.TEXT, c.BRAND, c.CATEGORY)}

    def words(self, item: int) -> dict[str, None]:
        """The words of an item's text, in their order, each once."""
        if item not in self._words:
            self._words[item] = dict.fromkeys(WORD.findall(spaced((self.facts[c.TEXT][item] or "").lower())))
        return self._words[item]

    def shared(self, item: int, others: Sequence[int]) -> list[str]:
        """Brand, category and words that an item shares with at least one of the others."""
        facts = {
            name: value
            for name in (c.BRAND, c.CATEGORY)
            if (value := self.facts[name][item]) and any(self.facts[name][other] == value for other in others)
        }
        named_words = set(WORD.findall(spaced(" ".join(facts.values()).lower())))
        other_words = set().union(*(self.words(other) for other in others)) - named_words
        words = [word for word in self.words(item) if word in other_words]
        return [f"{name} {value}" for name, value in facts.items()] + words[:WORDS_NAMED]

    def name(self, item: int) -> str:
        """An item's text, or its id where it has none."""
        return str(self.facts[c.TEXT][item] or self.facts[c.ITEM_ID][item])


@dataclass(frozen=True)
class Why:
    """Computes the reasons of lists."""

    fused: FusedModel
    histories: Histories
    catalogue: Catalogue
    most: int
    """How many history items are named at most for an entry."""
    language: str = ENGLISH
    """Of the sentences; one of ``reason_sentences.WORDINGS``."""

    @classmethod
    def of(cls, fused: FusedModel, dataset: Dataset, most: int, language: str) -> Why:
        """For lists from the complete histories of a dataset; ``language`` as in ``report.language``."""
        catalogue = Catalogue(dataset.items, dataset.histories.item_stats.is_target)
        return cls(fused, dataset.histories, catalogue, most, language_of(language, dataset.items))

    def of_lists(self, users: Ints, listed: Ints, shown: Bools, domains: DomainParts | None = None) -> pa.Table:
        """One row of ``schemas.WHY`` for each entry that is shown, user by user.

        Args:
            users: user indices, int64 (B,).
            listed: the users' lists, item indices, int64 (B, k).
            shown: where a list has an entry, bool (B, k).
            domains: what source and target add to these entries; None: not known yet.
        """
        histories, tags = self.histories.items.take(users), self.histories.tags.take(users)
        score_parts = self.fused.score_parts(histories, tags, listed)
        domains = domains or PartedUsers.of(self.fused, histories, tags).parts(listed, score_parts.logits)
        parts = np.stack(list(score_parts.history.values()))
        in_target = self.catalogue.is_target[histories.values]
        falls = np.where(histories.liked[:, None], score_parts.falls, 0)  # a dislike is no reason
        rows = []
        for user, (begin, length) in enumerate(zip(histories.starts, histories.lengths, strict=True)):
            span = slice(begin, begin + length)
            named = _Named.of(parts[:, span], falls[span], in_target[span], self.most)
            for column in np.flatnonzero(shown[user]).tolist():
                row = self._row(histories.values[span], named, column, int(listed[user, column]))
                names = (c.FROM_SOURCE, c.FROM_TARGET, c.FROM_REST)
                row |= {name: float(part[user, column]) for name, part in zip(names, domains, strict=True)}
                rows.append(row | _by_scorer(score_parts, user, column))
        return pa.Table.from_pylist(rows, schema=schemas.WHY)

    def _row(self, history: Ints, named: _Named, column: int, item: int) -> dict[str, Any]:
        """The row of an entry, a column of the list, from the user's history."""
        is_named, names, ids = named.is_named[:, column], self.fused.names, self.catalogue.facts[c.ITEM_ID]
        others = history[named.positions[is_named, column]].tolist()
        reasons = [
            {
                c.ITEM_ID: ids[other],
                c.DOMAIN: c.TARGET if in_target else c.SOURCE,
                c.SCORER: names[scorer],
                c.PART: part,
                c.SHARE: share,
            }
            for other, in_target, scorer, part, share in zip(
                others, *(values[is_named, column].tolist() for values in named.facts), strict=True
            )
        ]
        shared = self.catalogue.shared(item, others) if others else []
        return {
            c.REASONS: reasons,
            c.IN_COMMON: shared,
            c.BECAUSE: sentence([self.catalogue.name(other) for other in others], reasons, shared, self.language),
        }


def _by_scorer(score_parts: ScoreParts, user: int, column: int) -> dict[str, Any]:
    """The part of an entry's score by sales and by the user's shift, and the whole score by scorer."""
    by_scorer = {name: float(part[user, column]) for name, part in score_parts.total.items()}
    return {
        c.FROM_SALES: by_scorer.get(popularity.NAME, 0.0) + float(score_parts.shift[user]),
        c.BY_SCORER: [{c.SCORER: name, c.PART: part} for name, part in by_scorer.items()],
    }


class _Named(NamedTuple):
    """For each of k entries of a list, the at most m purchases that its reasons name: shapes (m, k), (k,)."""

    positions: Ints
    """Those without which the score falls most, the first the most, (m, k)."""
    is_named: Bools
    """Whether it adds to the score, and the score falls without it, (m, k); others are not named."""
    facts: tuple[Bools, Ints, Floats, Floats]
    """Of each: whether it is in the target, the scorer with its largest part, the part, and its share; (m, k)."""

    @classmethod
    def of(cls, parts: Floats, falls: Floats, in_target: Bools, most: int) -> _Named:
        """From the parts of n purchases by scorer, (scorers, n, k), and the falls without each, (n, k)."""
        part, rest = parts.sum(axis=0), max(len(falls) - most, 0)
        least = np.partition(falls, rest, axis=0)[rest] if len(falls) else 0  # of equal ones the oldest are named
        rows = np.flatnonzero((falls >= least).any(axis=1))
        positions = rows[np.argsort(-falls[rows], axis=0, kind="stable")[:most]]
        of_named, columns = np.take_along_axis(part, positions, axis=0), np.arange(falls.shape[1])
        is_named = (np.take_along_axis(falls, positions, axis=0) > 0) & (of_named > 0)
        positive = np.maximum(part, 0).sum(axis=0)
        share: Floats = (of_named / np.where(positive > 0, positive, 1)).astype(np.float32)
        facts = in_target[positions], parts[:, positions, columns].argmax(axis=0), of_named, share
        return cls(positions, is_named, facts)
