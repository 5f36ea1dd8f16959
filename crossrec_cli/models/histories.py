"""Histories as flat arrays, and the cases that are held out of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crossrec_cli.artifacts import columns as c
from crossrec_cli.models.ragged import Bools, Ints, Ragged


@dataclass(frozen=True)
class ItemStats:
    """Each item's domain and popularity."""

    is_target: Bools
    """Shape (items,)."""
    popularity: Ints
    """How many training interactions each item has; shape (items,)."""

    @property
    def is_source(self) -> Bools:
        """Items of the source; all items where the target is the whole catalogue. Shape (items,)."""
        return self.is_target if self.is_target.all() else ~self.is_target

    @property
    def trained(self) -> Bools:
        """Items with training interactions; the others are cold-start items."""
        return self.popularity > 0


@dataclass(frozen=True)
class Histories:
    """All users' interactions, oldest first, and which of them may be trained on."""

    items: Ragged
    """Each user's item indices, with how much each interaction counts; dislikes are among them."""
    train_lengths: Ints
    """How many of them, from the first, may be trained on but for dislikes; shape (users,)."""
    tags: Ragged
    """Each user's tag indices."""
    item_stats: ItemStats
    scattered: Bools | None = None
    """Which of them may be trained on, where these are not just the first ones, as in a split that came with the data,
    whose ``train_lengths`` end before the first held-out one, or beside dislikes. Shape (interactions,)."""

    @property
    def users(self) -> int:
        """Number of users."""
        return len(self.train_lengths)

    @cached_property
    def trains(self) -> Bools:
        """Which interactions may be trained on; shape (interactions,)."""
        if self.scattered is not None:
            return self.scattered
        position = np.arange(len(self.items.values)) - self.items.starts[self.items.rows]
        return position < self.train_lengths[self.items.rows]

    @cached_property
    def training(self) -> Ragged:
        """The training part of every history."""
        if self.scattered is not None:
            return self.items.where(self.scattered)
        return self.items.take(np.arange(self.users), self.train_lengths)

    @property
    def source_training(self) -> Ragged:
        """The source interactions of the training part."""
        return self.training.where(self.item_stats.is_source[self.training.values])

    def of_target(self) -> Histories:
        """The same histories with target interactions only."""
        lengths = self.target_lengths(np.arange(self.users), self.train_lengths)
        item_stats = ItemStats(self.item_stats.is_target, self.item_stats.popularity * self.item_stats.is_target)
        kept = self.item_stats.is_target[self.items.values]
        scattered = None if self.scattered is None else self.scattered[kept]
        return Histories(self.items.where(kept), lengths, self.tags, item_stats, scattered)

    def in_target(self, cases: Cases) -> Cases:
        """The same cases, for the histories of ``of_target``."""
        return replace(cases, history_lengths=self.target_lengths(cases.users, cases.history_lengths))

    def target_purchases(self, users: Ints, lengths: Ints) -> Ints:
        """How many of these users' first ``lengths`` interactions are purchases in the target."""
        return purchases_in(self.items.take(users, lengths), self.item_stats.is_target)

    def target_lengths(self, users: Ints, lengths: Ints) -> Ints:
        """How many of these users' first ``lengths`` interactions are in the target, dislikes among them."""
        history_parts = self.items.take(users, lengths)
        return history_parts.where(self.item_stats.is_target[history_parts.values]).lengths


@dataclass(frozen=True)
class Cases:
    """Held-out cases: given the first part of this user's history, which items come next?"""

    users: Ints
    history_lengths: Ints
    truth: Ragged
    """The held-out items, one list a case."""

    @property
    def count(self) -> int:
        """Number of cases."""
        return len(self.users)

    def of(self, cases: Ints) -> Cases:
        """Some of the cases, by index."""
        return Cases(self.users[cases], self.history_lengths[cases], self.truth.take(cases))

    def sample(self, limit: int | None, seed: int) -> Cases:
        """The cases, or a random sample of so many where there are more, in their order."""
        if limit is None or self.count <= limit:
            return self
        return self.of(np.sort(np.random.default_rng(seed).choice(self.count, limit, replace=False)))


def purchases_in(histories: Ragged, is_target: Bools) -> Ints:
    """How many of each user's interactions are purchases in the target, (B,)."""
    return histories.where(is_target[histories.values] & histories.liked).lengths


def load_histories(
    interactions: pa.Table, items: pa.Table, users: pa.Table, tag_names: list[str], validated: bool = False
) -> Histories:
    """Arrays from preprocess's tables, which are sorted by user and position.

    Args:
        interactions: as ``schemas.INTERACTIONS``.
        items: as ``schemas.ITEMS``.
        users: as ``schemas.USERS``.
        tag_names: the model's tags; others are skipped.
        validated: whether validation is over, so that its held-out purchases may be trained on as well.
    """
    user, item = _ints(interactions, c.USER_INDEX), _ints(interactions, c.ITEM_INDEX)
    splits = pa.array([c.TRAIN, c.VALID] if validated else [c.TRAIN])
    trains = pc.is_in(interactions[c.SPLIT], splits).to_numpy()
    weight = interactions[c.WEIGHT].to_numpy().astype(np.float32)
    is_target = pc.equal(items[c.DOMAIN], c.TARGET).to_numpy()
    popularity = np.bincount(item[trains], minlength=items.num_rows)
    histories = Ragged(item, np.bincount(user, minlength=users.num_rows), weight)
    train_lengths = histories.lengths.copy()  # before the first that is held out
    ends = ~trains & histories.liked
    np.minimum.at(train_lengths, user[ends], (np.arange(len(user)) - histories.starts[user])[ends])
    return Histories(
        items=histories,
        train_lengths=train_lengths,
        tags=_tag_indices(users[c.TAGS], tag_names),
        item_stats=ItemStats(is_target, popularity),
        scattered=None if train_lengths.sum() == trains.sum() else trains,
    )


def load_cases(cases: pa.Table, split: str) -> Cases:
    """One split's cases; a user's held-out items with one given history are one case."""
    cases = cases.filter(pc.equal(cases[c.SPLIT], split))
    users, first, lengths = np.unique(_ints(cases, c.USER_INDEX), return_index=True, return_counts=True)
    return Cases(users, _ints(cases, c.HISTORY_LENGTH)[first], Ragged(_ints(cases, c.ITEM_INDEX), lengths))


def tag_vocabulary(users: pa.Table) -> list[str]:
    """Every tag that some user has, sorted."""
    return sorted(pc.unique(pc.list_flatten(users[c.TAGS])).to_pylist())


def _ints(table: pa.Table, column: str) -> Ints:
    values: Ints = table[column].to_numpy().astype(np.int64)
    return values


def _tag_indices(tags: pa.ChunkedArray, names: list[str]) -> Ragged:
    number = {name: index for index, name in enumerate(names)}
    return Ragged.of([[number[tag] for tag in user if tag in number] for user in tags.to_pylist()])
