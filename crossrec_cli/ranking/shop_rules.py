"""A shop's rules: which candidates a list may not hold, and how the others fill it.

Shapes: B users, C candidates, k places, P candidates in a pool.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from crossrec_cli.models.ragged import Bools, Ints

POOL_PLACES, POOL_LEAST = 10, 100
"""A list is chosen from so many of the best candidates per place, and from at least so many in all."""
CELLS = 2**24
"""Numbers of text vectors held at once, 64 MB in float32."""

BOUGHT: Final = "bought"
MIN_SCORE: Final = "min_score"
BOOSTS: Final = "boosts"
NEW_ITEMS: Final = "new_items"
DIVERSITY: Final = "diversity"


def first_failing(passes: Mapping[str, Bools], size: int) -> Ints:
    """For each of so many items, the index of the first test that it fails; −1 where it passes all."""
    failing = np.full(size, -1)
    for index, passed in reversed(list(enumerate(passes.values()))):
        failing[~passed] = index
    return failing


class Cap(NamedTuple):
    """At most so many of a group in a list."""

    group: Tensor
    """Each candidate's group from 0; −1 for a candidate without group, which no cap counts; int64 (C,)."""
    limit: int

    def longest(self) -> int:
        """The greatest possible length of a list."""
        return int(self.group.lt(0).sum() + self.group[self.group >= 0].bincount().clamp(max=self.limit).sum())


class RuledLists(NamedTuple):
    """Some users' lists, and how they came about."""

    columns: Tensor
    """The candidates' columns in the order of the list, −1 where it is shorter; int64 (B, k)."""
    ranking: Tensor
    """The boosted scores that candidates are ranked by, −∞ where barred or below the minimum; float32 (B, C)."""
    forced: Tensor
    """How many places new items have only because of ``new_items``; int64 (B,)."""
    missing: dict[str, int]
    """By rule, how many items it removed from lists: ``bought`` from the k best scores, the others from the k best
    scores of what was not bought, which is the list without rules."""


