"""popularity: what sells, what sells lately, what sells to people with the same tags, and what is new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from crossrec_cli.models.base import Feature, Floats, Matrix, NewItems, Parts, Scorer, TrainingData, trained_purchases
from crossrec_cli.models.ragged import Ints, Ragged

NAME, TAG_SALES = "popularity", "tag_sales"
HALF_LIFE = 30 * 86400 * 10**6
"""Microseconds after which a sale counts half in recent sales: thirty days."""
FEW_BUYERS = 20.0
"""Of a tag: everybody's sales count as much as those of so many of its users."""


@dataclass(frozen=True)
class ItemFact:
    """The same for every user: one of the item vectors' dimensions."""

    name: str
    dimension: int
    width: int

    def user_vectors(self, histories: Ragged, tags: Ragged) -> Matrix:
        """See ``Feature``."""
        users = np.zeros((len(histories.lengths), self.width), np.float32)
        users[:, self.dimension] = 1
        return users

    def parts(self, histories: Ragged, tags: Ragged, listed: Ints) -> Parts:
        """See ``Feature``; no interaction has any part in it."""
        return Parts.none(histories, listed)


@dataclass(frozen=True)
class TagSales:
    """How much more an item sells to users with the same tags than to all, in logarithms; the mean over the tags."""

    name: str
    first: int
    """The dimension of the first tag."""
    tags: int
    width: int

    def user_vectors(self, histories: Ragged, tags: Ragged) -> Matrix:
        """See ``Feature``."""
        known = tags.where(tags.values < self.tags)
        mean = (1 / np.maximum(known.lengths, 1)[known.rows]).astype(np.float32)
        cells = (mean, (known.rows, self.first + known.values))
        return csr_array(cells, shape=(len(known.lengths), self.width)).toarray()

    def parts(self, histories: Ragged, tags: Ragged, listed: Ints) -> Parts:
        """See ``Feature``; no interaction has any part in it."""
        return Parts.none(histories, listed)


def popularity(data: TrainingData) -> Scorer:
    """Sales, recent sales where there are times, sales within tags, and whether anybody bought the item at all."""
    sold = data.histories.item_stats.popularity
    facts = {"sales": _sales(data), "unsold": sold == 0}
    if data.times is not None:
        facts["recent_sales"] = np.log1p(_recent(data, data.times))
    users = np.bincount(data.histories.tags.values).astype(np.float32)
    columns = [np.asarray(fact, np.float32)[:, None] for fact in facts.values()]
    vectors = np.concatenate([*columns, _by_tag(data, users)], axis=1)
    return Scorer(NAME, vectors, features(list(facts), vectors.shape[1]), {"unsold": _unsold(len(facts), users)})


def features(facts: Sequence[str], width: int) -> list[Feature]:
    """One feature for each fact and, in the dimensions behind these, what sells to people with the same tags."""
    found: list[Feature] = [ItemFact(name, place, width) for place, name in enumerate(facts)]
    if width > len(facts):
        found.append(TagSales(TAG_SALES, len(facts), width - len(facts), width))
    return found


def place(scorer: Scorer, new: NewItems) -> Floats:
    """Vectors of new items, which nobody has bought."""
    found: Floats = np.tile(scorer.state["unsold"], (new.items.num_rows, 1))
    return found


def _unsold(facts: int, users: Floats) -> Floats:
    """The vector of an item that nobody bought; ``users`` is how many bear each tag."""
    found = np.concatenate([np.zeros(facts), np.log(FEW_BUYERS / (users + FEW_BUYERS))]).astype(np.float32)
    found[1] = 1
    return found


def sales(data: TrainingData) -> Scorer:
    """Sales alone."""
    return Scorer(NAME, _sales(data)[:, None], [ItemFact("sales", 0, 1)])


def _sales(data: TrainingData) -> Floats:
    """The logarithm of each item's sales and one, (I,)."""
    return np.log1p(data.histories.item_stats.popularity).astype(np.float32)


def _recent(data: TrainingData, times: Ints) -> Floats:
    """Sales of each item, each counting half after every ``HALF_LIFE`` before the end of training; (I,)."""
    histories = data.histories
    items, trains = histories.items, histories.trains
    if not trains.any():
        return np.zeros(len(data.is_target), np.float32)
    age = times[trains].max() - times[trains]
    sales: Floats = np.bincount(items.values[trains], 0.5 ** (age / HALF_LIFE), len(data.is_target)).astype(np.float32)
    return sales


def _by_tag(data: TrainingData, users: Floats) -> Floats:
    """For each tag the logarithm of how much larger an item's share of buyers is than among all, (I, tags)."""
    bought, tags = trained_purchases(data), data.histories.tags
    total = bought.shape[0]
    has = csr_array((np.ones(len(tags.values), np.float32), (tags.rows, tags.values)), shape=(total, len(users)))
    share = (bought.sum(axis=0) + 0.5) / total
    lift = ((has.T @ bought).toarray() + FEW_BUYERS * share) / ((users[:, None] + FEW_BUYERS) * share)
    found: Floats = np.log(lift).T.astype(np.float32)
    return found
