"""Training examples from histories, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from crossrec_cli.models.ragged import Bools, Ints, Ragged, Weights, numbered

BATCHES_SORTED = 32
"""Batches within which users are sorted by length."""
FEWEST_DRAWN = 4
"""At least one in this many candidates is a negative, however many items are to be predicted."""
WITHOUT_HISTORY = 0.1
"""Share of users in a step whose history is hidden, so that their tags are learned as for cold-start users."""

GIVEN = (0.3, 1.0)
"""The share of a history that a bag sees in training, uniform between these, as the histories of real users are more or
less complete. On the Complete Journey no worse than always one half on validation, and better on an earlier split."""


@dataclass(frozen=True)
class SetExamples:
    """Given a random part of each history, which items are in the rest of it?"""

    given: Ragged
    tags: Ragged
    rows: torch.Tensor
    """For each item to predict, its user's index in the batch; int64."""
    items: torch.Tensor
    """The items to predict; int64."""
    weights: torch.Tensor
    """Weight of each item to predict; float32."""

    def of(self, users: Ints) -> SetExamples:
        """The examples of some users, given by their indices in the batch, ascending."""
        row = torch.from_numpy(numbered(users, len(self.given.lengths)))[self.rows]
        kept = row >= 0
        return SetExamples(
            self.given.take(users), self.tags.take(users), row[kept], self.items[kept], self.weights[kept]
        )


@dataclass(frozen=True)
class NextExamples:
    """Given a history up to each position in a window, which item comes next?"""

    before: Ragged
    """The items before the window, oldest first."""
    window: Ints
    """The window's items, shape (users, width), filled up with 0 on the right."""
    weights: torch.Tensor
    """Weight of each of them; float32, shape (users, width), filled up with 0."""
    tags: Ragged
    predicted: torch.Tensor
    """Where the window holds an item to predict; bool, shape (users, width)."""
    row_keys: torch.Tensor
    """The users' indices in the batch, the keys of their dropout; int64, shape (users,)."""

    def of(self, users: Ints) -> NextExamples:
        """The examples of some users, given by their indices in the batch, ascending."""
        return NextExamples(
            self.before.take(users),
            self.window[users],
            self.weights[users],
            self.tags.take(users),
            self.predicted[users],
            self.row_keys[users],
        )

    def renamed(self, number: Ints) -> NextExamples:
        """The same, with each item ``i`` replaced by ``number[i]``."""
        return replace(self, before=self.before.renamed(number), window=number[self.window])


@dataclass(frozen=True)
class Candidates:
    """The items of one domain that are ranked in a step."""

    items: Ints
    n_positives: int
    """The first so many are to be predicted, and the others are sampled; 0 where all items are taken."""
    shift: Weights | None
    """Correction of each score for sampling; None where all items are taken."""

    @classmethod
    def sampled(cls, domain: Bools, to_predict: Ints, max_candidates: int, rng: np.random.Generator) -> Candidates:
        """All items of a domain, or those to be predicted and a sample of the others.

        The sum over the others is then estimated without bias, as each sampled item counts for all that it represents:
        the logQ correction (Bengio & Senécal 2008, https://doi.org/10.1109/TNN.2007.912312) with the items to predict
        never sampled, since they are always included.

        Args:
            domain: the items to choose from, (items,).
            to_predict: items to predict in the step, all of the domain, int64.
            max_candidates: how many candidates at most; more where more items are to be predicted.
            rng: samples the others, with replacement.
        """
        positives, pool = np.unique(to_predict), np.flatnonzero(domain)
        if len(pool) <= max(max_candidates, len(positives)):
            return cls(pool, 0, None)
        others = domain.copy()
        others[positives] = False
        rest = np.flatnonzero(others)
        drawn = rng.choice(rest, max(max_candidates - len(positives), max_candidates // FEWEST_DRAWN))
        shift = np.zeros(len(positives) + len(drawn), np.float32)
        shift[len(positives) :] = np.log(len(rest) / len(drawn))
        return cls(np.concatenate([positives, drawn]), len(positives), shift)


@dataclass(frozen=True)
class Sampler:
    """Makes training examples from histories."""

    histories: Ragged
    tags: Ragged
    domains: tuple[Bools, ...]
    """Items that may be predicted, each ranked among the others of its domain; disjoint, shape (items,) each."""
    batch_size: int
    window: int
    by_length: bool = False
    """Whether users with histories of similar length share a batch, which saves a sequence encoder padding."""

    @cached_property
    def predict(self) -> Bools:
        """Items that may be predicted, of all domains; shape (items,)."""
        predicted_items: Bools = np.any(self.domains, axis=0)
        return predicted_items

    @cached_property
    def users(self) -> Ints:
        """Users with at least one item to predict."""
        return np.unique(self.histories.rows[self.predict[self.histories.values]])

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.users) // self.batch_size)

    def epoch(self, rng: np.random.Generator) -> Iterator[Ints]:
        """All users once, in random order, batch by batch."""
        order = rng.permutation(self.users)
        if self.by_length:
            order = self._sorted_by_length(order)
        starts = np.arange(0, len(order), self.batch_size)
        for start in rng.permutation(starts) if self.by_length else starts:
            yield order[start : start + self.batch_size]

    def _sorted_by_length(self, order: Ints) -> Ints:
        """The users sorted by length within blocks of batches, so that batches still change with each epoch."""
        block = np.arange(len(order)) // (self.batch_size * BATCHES_SORTED)
        return order[np.lexsort((np.minimum(self.histories.lengths[order], self.window), block))]

    def set_examples(self, users: Ints, rng: np.random.Generator) -> SetExamples:
        """Split each history in two at random; of some users give nothing, so that tags are learned without history."""
        histories = self.histories.take(users)
        given_share = np.where(rng.random(len(users)) < WITHOUT_HISTORY, 0.0, rng.uniform(*GIVEN, len(users)))
        given = rng.random(len(histories.values)) < np.repeat(given_share, histories.lengths)
        to_predict = histories.where(~given & self.predict[histories.values])
        return SetExamples(
            histories.where(given),
            self.tags.take(users),
            torch.from_numpy(to_predict.rows),
            torch.from_numpy(to_predict.values),
            torch.from_numpy(to_predict.weights_or_ones),
        )

    def next_examples(self, users: Ints, rng: np.random.Generator) -> NextExamples:
        """All of a short history; of a long one, a window that ends with an item that may be predicted."""
        histories = self.histories.take(users)
        to_predict = histories.where(self.predict[histories.values])
        positions = np.flatnonzero(self.predict[histories.values]) - np.repeat(histories.starts, to_predict.lengths)
        last = positions[to_predict.starts + rng.integers(0, to_predict.lengths)]
        ends = np.where(histories.lengths <= self.window, histories.lengths, np.maximum(last + 1, self.window))
        begins = np.maximum(ends - self.window, 0)
        lists = np.arange(len(users))
        inside = histories.slice(lists, begins, ends)
        window, filled = inside.padded()
        weights = np.zeros(window.shape, np.float32)
        weights[filled] = inside.weights_or_ones
        return NextExamples(
            histories.take(lists, begins),
            window,
            torch.from_numpy(weights),
            self.tags.take(users),
            torch.from_numpy(filled & self.predict[window]),
            torch.arange(len(users)),
        )
