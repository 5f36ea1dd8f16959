"""Histories as flat arrays, and the training examples cut from them without a loop over users."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from crossrec_cli.artifacts import columns as c

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

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Weights = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Ragged:
    """Lists of different lengths, one after the other.

    ``values`` int64 (sum of lengths,), ``lengths`` int64 (lists,), ``weights`` float32 (sum of lengths,).
    """

    values: Ints
    lengths: Ints
    weights: Weights | None = None
    """How much each value counts, above 0; None: 1 each."""

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]]) -> Ragged:
        """From plain lists."""
        flat = np.fromiter(chain.from_iterable(lists), dtype=np.int64)
        return cls(flat, np.array([len(values) for values in lists], dtype=np.int64))

    @cached_property
    def starts(self) -> Ints:
        """Where each list begins in ``values``."""
        return np.cumsum(self.lengths) - self.lengths

    @cached_property
    def rows(self) -> Ints:
        """For each value, the list that it is in."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @property
    def weights_or_ones(self) -> Weights:
        """How much each value counts, float32 (sum of lengths,)."""
        return np.ones(len(self.values), np.float32) if self.weights is None else self.weights

    def take(self, lists: Ints, first: Ints | None = None) -> Ragged:
        """Some of the lists, each cut to its ``first`` values where that is given."""
        lengths = self.lengths[lists] if first is None else np.minimum(first, self.lengths[lists])
        return self.slice(lists, np.zeros_like(lengths), lengths)

    def slice(self, lists: Ints, begins: Ints, ends: Ints) -> Ragged:
        """Values ``begins`` (included) to ``ends`` (not included) of some of the lists."""
        lengths = ends - begins
        skip = self.starts[lists] + begins - (np.cumsum(lengths) - lengths)
        return self._pick(np.arange(lengths.sum()) + np.repeat(skip, lengths), lengths)

    def where(self, keep: Bools) -> Ragged:
        """The values for which ``keep`` holds, in the same lists."""
        return self._pick(keep, np.bincount(self.rows[keep], minlength=len(self.lengths)))

    def renamed(self, number: Ints) -> Ragged:
        """The same lists, each value ``v`` called ``number[v]``."""
        return Ragged(number[self.values], self.lengths, self.weights)

    def _pick(self, places: Ints | Bools, lengths: Ints) -> Ragged:
        """Some of the values with their weights, in new lists."""
        return Ragged(self.values[places], lengths, None if self.weights is None else self.weights[places])

    def padded(self) -> tuple[Ints, Bools]:
        """A matrix (lists, longest) filled up with 0 on the right, and where it holds values."""
        width = int(self.lengths.max(initial=0))
        filled = np.arange(width) < self.lengths[:, None]
        matrix = np.zeros(filled.shape, dtype=np.int64)
        matrix[filled] = self.values
        return matrix, filled


@dataclass(frozen=True)
class Domain:
    """Which items belong to what."""

    is_target: Bools
    """Shape (items,)."""
    popularity: Ints
    """How many training interactions each item has; shape (items,)."""

    @property
    def is_source(self) -> Bools:
        """The others; all items where the target is the whole catalogue. Shape (items,)."""
        return self.is_target if self.is_target.all() else ~self.is_target

    @property
    def trained(self) -> Bools:
        """Items that have any; the others are cold."""
        return self.popularity > 0


