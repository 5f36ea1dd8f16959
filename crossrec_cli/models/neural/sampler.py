"""Training examples cut from histories, batch by batch."""

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
"""At least this part of the candidates is drawn, however many are asked for."""
WITHOUT_HISTORY = 0.1
"""Share of users in a step whose interest must be told from their tags alone, as a new user's is."""

GIVEN = (0.3, 1.0)
"""The part of a history that a bag is given while it learns: anything between these, since users come with half of what
is to be known of them, and with nearly all. On the Complete Journey no worse than a half each time on validation, and
better on an earlier split."""


@dataclass(frozen=True)
class SetExamples:
    """Given a random part of each history, which items are in the rest of it?"""

    given: Ragged
    tags: Ragged
    rows: torch.Tensor
    """For each item to predict, the user (within the batch) whose it is; int64."""
    items: torch.Tensor
    """The items to predict; int64."""
    weights: torch.Tensor
    """How much each of them counts; float32."""

    def of(self, users: Ints) -> SetExamples:
        """Those of some users, given by their places in the batch, ascending."""
        place = torch.from_numpy(numbered(users, len(self.given.lengths)))[self.rows]
        kept = place >= 0
        return SetExamples(
            self.given.take(users), self.tags.take(users), place[kept], self.items[kept], self.weights[kept]
        )


@dataclass(frozen=True)
class NextExamples:
    """Given a history up to each place in a window, which item comes next?"""

    before: Ragged
    """What lies before the window, oldest first."""
    window: Ints
    """The window's items, shape (users, width), filled up with 0 on the right."""
    weights: torch.Tensor
    """How much each of them counts; float32, shape (users, width), filled up with 0."""
    tags: Ragged
    asked: torch.Tensor
    """Where the window holds an item to predict; bool, shape (users, width)."""
    places: torch.Tensor
    """The users' places in the batch, by which each has its own chance; int64, shape (users,)."""

    def of(self, users: Ints) -> NextExamples:
        """Those of some users, given by their places in the batch, ascending."""
        return NextExamples(
            self.before.take(users),
            self.window[users],
            self.weights[users],
            self.tags.take(users),
            self.asked[users],
            self.places[users],
        )

    def renamed(self, number: Ints) -> NextExamples:
        """The same, each item ``i`` called ``number[i]``."""
        return replace(self, before=self.before.renamed(number), window=number[self.window])


@dataclass(frozen=True)
class Candidates:
    """The items of one domain that are told apart in a step."""

    items: Ints
    asked_for: int
    """The first so many are asked for and the others drawn; 0 where all there are are taken."""
    shift: Weights | None
    """What is added to each one's score for those that it stands for; None: nothing, as none is left out."""

    @classmethod
    def sampled(cls, domain: Bools, asked: Ints, most: int, rng: np.random.Generator) -> Candidates:
        """All items of a domain, or those asked for and some of the others.

        The sum over the others is then estimated without bias, as each drawn one counts for as many as it stands for:
        the logQ correction (Bengio & Senécal 2008, https://doi.org/10.1109/TNN.2007.912312) with the items asked for
        never drawn, since they are there.

        Args:
            domain: the items to choose from, (items,).
            asked: items asked for in the step, all of the domain, int64.
            most: how many candidates at most; more where more are asked for.
            rng: draws the others, with replacement.
        """
        present, pool = np.unique(asked), np.flatnonzero(domain)
        if len(pool) <= max(most, len(present)):
            return cls(pool, 0, None)
        others = domain.copy()
        others[present] = False
        left = np.flatnonzero(others)
        drawn = rng.choice(left, max(most - len(present), most // FEWEST_DRAWN))
        shift = np.zeros(len(present) + len(drawn), np.float32)
        shift[len(present) :] = np.log(len(left) / len(drawn))
        return cls(np.concatenate([present, drawn]), len(present), shift)


@dataclass(frozen=True)
class Sampler:
    """Cuts training examples from histories."""

    histories: Ragged
    tags: Ragged
    domains: tuple[Bools, ...]
    """Items that may be asked for, each told apart from the others of its domain; disjoint, shape (items,) each."""
    batch_size: int
    window: int
    by_length: bool = False
    """Whether users with histories of like length share a batch, which spares a sequence encoder the padding."""

    @cached_property
    def predict(self) -> Bools:
        """Items that may be asked for, of all domains; shape (items,)."""
        found: Bools = np.any(self.domains, axis=0)
        return found

    @cached_property
    def users(self) -> Ints:
        """Users with something to ask for."""
        return np.unique(self.histories.rows[self.predict[self.histories.values]])

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.users) // self.batch_size)

    def epoch(self, rng: np.random.Generator) -> Iterator[Ints]:
        """All users once, in random order, batch by batch."""
        order = rng.permutation(self.users)
        if self.by_length:
            order = self._alike(order)
        starts = np.arange(0, len(order), self.batch_size)
        for start in rng.permutation(starts) if self.by_length else starts:
            yield order[start : start + self.batch_size]

    def _alike(self, order: Ints) -> Ints:
        """The users sorted by length within blocks of batches, so that who meets whom still changes by the epoch."""
        block = np.arange(len(order)) // (self.batch_size * BATCHES_SORTED)
        return order[np.lexsort((np.minimum(self.histories.lengths[order], self.window), block))]

    def set_examples(self, users: Ints, rng: np.random.Generator) -> SetExamples:
        """Cut each history in two at random; of some users give nothing, so that tags alone learn to speak."""
        whole = self.histories.take(users)
        share = np.where(rng.random(len(users)) < WITHOUT_HISTORY, 0.0, rng.uniform(*GIVEN, len(users)))
        given = rng.random(len(whole.values)) < np.repeat(share, whole.lengths)
        asked = whole.where(~given & self.predict[whole.values])
        return SetExamples(
            whole.where(given),
            self.tags.take(users),
            torch.from_numpy(asked.rows),
            torch.from_numpy(asked.values),
            torch.from_numpy(asked.weights_or_ones),
        )

    def next_examples(self, users: Ints, rng: np.random.Generator) -> NextExamples:
        """The whole of a short history; of a long one, a window that ends in an item that may be asked for."""
        whole = self.histories.take(users)
        asked = whole.where(self.predict[whole.values])
        places = np.flatnonzero(self.predict[whole.values]) - np.repeat(whole.starts, asked.lengths)
        chosen = places[asked.starts + rng.integers(0, asked.lengths)]
        ends = np.where(whole.lengths <= self.window, whole.lengths, np.maximum(chosen + 1, self.window))
        begins = np.maximum(ends - self.window, 0)
        lists = np.arange(len(users))
        inside = whole.slice(lists, begins, ends)
        window, filled = inside.padded()
        weights = np.zeros(window.shape, np.float32)
        weights[filled] = inside.weights_or_ones
        return NextExamples(
            whole.take(lists, begins),
            window,
            torch.from_numpy(weights),
            self.tags.take(users),
            torch.from_numpy(filled & self.predict[window]),
            torch.arange(len(users)),
        )
