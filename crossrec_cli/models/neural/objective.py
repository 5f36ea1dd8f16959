"""What a batch asks of a model, and how far from it the model is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from crossrec_cli.models.neural.loss import softmax_loss
from crossrec_cli.models.neural.sampler import Candidates, NextExamples, Sampler, SetExamples
from crossrec_cli.models.neural.tower import InterestModel, ItemRows
from crossrec_cli.models.ragged import Ints, numbered


@dataclass(frozen=True)
class Batch:
    """What one batch asks of its users, and the items that it reads and chooses from.

    Each user encoder learns from the question that suits it: a bag from the rest of a set, a sequence from what comes
    next. An item to predict counts by its interaction's weight, among the candidates of its own domain. Only items that
    the batch needs pass through the tower.
    """

    sets: SetExamples | None
    nexts: NextExamples | None
    present: Ints | None
    """The items that are needed, sorted; None: all."""
    number: Ints
    """For each item of the catalogue, its index in ``present``; 0 for those not needed."""
    candidates: list[Candidates]
    """Of each domain that something is asked of."""

    @classmethod
    def of(cls, model: InterestModel, sampler: Sampler, users: Ints, most: int, rng: np.random.Generator) -> Batch:
        """Examples cut from the histories of some users of the sampler, and at most so many candidates a domain."""
        sets = sampler.set_examples(users, rng) if model.bag is not None else None
        nexts = sampler.next_examples(users, rng) if model.sequence is not None else None
        asked = [sets.items.numpy()] if sets is not None else []
        read = [sets.given.values] if sets is not None else []
        if nexts is not None:
            asked.append(nexts.window[nexts.asked.numpy()])
            read += [nexts.before.values, nexts.window.ravel()]
        everything = np.concatenate(asked)
        of_domain = [(domain, everything[domain[everything]]) for domain in sampler.domains]
        candidates = [Candidates.sampled(domain, some, most, rng) for domain, some in of_domain if len(some)]
        needed = np.zeros(len(sampler.predict), bool)
        for some in (*read, *(one.items for one in candidates)):
            needed[some] = True
        present = np.flatnonzero(needed)
        number = np.zeros(len(needed), np.int64)
        number[present] = np.arange(len(present))
        return cls(sets, nexts, None if needed.all() else present, number, candidates)

    def loss(self, model: InterestModel, users: Ints) -> Tensor:
        """What some users, given by their indices in the batch, have of its loss; all parts add up to it.

        The domains count alike, however much more is bought in one of them.
        """
        items = model.tower(None if self.present is None else torch.from_numpy(self.present).to(model.device))
        loss = torch.zeros((), device=model.device)
        if self.sets is not None:
            sets = self.sets.of(users)
            wanted = model.bag_vectors(items, sets.given.renamed(self.number), sets.tags)
            loss = loss + self._loss(items, wanted, _Positives.of_sets(sets), _Positives.of_sets(self.sets))
        if self.nexts is not None:
            nexts = self.nexts.of(users)
            wanted = model.next_vectors(items, nexts.renamed(self.number))[nexts.asked.to(model.device)]
            loss = loss + self._loss(items, wanted, _Positives.of_nexts(nexts), _Positives.of_nexts(self.nexts))
        return loss

    def _loss(self, items: ItemRows, wanted: Tensor, asked: _Positives, of_all: _Positives) -> Tensor:
        """How far user vectors (Q, d) are from what is asked of them, as a share of what is asked in the batch."""
        losses = []
        for candidates in self.candidates:
            choice = _Choice.of(candidates, self.number, items)
            mine, everybody = asked.among(choice.place), of_all.among(choice.place)
            share = float(mine.weights.sum() / everybody.weights.sum().clamp(min=1e-12))
            losses.append(choice.loss(wanted, mine) * share)
        return torch.stack(losses).mean() if losses else wanted.sum() * 0


@dataclass(frozen=True)
class _Positives:
    """Items to predict."""

    rows: Tensor
    """For each, the row of the user vector that is asked, int64 (T,), ascending."""
    items: Tensor
    """Its index in the catalogue, int64 (T,)."""
    weights: Tensor
    """How much it counts, float32 (T,)."""

    @classmethod
    def of_sets(cls, sets: SetExamples) -> _Positives:
        return cls(sets.rows, sets.items, sets.weights)

    @classmethod
    def of_nexts(cls, nexts: NextExamples) -> _Positives:
        items = torch.from_numpy(nexts.window)[nexts.asked]
        return cls(torch.arange(len(items)), items, nexts.weights[nexts.asked])

    def among(self, place: Ints) -> _Positives:
        """Those that have a place among the candidates."""
        kept = torch.from_numpy(place)[self.items] >= 0
        return _Positives(self.rows[kept], self.items[kept], self.weights[kept])


@dataclass(frozen=True)
class _Choice:
    """The candidates of one domain, from the tower."""

    vectors: Tensor
    bias: Tensor
    """With what is added for those that they stand for."""
    place: Ints
    """For each item of the catalogue, its index among them, or −1."""

    @classmethod
    def of(cls, candidates: Candidates, number: Ints, items: ItemRows) -> _Choice:
        device = items.bias.device
        chosen = torch.from_numpy(number[candidates.items]).to(device)
        bias = items.bias[chosen]
        if candidates.shift is not None:
            bias = bias + torch.from_numpy(candidates.shift).to(device)
        asked_for = candidates.items[: candidates.asked_for] if candidates.shift is not None else candidates.items
        return cls(items.vectors[chosen], bias, numbered(asked_for, len(number)))

    def loss(self, wanted: Tensor, asked: _Positives) -> Tensor:
        """The softmax loss of user vectors (Q, d)."""
        device = wanted.device
        who, rows = torch.unique_consecutive(asked.rows, return_inverse=True)
        place = torch.from_numpy(self.place[asked.items.numpy()]).to(device)
        return softmax_loss(
            wanted[who.to(device)], self.vectors, self.bias, rows.to(device), place, asked.weights.to(device)
        )
