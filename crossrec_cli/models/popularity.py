"""popularity: what sells, what sells lately, what sells to people with the same tags, and what is new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from crossrec_cli.models.base import (
    Domain,
    Feature,
    NewItems,
    Scorer,
    TrainingData,
    VectorParts,
    trained_purchases,
)
from crossrec_cli.models.history_sums import Parts
from crossrec_cli.models.ragged import Ints, Ragged
from crossrec_cli.models.vectors import Floats, Matrix

NAME, TAG_SALES = "popularity", "tag_sales"
HALF_LIFE = 30 * 86400 * 10**6
"""Microseconds after which a sale counts half in recent sales: thirty days."""
FEW_BUYERS = 20.0
"""Smoothing of a tag's sales: sales to all users count as much as those to so many of its users."""


@dataclass(frozen=True)
class ItemFact:
    """A feature that is the same for every user: one dimension of the item vectors."""

    name: str
    dimension: int
    width: int

    def user_vectors(self, histories: Ragged, tags: Ragged) -> Matrix:
        """See ``Feature``."""
        users = np.zeros((len(histories.lengths), self.width), np.float32)
        users[:, self.dimension] = 1
        return users

    def vector_parts(self, histories: Ragged, tags: Ragged, domain: Domain) -> VectorParts:
        """See ``Feature``; no interaction contributes."""
        users = self.user_vectors(histories, tags)
        return VectorParts(users, None, users)

    def parts(self, histories: Ragged, tags: Ragged, listed: Ints) -> Parts:
        """See ``Feature``; zeros, as no interaction contributes."""
        return Parts.none(len(histories.values), listed.shape[1])


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
        known_tags = tags.where(tags.values < self.tags)
        mean = (1 / np.maximum(known_tags.lengths, 1)[known_tags.rows]).astype(np.float32)
        cells = (mean, (known_tags.rows, self.first + known_tags.values))
        return csr_array(cells, shape=(len(known_tags.lengths), self.width)).toarray()

    def vector_parts(self, histories: Ragged, tags: Ragged, domain: Domain) -> VectorParts:
        """See ``Feature``; no interaction contributes."""
        users = self.user_vectors(histories, tags)
        return VectorParts(users, None, users)

    def parts(self, histories: Ragged, tags: Ragged, listed: Ints) -> Parts:
        """See ``Feature``; zeros, as no interaction contributes."""
        return Parts.none(len(histories.values), listed.shape[1])


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
    """One feature for each fact and, in the dimensions after these, one for sales to users with the same tags."""
    all_features: list[Feature] = [ItemFact(name, dimension, width) for dimension, name in enumerate(facts)]
    if width > len(facts):
        all_features.append(TagSales(TAG_SALES, len(facts), width - len(facts), width))
    return all_features


def new_vectors(scorer: Scorer, new: NewItems) -> Floats:
    """Vectors of new items, which nobody has bought."""
    vectors: Floats = np.tile(scorer.state["unsold"], (new.items.num_rows, 1))
    return vectors


def _unsold(facts: int, users: Floats) -> Floats:
    """The vector of an item that nobody bought; ``users`` is the number of users with each tag."""
    vector = np.concatenate([np.zeros(facts), np.log(FEW_BUYERS / (users + FEW_BUYERS))]).astype(np.float32)
    vector[1] = 1
    return vector


def sales(data: TrainingData) -> Scorer:
    """A scorer with one feature: sales."""
    return Scorer(NAME, _sales(data)[:, None], [ItemFact("sales", 0, 1)])


def _sales(data: TrainingData) -> Floats:
    """log(1 + sales) of each item, (I,)."""
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
    """For each tag, the logarithm of an item's share of its users, relative to its share of all users; (I, tags)."""
    bought, tags = trained_purchases(data), data.histories.tags
    total = bought.shape[0]
    user_tags = csr_array((np.ones(len(tags.values), np.float32), (tags.rows, tags.values)), shape=(total, len(users)))
    share = (bought.sum(axis=0) + 0.5) / total
    lift = ((user_tags.T @ bought).toarray() + FEW_BUYERS * share) / ((users[:, None] + FEW_BUYERS) * share)
    log_lift: Floats = np.log(lift).T.astype(np.float32)
    return log_lift
