"""A shop's rules: who may not stand in a list, and how the best of the others share its places.

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
"""Lists are chosen from the best so many candidates for each place, and from no fewer than so many."""
CELLS = 2**24
"""Numbers of text vectors held at once, 64 MB in float32."""

BOUGHT: Final = "bought"
MIN_SCORE: Final = "min_score"
BOOSTS: Final = "boosts"
NEW_ITEMS: Final = "new_items"
DIVERSITY: Final = "diversity"


def first_failing(passes: Mapping[str, Bools], size: int) -> Ints:
    """For each of so many items the place of the first test that it fails, −1 where it passes them all."""
    found = np.full(size, -1)
    for place, passed in reversed(list(enumerate(passes.values()))):
        found[~passed] = place
    return found


class Cap(NamedTuple):
    """At most so many of a group in a list."""

    group: Tensor
    """Each candidate's group from 0, −1 for one that is in none and so never counted; int64 (C,)."""
    most: int

    def room(self) -> int:
        """How long a list can get at most."""
        return int(self.group.lt(0).sum() + self.group[self.group >= 0].bincount().clamp(max=self.most).sum())


class RuledLists(NamedTuple):
    """What became of some users' lists."""

    places: Tensor
    """The candidates' places in the order of the list, −1 where it is shorter; int64 (B, k)."""
    ranking: Tensor
    """What they were ranked by: the scores, boosted, −∞ for what is barred or scores too low; float32 (B, C)."""
    forced: Tensor
    """How many of the places a new item has only because they are kept for such; int64 (B,)."""
    missing: dict[str, int]
    """Rules, and how many items each kept from a list: what was bought, from the k that score best; the others, from
    the k that score best of the rest, which is the list without them."""