@dataclass(frozen=True)
class ListRules:
    """Rules about C candidates, which rules for all users, such as stock, have chosen already."""

    k: int
    probability: Callable[[Tensor], Tensor]
    """Scores to probabilities."""
    min_score: float | None = None
    boost: Tensor | None = None
    """Added to the scores for the ranking, float32 (C,)."""
    caps: Mapping[str, Cap] = field(default_factory=dict)
    diversity: float = 0.0
    texts: Tensor | None = None
    """Text vectors of length 1, float32 (C, r); diversity needs them."""
    new: Tensor | None = None
    """Which candidates nobody bought in training, bool (C,); ``new_items`` needs it."""
    new_items: int = 0

    def lists(self, scores: Tensor, barred: tuple[Tensor, Tensor]) -> RuledLists:
        """The users' lists.

        Filters, minimum and boosts are exact. So are caps and the places for new items: where the pool (the best
        max(10 · k, 100) candidates and as many new ones) leaves a list short, it is made ten times as large
        until it does not. A cap that is full stays full, for new items too. Diversity is maximal marginal relevance
        (Carbonell & Goldstein 1998, https://doi.org/10.1145/290941.291025) over that pool: the next item is the one
        with the largest (1 − d) · relevance − d · its largest cosine to one above it. Relevance is the score on a line
        from 0 for the lowest of the best max(10 · k, 100) to 1 for the highest.

        Args:
            scores: float32 (B, C); not changed.
            barred: rows and columns of candidates that may not be shown to a user.
        """
        length = min(self.k, scores.shape[1])
        best = torch.topk(scores, length, dim=1).indices
        below_min = None if self.min_score is None else self.probability(scores) < self.min_score
        scores = scores.clone()
        scores[barred] = -torch.inf
        missing = {BOUGHT: int((scores.gather(1, best) == -torch.inf).sum())}
        plain = torch.topk(scores, length, dim=1)
        ranking = scores if self.boost is None else scores + self.boost
        if below_min is not None:
            ranking[below_min] = -torch.inf
        if self.caps or self.diversity or self.new_items:
            columns, forced = self._chosen(ranking)
        else:
            highest = torch.topk(ranking, length, dim=1)
            columns = highest.indices.masked_fill(highest.values == -torch.inf, -1)
            forced = torch.zeros(len(scores), dtype=torch.int64)
        removed = (plain.values > -torch.inf) & ~_in_lists(columns, scores.shape[1]).gather(1, plain.indices)
        return RuledLists(
            columns,
            ranking,
            forced,
            missing | self._missing(plain.indices, removed, below_min, columns, ranking, forced),
        )

    def full(self, name: str, columns: Tensor, candidates: Tensor) -> Tensor:
        """Whether lists (B, k) already hold as many as a cap allows of the groups of candidates (B, n)."""
        group, limit = self.caps[name]
        group_asked, held = group[candidates], torch.zeros_like(candidates)
        for listed in columns.T:
            held += (group[listed] == group_asked.T).T & (listed >= 0).unsqueeze(1)
        return (group_asked >= 0) & (held >= limit)

    def _missing(
        self, plain: Tensor, removed: Tensor, below_min: Tensor | None, columns: Tensor, ranking: Tensor, forced: Tensor
    ) -> dict[str, int]:
        """Counts, by the first rule that explains it, each item of the plain lists (B, k) that was removed."""
        counts: dict[str, int] = {}

        def count(rule: str, explains: Tensor) -> None:
            nonlocal removed
            counts[rule] = int((removed & explains).sum())
            removed = removed & ~explains

        if below_min is not None:
            count(MIN_SCORE, below_min.gather(1, plain))
        for rule in self.caps:
            count(rule, self.full(rule, columns, plain))
        if self.boost is not None:
            best = torch.topk(ranking, plain.shape[1], dim=1).indices
            count(BOOSTS, ~_in_lists(best, ranking.shape[1]).gather(1, plain))
        if self.new_items:
            count(NEW_ITEMS, removed.flip(1).cumsum(1).flip(1) <= forced.unsqueeze(1))
        if self.diversity:
            count(DIVERSITY, torch.ones_like(removed))
        return counts

    @cached_property
    def _longest(self) -> int:
        """The greatest possible length of a list."""
        return min([self.k, *(cap.longest() for cap in self.caps.values())])

    @cached_property
    def _new_columns(self) -> Tensor:
        """The columns of new candidates, where places are reserved for them."""
        if self.new is None or not self.new_items:
            return torch.empty(0, dtype=torch.int64)
        return torch.nonzero(self.new).squeeze(1)

    def _chosen(self, ranking: Tensor) -> tuple[Tensor, Tensor]:
        """Lists (B, k), and how many places new items got by reservation (B,), from pools that are large enough."""
        count = ranking.shape[1]
        columns = torch.full((len(ranking), min(self.k, count)), -1)
        forced = torch.zeros(len(ranking), dtype=torch.int64)
        rows, width = torch.arange(len(ranking)), max(POOL_PLACES * self.k, POOL_LEAST)
        first, depth = width, 1 if self.texts is None else self.texts.shape[1]
        while len(rows):
            short = []
            size = max(CELLS // (2 * min(width, count) * depth), 1)
            for begin in range(0, len(rows), size):
                chunk = rows[begin : begin + size]
                pool = self._pool(ranking[chunk], width)
                columns[chunk], forced[chunk] = _Filling(self, pool, first).filled(columns.shape[1])
                short.append(chunk[self._short(pool, columns[chunk])])
            rows, width = torch.cat(short), width * 10
        return columns, forced

    def _pool(self, ranking: Tensor, width: int) -> _Pool:
        """The best candidates of some users, followed by the best new ones that are not among these."""
        best, new = torch.topk(ranking, min(width, ranking.shape[1]), dim=1), self._new_columns
        others = ranking[:, new].masked_fill_(_in_lists(best.indices, ranking.shape[1])[:, new], -torch.inf)
        best_new = torch.topk(others, min(width, len(new)), dim=1)
        none_beyond = torch.zeros(len(ranking), dtype=torch.bool)
        return _Pool(
            torch.cat([best.values, best_new.values], 1),
            torch.cat([best.indices, new[best_new.indices]], 1),
            best.values.shape[1],
            best.values[:, -1] > -torch.inf if width < ranking.shape[1] else none_beyond,
            best_new.values[:, -1] > -torch.inf if width < len(new) else none_beyond,
        )

    def _short(self, pool: _Pool, columns: Tensor) -> Tensor:
        """Which users' lists might improve with a larger pool, bool (B,)."""
        held = columns >= 0
        gap = (~held[:, :-1] & held[:, 1:]).any(dim=1)  # a list ran out of all but new items too early
        short: Tensor = ((held.sum(dim=1) < self._longest) | gap) & pool.beyond
        if self.new is not None:
            short |= ((self.new[columns] & held).sum(dim=1) < self.new_items) & pool.new_beyond
        return short


class _Pool(NamedTuple):
    """The candidates from which some users' lists are chosen."""

    values: Tensor
    """Ranking values, best first, followed by those of new ones; −∞ for none; float32 (B, P)."""
    columns: Tensor
    """The candidates' columns, int64 (B, P)."""
    best: int
    """How many of the P are the best; the others are for the places that are reserved for new items."""
    beyond: Tensor
    """For which users there are candidates outside the pool, bool (B,)."""
    new_beyond: Tensor
    """For which users there are new candidates outside the pool, bool (B,)."""


class _Filling:
    """Fills some users' lists, place by place."""

    def __init__(self, rules: ListRules, pool: _Pool, first: int) -> None:
        """Start with empty lists; relevance is measured over the pool's ``first`` columns."""
        self.rules, self.pool = rules, pool
        self.row = torch.arange(len(pool.values))
        self.open = pool.values > -torch.inf
        self.best = torch.arange(pool.values.shape[1]) < pool.best
        self.groups = {name: cap.group[pool.columns] for name, cap in rules.caps.items()}
        self.held = {name: torch.zeros_like(group) for name, group in self.groups.items()}
        self.new = torch.zeros_like(self.open) if rules.new is None else rules.new[pool.columns]
        self.new_wanted = (self.open & self.new).sum(dim=1).clamp(max=rules.new_items)  # new items still to be listed
        self.vectors = None if rules.texts is None else rules.texts[pool.columns]
        self.relevance, self.similarity = pool.values, torch.full_like(pool.values, -1.0)
        if rules.diversity:
            lowest = pool.values[:, :first].masked_fill(~self.open[:, :first], torch.inf).amin(dim=1, keepdim=True)
            self.relevance = (pool.values - lowest) / (pool.values[:, :1] - lowest).clamp(min=1e-12)

    def filled(self, length: int) -> tuple[Tensor, Tensor]:
        """Lists (B, length), −1 where they end, and how many places new items got by reservation (B,)."""
        listed, forced = torch.full((len(self.row), length), -1), torch.zeros_like(self.new_wanted)
        for position in range(length):
            overall = choice = self._best(self.open & self.best)
            if self.rules.new_items:
                kept = self.open & self.new & (self.new_wanted >= length - position).unsqueeze(1)
                choice = torch.where(kept.any(dim=1), self._best(kept), overall)
            is_open = self.open[self.row, choice]
            listed[:, position] = torch.where(is_open, self.pool.columns[self.row, choice], -1)
            forced += choice != overall
            self._take(choice, is_open)
        return listed, forced

    def _best(self, candidates: Tensor) -> Tensor:
        """The index in the pool of the best of some candidates, int64 (B,)."""
        weight = self.rules.diversity
        value = (1 - weight) * self.relevance - weight * self.similarity if weight else self.relevance
        return value.masked_fill(~candidates, -torch.inf).argmax(dim=1)

    def _take(self, choice: Tensor, is_open: Tensor) -> None:
        """Update the other candidates after a choice: caps may close, and similarities rise."""
        self.new_wanted -= (self.new[self.row, choice] & is_open).long()
        self.open[self.row, choice] = False
        for name, group in self.groups.items():
            chosen_group = group[self.row, choice].unsqueeze(1)
            self.held[name] += (group == chosen_group) & (chosen_group >= 0) & is_open.unsqueeze(1)
            self.open &= self.held[name] < self.rules.caps[name].limit
        if self.vectors is not None:
            cosines = torch.bmm(self.vectors, self.vectors[self.row, choice].unsqueeze(2)).squeeze(2)
            self.similarity = torch.maximum(self.similarity, cosines)


def _in_lists(columns: Tensor, count: int) -> Tensor:
    """Which of so many candidates are in lists (B, k), bool (B, count)."""
    held = torch.zeros(len(columns), count + 1, dtype=torch.bool)
    return held.scatter_(1, columns.masked_fill(columns < 0, count), True)[:, :count]