@dataclass(frozen=True)
class Histories:
    """All users' interactions, oldest first, and what is asked of them."""

    items: Ragged
    """Each user's item indices, with how much each interaction counts."""
    train_lengths: Ints
    """How many of them, from the first, may be trained on; shape (users,)."""
    tags: Ragged
    """Each user's tag indices."""
    domain: Domain
    scattered: Bools | None = None
    """Which of them may be trained on, where those are not the first ones alone, as a split that came with the data may
    have it; ``train_lengths`` then ends before all that may not. Shape (interactions,)."""

    @property
    def users(self) -> int:
        """Number of users."""
        return len(self.train_lengths)

    @cached_property
    def trains(self) -> Bools:
        """Which interactions may be trained on; shape (interactions,)."""
        if self.scattered is not None:
            return self.scattered
        place = np.arange(len(self.items.values)) - self.items.starts[self.items.rows]
        return place < self.train_lengths[self.items.rows]

    @cached_property
    def training(self) -> Ragged:
        """The training part of every history."""
        if self.scattered is not None:
            return self.items.where(self.scattered)
        return self.items.take(np.arange(self.users), self.train_lengths)

    @property
    def source_training(self) -> Ragged:
        """Of that, what is in the source."""
        return self.training.where(self.domain.is_source[self.training.values])

    def of_target(self) -> Histories:
        """What is left of them in the target alone."""
        lengths = self.target_lengths(np.arange(self.users), self.train_lengths)
        domain = Domain(self.domain.is_target, self.domain.popularity * self.domain.is_target)
        kept = self.domain.is_target[self.items.values]
        scattered = None if self.scattered is None else self.scattered[kept]
        return Histories(self.items.where(kept), lengths, self.tags, domain, scattered)

    def in_target(self, cases: Cases) -> Cases:
        """The same questions, asked of ``of_target``."""
        return replace(cases, history_lengths=self.target_lengths(cases.users, cases.history_lengths))

    def target_lengths(self, users: Ints, lengths: Ints) -> Ints:
        """How many of these users' first so many interactions are in the target."""
        given = self.items.take(users, lengths)
        return given.where(self.domain.is_target[given.values]).lengths


@dataclass(frozen=True)
class Cases:
    """Held-out questions: given the first part of this user's history, which items come?"""

    users: Ints
    history_lengths: Ints
    truth: Ragged
    """The items to be found, one list a case."""

    @property
    def count(self) -> int:
        """Number of cases."""
        return len(self.users)

    def of(self, cases: Ints) -> Cases:
        """Some of them, given by their places."""
        return Cases(self.users[cases], self.history_lengths[cases], self.truth.take(cases))


def numbered(chosen: Ints, size: int) -> Ints:
    """For each of 0 … size − 1 its place among the chosen, −1 where it is none of them."""
    number = np.full(size, -1)
    number[chosen] = np.arange(len(chosen))
    return number


def load_histories(
    interactions: pa.Table, items: pa.Table, users: pa.Table, tag_names: list[str], validated: bool = False
) -> Histories:
    """Arrays from preprocess's tables, which are sorted by user and position.

    Args:
        interactions: as ``schemas.INTERACTIONS``.
        items: as ``schemas.ITEMS``.
        users: as ``schemas.USERS``.
        tag_names: the tags that the model knows; others are passed over.
        validated: validation is over, so that what was held out for it alone may be trained on as well.
    """
    user, item = _ints(interactions, c.USER_INDEX), _ints(interactions, c.ITEM_INDEX)
    splits = pa.array([c.TRAIN, c.VALID] if validated else [c.TRAIN])
    trains = pc.is_in(interactions[c.SPLIT], splits).to_numpy()
    weight = interactions[c.WEIGHT].to_numpy().astype(np.float32)
    is_target = pc.equal(items[c.DOMAIN], c.TARGET).to_numpy()
    popularity = np.bincount(item[trains], minlength=items.num_rows)
    histories = Ragged(item, np.bincount(user, minlength=users.num_rows), weight)
    first = histories.lengths.copy()  # so many train before anything that does not
    np.minimum.at(first, user[~trains], (np.arange(len(user)) - histories.starts[user])[~trains])
    return Histories(
        items=histories,
        train_lengths=first,
        tags=_tag_indices(users[c.TAGS], tag_names),
        domain=Domain(is_target, popularity),
        scattered=None if first.sum() == trains.sum() else trains,
    )


def load_cases(cases: pa.Table, split: str) -> Cases:
    """One split's cases; a user's held-out items with one given history are one case."""
    cases = cases.filter(pc.equal(cases[c.SPLIT], split))
    users, first, lengths = np.unique(_ints(cases, c.USER_INDEX), return_index=True, return_counts=True)
    return Cases(users, _ints(cases, c.HISTORY_LENGTH)[first], Ragged(_ints(cases, c.ITEM_INDEX), lengths))


def tag_vocabulary(users: pa.Table) -> list[str]:
    """Every tag that some user bears, sorted."""
    return sorted(pc.unique(pc.list_flatten(users[c.TAGS])).to_pylist())


def _ints(table: pa.Table, column: str) -> Ints:
    values: Ints = table[column].to_numpy().astype(np.int64)
    return values


def _tag_indices(tags: pa.ChunkedArray, names: list[str]) -> Ragged:
    number = {name: index for index, name in enumerate(names)}
    return Ragged.of([[number[tag] for tag in user if tag in number] for user in tags.to_pylist()])


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