@dataclass(frozen=True)
class ListRules:
    """Rules about C candidates. Those that meet all users alike, such as stock, have chosen the candidates already."""

    k: int
    probability: Callable[[Tensor], Tensor]
    """Scores to probabilities."""
    min_score: float | None = None
    boost: Tensor | None = None
    """What is added to the scores for the ranking, float32 (C,)."""
    caps: Mapping[str, Cap] = field(default_factory=dict)
    diversity: float = 0.0
    texts: Tensor | None = None
    """Text vectors of length 1, float32 (C, r); diversity needs them."""
    new: Tensor | None = None
    """Which candidates nobody had in training, bool (C,); ``new_items`` needs it."""
    new_items: int = 0

    def lists(self, scores: Tensor, barred: tuple[Tensor, Tensor]) -> RuledLists:
        """The users' lists.

        Filters, minimum and boosts are exact. So are caps and the places for new items: where the pool, the best
        max(10 · k, 100) candidates and as many of the new ones, leaves a list short, it is made ten times as large
        until it does not. A cap that is full stays full, for new items too. Diversity is maximal marginal relevance
        (Carbonell & Goldstein 1998, https://doi.org/10.1145/290941.291025) over that pool: the next item is the one
        with the largest (1 − d) · relevance − d · its largest cosine to one above it. Relevance is the score on a line
        from 0 for the lowest of the best max(10 · k, 100) to 1 for the highest.

        Args:
            scores: float32 (B, C); not changed.
            barred: rows and columns of what may not be shown to whom.
        """
        length = min(self.k, scores.shape[1])
        best = torch.topk(scores, length, dim=1).indices
        low = None if self.min_score is None else self.probability(scores) < self.min_score
        scores = scores.clone()
        scores[barred] = -torch.inf
        missing = {BOUGHT: int((scores.gather(1, best) == -torch.inf).sum())}
        plain = torch.topk(scores, length, dim=1)
        ranking = scores if self.boost is None else scores + self.boost
        if low is not None:
            ranking[low] = -torch.inf
        if self.caps or self.diversity or self.new_items:
            places, forced = self._chosen(ranking)
        else:
            highest = torch.topk(ranking, length, dim=1)
            places = highest.indices.masked_fill(highest.values == -torch.inf, -1)
            forced = torch.zeros(len(scores), dtype=torch.int64)
        left = (plain.values > -torch.inf) & ~_listed(places, scores.shape[1]).gather(1, plain.indices)
        return RuledLists(
            places, ranking, forced, missing | self._missing(plain.indices, left, low, places, ranking, forced)
        )

    def full(self, name: str, places: Tensor, asked: Tensor) -> Tensor:
        """Whether lists (B, k) already hold all that a cap lets them of the groups of candidates (B, n)."""
        group, most = self.caps[name]
        wanted, held = group[asked], torch.zeros_like(asked)
        for listed in places.T:
            held += (group[listed] == wanted.T).T & (listed >= 0).unsqueeze(1)
        return (wanted >= 0) & (held >= most)

    def _missing(
        self, plain: Tensor, left: Tensor, low: Tensor | None, places: Tensor, ranking: Tensor, forced: Tensor
    ) -> dict[str, int]:
        """Each item of the plain lists (B, k) that is ``left`` out, counted with the first rule that explains it."""
        found: dict[str, int] = {}

        def count(rule: str, there: Tensor) -> None:
            nonlocal left
            found[rule] = int((left & there).sum())
            left = left & ~there

        if low is not None:
            count(MIN_SCORE, low.gather(1, plain))
        for rule in self.caps:
            count(rule, self.full(rule, places, plain))
        if self.boost is not None:
            best = torch.topk(ranking, plain.shape[1], dim=1).indices
            count(BOOSTS, ~_listed(best, ranking.shape[1]).gather(1, plain))
        if self.new_items:
            count(NEW_ITEMS, left.flip(1).cumsum(1).flip(1) <= forced.unsqueeze(1))
        if self.diversity:
            count(DIVERSITY, torch.ones_like(left))
        return found

    @cached_property
    def _longest(self) -> int:
        """How long a list can get at most."""
        return min([self.k, *(cap.room() for cap in self.caps.values())])

    @cached_property
    def _new_columns(self) -> Tensor:
        """The new candidates, where places are kept for them."""
        if self.new is None or not self.new_items:
            return torch.empty(0, dtype=torch.int64)
        return torch.nonzero(self.new).squeeze(1)

    def _chosen(self, ranking: Tensor) -> tuple[Tensor, Tensor]:
        """Lists (B, k) and how many of their places were kept for new items (B,), from pools that suffice."""
        count = ranking.shape[1]
        places = torch.full((len(ranking), min(self.k, count)), -1)
        forced = torch.zeros(len(ranking), dtype=torch.int64)
        rows, width = torch.arange(len(ranking)), max(POOL_PLACES * self.k, POOL_LEAST)
        first, depth = width, 1 if self.texts is None else self.texts.shape[1]
        while len(rows):
            short = []
            size = max(CELLS // (2 * min(width, count) * depth), 1)
            for begin in range(0, len(rows), size):
                some = rows[begin : begin + size]
                pool = self._pool(ranking[some], width)
                places[some], forced[some] = _Filling(self, pool, first).filled(places.shape[1])
                short.append(some[self._short(pool, places[some])])
            rows, width = torch.cat(short), width * 10
        return places, forced

    def _pool(self, ranking: Tensor, width: int) -> _Pool:
        """The best candidates of some users, and behind them the best new ones that are not among these."""
        best, new = torch.topk(ranking, min(width, ranking.shape[1]), dim=1), self._new_columns
        others = ranking[:, new].masked_fill_(_listed(best.indices, ranking.shape[1])[:, new], -torch.inf)
        more = torch.topk(others, min(width, len(new)), dim=1)
        nothing = torch.zeros(len(ranking), dtype=torch.bool)
        return _Pool(
            torch.cat([best.values, more.values], 1),
            torch.cat([best.indices, new[more.indices]], 1),
            best.values.shape[1],
            best.values[:, -1] > -torch.inf if width < ranking.shape[1] else nothing,
            more.values[:, -1] > -torch.inf if width < len(new) else nothing,
        )

    def _short(self, pool: _Pool, places: Tensor) -> Tensor:
        """Whose lists might gain by a larger pool, bool (B,)."""
        held = places >= 0
        gap = (~held[:, :-1] & held[:, 1:]).any(dim=1)  # nothing but a new item was left, and too early
        short: Tensor = ((held.sum(dim=1) < self._longest) | gap) & pool.beyond
        if self.new is not None:
            short |= ((self.new[places] & held).sum(dim=1) < self.new_items) & pool.new_beyond
        return short


class _Pool(NamedTuple):
    """What some users' lists are chosen from."""

    values: Tensor
    """What they are ranked by, best first, behind them those of the new ones; −∞ for none; float32 (B, P)."""
    places: Tensor
    """The candidates' places, int64 (B, P)."""
    best: int
    """How many columns hold the best; the others are for the places that are kept for new items."""
    beyond: Tensor
    """Whose pool leaves candidates out, bool (B,)."""
    new_beyond: Tensor
    """Whose pool leaves new candidates out, bool (B,)."""


class _Filling:
    """Some users' lists while they are filled, place by place."""

    def __init__(self, rules: ListRules, pool: _Pool, first: int) -> None:
        """Start with empty lists; relevance is measured over the pool's ``first`` columns."""
        self.rules, self.pool = rules, pool
        self.row = torch.arange(len(pool.values))
        self.open = pool.values > -torch.inf
        self.best = torch.arange(pool.values.shape[1]) < pool.best
        self.groups = {name: cap.group[pool.places] for name, cap in rules.caps.items()}
        self.held = {name: torch.zeros_like(group) for name, group in self.groups.items()}
        self.new = torch.zeros_like(self.open) if rules.new is None else rules.new[pool.places]
        self.wanted = (self.open & self.new).sum(dim=1).clamp(max=rules.new_items)  # new ones yet to come
        self.vectors = None if rules.texts is None else rules.texts[pool.places]
        self.worth, self.likeness = pool.values, torch.full_like(pool.values, -1.0)
        if rules.diversity:
            low = pool.values[:, :first].masked_fill(~self.open[:, :first], torch.inf).amin(dim=1, keepdim=True)
            self.worth = (pool.values - low) / (pool.values[:, :1] - low).clamp(min=1e-12)

    def filled(self, length: int) -> tuple[Tensor, Tensor]:
        """Lists (B, length), −1 where they end, and how many of their places were kept for new items (B,)."""
        listed, forced = torch.full((len(self.row), length), -1), torch.zeros_like(self.wanted)
        for place in range(length):
            best = choice = self._best(self.open & self.best)
            if self.rules.new_items:
                kept = self.open & self.new & (self.wanted >= length - place).unsqueeze(1)
                choice = torch.where(kept.any(dim=1), self._best(kept), best)
            there = self.open[self.row, choice]
            listed[:, place] = torch.where(there, self.pool.places[self.row, choice], -1)
            forced += choice != best
            self._take(choice, there)
        return listed, forced

    def _best(self, among: Tensor) -> Tensor:
        """The column of the best of some candidates, int64 (B,)."""
        weight = self.rules.diversity
        value = (1 - weight) * self.worth - weight * self.likeness if weight else self.worth
        return value.masked_fill(~among, -torch.inf).argmax(dim=1)

    def _take(self, choice: Tensor, there: Tensor) -> None:
        """The others may lose by what is listed now: to a cap, or as they are like it."""
        self.wanted -= (self.new[self.row, choice] & there).long()
        self.open[self.row, choice] = False
        for name, group in self.groups.items():
            mine = group[self.row, choice].unsqueeze(1)
            self.held[name] += (group == mine) & (mine >= 0) & there.unsqueeze(1)
            self.open &= self.held[name] < self.rules.caps[name].most
        if self.vectors is not None:
            cosines = torch.bmm(self.vectors, self.vectors[self.row, choice].unsqueeze(2)).squeeze(2)
            self.likeness = torch.maximum(self.likeness, cosines)


def _listed(places: Tensor, count: int) -> Tensor:
    """Which of so many candidates lists (B, k) hold, bool (B, count)."""
    found = torch.zeros(len(places), count + 1, dtype=torch.bool)
    return found.scatter_(1, places.masked_fill(places < 0, count), True)[:, :count]
