"""Why a list holds what it holds: the history items that carried each entry, and what they have in common with it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crossrec_cli.artifacts import tables as t
from crossrec_cli.interest.batches import Histories, Ints
from crossrec_cli.interest.ensemble import Ensemble
from crossrec_cli.interest.model import Items
from crossrec_cli.ranking.explain import explain
from crossrec_cli.stages.load import World

WORD = re.compile(r"[^\W\d_]{3,}")
WORDS_NAMED = 5


@dataclass(frozen=True)
class Catalogue:
    """What reasons need to know of the items."""

    items: pa.Table
    """preprocess's."""
    is_target: npt.NDArray[np.bool_]
    _words: dict[int, dict[str, None]] = field(default_factory=dict)

    @cached_property
    def facts(self) -> Mapping[str, Sequence[Any]]:
        """Id, text, brand and category of every item."""
        return {name: self.items[name].to_pylist() for name in (t.ITEM_ID, t.TEXT, t.BRAND, t.CATEGORY)}

    def words(self, item: int) -> dict[str, None]:
        """The words of an item's text, in their order, each once."""
        if item not in self._words:
            self._words[item] = dict.fromkeys(WORD.findall((self.facts[t.TEXT][item] or "").lower()))
        return self._words[item]

    def shared(self, item: int, others: Sequence[int]) -> list[str]:
        """Brand, category and words that an item shares with one of the others at least."""
        facts = {
            name: own
            for name in (t.BRAND, t.CATEGORY)
            if (own := self.facts[name][item]) and any(self.facts[name][other] == own for other in others)
        }
        told = set(WORD.findall(" ".join(facts.values()).lower()))
        theirs = set().union(*(self.words(other) for other in others)) - told
        words = [word for word in self.words(item) if word in theirs]
        return [f"{name} {own}" for name, own in facts.items()] + words[:WORDS_NAMED]

    def name(self, item: int) -> str:
        """What people know an item by."""
        return str(self.facts[t.TEXT][item] or self.facts[t.ITEM_ID][item])


@dataclass(frozen=True)
class Why:
    """Gives the reasons of lists."""

    model: Ensemble
    known: Sequence[Items]
    """The model's."""
    histories: Histories
    catalogue: Catalogue
    most: int
    """So many history items are named, of those that speak for an entry."""

    @classmethod
    def of(cls, model: Ensemble, known: Sequence[Items], world: World, most: int) -> Why:
        """For the lists that a model makes of all that happened."""
        return cls(model, known, world.histories, Catalogue(world.items, world.histories.domain.is_target), most)

    def of_lists(self, users: Ints, listed: Ints, shown: npt.NDArray[np.bool_]) -> pa.Table:
        """One row of ``tables.WHY`` for each entry that is shown, user by user.

        Args:
            users: user indices, int64 (B,).
            listed: their lists, item indices, int64 (B, k).
            shown: whether there is an entry, bool (B, k).
        """
        given = self.histories.items.take(users)
        parts = explain(self.model, self.known, given, self.histories.tags.take(users), listed)
        history, rest, bias = (part.numpy() for part in (parts.history, parts.rest, parts.bias))
        target = self.catalogue.is_target[given.values]
        rows = [
            _reason(history[some, place], given.values[some], target[some], self.catalogue, item, self.most)
            | {t.FROM_REST: rest[user, place], t.BIAS: bias[user, place]}
            for user, some in enumerate(map(slice, given.starts, given.starts + given.lengths))
            for place, item in enumerate(listed[user].tolist())
            if shown[user, place]
        ]
        return pa.Table.from_pylist(rows, schema=t.WHY)


def _reason(
    part: npt.NDArray[np.float32],
    items: Ints,
    target: npt.NDArray[np.bool_],
    catalogue: Catalogue,
    item: int,
    most: int,
) -> dict[str, Any]:
    """For one entry, what the history's items say for it, and the first of them in words."""
    best = np.argsort(-part, kind="stable")[:most]
    best = best[part[best] > 0]
    speaks = part[part > 0].sum()
    named = [
        {
            t.ITEM_ID: catalogue.facts[t.ITEM_ID][items[place]],
            t.DOMAIN: t.TARGET if target[place] else t.SOURCE,
            t.PART: part[place],
            t.SHARE: part[place] / speaks,
        }
        for place in best
    ]
    others = items[best].tolist()
    shared = catalogue.shared(item, others) if others else []
    return {
        t.FROM_SOURCE: part[~target].sum(),
        t.FROM_TARGET: part[target].sum(),
        t.REASONS: named,
        t.IN_COMMON: shared,
        t.BECAUSE: _sentence([catalogue.name(other) for other in others], named, shared),
    }


def _sentence(names: Sequence[str], named: Sequence[Mapping[str, Any]], shared: Sequence[str]) -> str:
    """The same for people."""
    if not names:
        return "Nothing in the history speaks for it: it is what others like."
    told = [f"{name} ({why[t.SHARE]:.0%}, {why[t.DOMAIN]})" for name, why in zip(names, named, strict=True)]
    alike = f"; in common: {', '.join(shared)}" if shared else ""
    return f"Because of {'; '.join(told)}{alike}."
