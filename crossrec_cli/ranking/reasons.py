"""The reasons of a list's entries: the history items behind each, and what these have in common with it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import schemas
from crossrec_cli.models import popularity
from crossrec_cli.models.dataset import Dataset
from crossrec_cli.models.domain_parts import DomainParts, PartedUsers
from crossrec_cli.models.fused import FusedModel, ScoreParts
from crossrec_cli.models.histories import Histories
from crossrec_cli.models.ragged import Bools, Ints
from crossrec_cli.ranking.named_purchases import NamedPurchases, as_lists
from crossrec_cli.ranking.reason_sentences import ENGLISH, NamedItem, language_of, sentence
from crossrec_cli.text.segment import UNSPACED, spaced

WORD = re.compile(rf"[^\W\d_]{{3,}}|{UNSPACED}{{2,}}")
WORDS_NAMED = 5
TEXTS = 2**17
"""Whose words are remembered."""


@dataclass(frozen=True)
class Catalogue:
    """Facts about the items that reasons need."""

    items: pa.Table
    """preprocess's table."""
    is_target: Bools

    @cached_property
    def facts(self) -> Mapping[str, Sequence[Any]]:
        """Id, text, brand and category of every item."""
        return {name: self.items[name].to_pylist() for name in (c.ITEM_ID, c.TEXT, c.BRAND, c.CATEGORY)}

    def shared(self, item: int, others: Sequence[int]) -> list[str]:
        """Brand, category and words that an item shares with at least one of the others."""
        named, texts = list[tuple[str, str]](), self.facts[c.TEXT]
        for name in (c.BRAND, c.CATEGORY):
            value = (values := self.facts[name])[item]
            if value and any(values[other] == value for other in others):
                named.append((name, value))
        named_words = set(words_of(" ".join(value for _, value in named)))
        other_words = set().union(*(words_of(texts[other] or "") for other in others)) - named_words
        words = [word for word in words_of(texts[item] or "") if word in other_words]
        return [f"{name} {value}" for name, value in named] + words[:WORDS_NAMED]

    def name(self, item: int) -> str:
        """An item's text, or its id where it has none."""
        return str(self.facts[c.TEXT][item] or self.facts[c.ITEM_ID][item])


@lru_cache(TEXTS)
def words_of(text: str) -> tuple[str, ...]:
    """The words of a text in lower case, in their order, each once."""
    return tuple(dict.fromkeys(WORD.findall(spaced(text.lower()))))


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

    def of_lists(
        self,
        users: Ints,
        listed: Ints,
        shown: Bools,
        parted: PartedUsers | None = None,
        domains: DomainParts | None = None,
    ) -> pa.Table:
        """One row of ``schemas.WHY`` for each entry that is shown, user by user.

        Args:
            users: user indices, int64 (B,).
            listed: the users' lists, item indices, int64 (B, k).
            shown: where a list has an entry, bool (B, k).
            parted: the users as they were scored; None: not known yet.
            domains: what source and target add to these entries; None: not known yet.
        """
        histories, tags = self.histories.items.take(users), self.histories.tags.take(users)
        parted = parted or PartedUsers.of(self.fused, histories, tags)
        score_parts = self.fused.score_parts(histories, tags, listed, parted.sums)
        domains = domains or parted.parts(listed, score_parts.logits)
        parts = np.stack(list(score_parts.history.values()))
        in_target = self.catalogue.is_target[histories.values]
        falls = np.where(histories.liked[:, None], score_parts.falls, 0)  # a dislike is no reason
        named = []
        for user, (begin, length) in enumerate(zip(histories.starts, histories.lengths, strict=True)):
            span, columns = slice(begin, begin + length), np.flatnonzero(shown[user])
            named.append(
                NamedPurchases.of(
                    histories.values[span],
                    in_target[span],
                    parts[:, span][:, :, columns],
                    falls[span][:, columns],
                    self.most,
                )
            )
        reasons = NamedPurchases.joined(named)
        sales = score_parts.total.get(popularity.NAME, np.float32(0)) + score_parts.shift[:, None]
        in_common, because = self._sentences(listed[shown].tolist(), reasons)
        return pa.table(
            {
                c.REASONS: reasons.as_column(self.catalogue.items[c.ITEM_ID], self.fused.names),
                c.FROM_SOURCE: domains.source[shown],
                c.FROM_TARGET: domains.target[shown],
                c.FROM_SALES: sales[shown],
                c.FROM_REST: domains.rest[shown],
                c.BY_SCORER: _by_scorer(score_parts, shown),
                c.IN_COMMON: in_common,
                c.BECAUSE: because,
            },
            schemas.WHY,
        )

    def _sentences(self, listed: Sequence[int], reasons: NamedPurchases) -> tuple[list[list[str]], list[str]]:
        """For each entry what it shares with its reasons, and the sentence."""
        catalogue, names, in_common, because, begin = self.catalogue, self.fused.names, [], [], 0
        facts = [values.tolist() for values in reasons[1:]]
        for item, count in zip(listed, reasons.counts.tolist(), strict=True):
            others, in_target, scorers, _, shares = (values[begin : begin + count] for values in facts)
            shared = catalogue.shared(item, others) if others else []
            of_entry = [
                NamedItem(catalogue.name(other), c.TARGET if target else c.SOURCE, names[scorer], share)
                for other, target, scorer, share in zip(others, in_target, scorers, shares, strict=True)
            ]
            in_common.append(shared)
            because.append(sentence(of_entry, shared, self.language))
            begin += count
        return in_common, because


def _by_scorer(score_parts: ScoreParts, shown: Bools) -> pa.ListArray:
    """The scores of the entries by scorer."""
    names, parts = list(score_parts.total), np.stack([part[shown] for part in score_parts.total.values()], axis=1)
    cells = {
        c.SCORER: pc.take(pa.array(names), np.tile(np.arange(len(names)), len(parts))),
        c.PART: pa.array(parts.ravel()),
    }
    return as_lists(np.full(len(parts), len(names)), schemas.WHY.field(c.BY_SCORER).type, cells)
