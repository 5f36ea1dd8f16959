"""What a batch asks of a model, and how far from it the model is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from crossrec_cli.config.schema import Training
from crossrec_cli.interest.batches import Candidates, Ints, NextExamples, Sampler, SetExamples
from crossrec_cli.interest.loss import bce_loss, gbce_beta, softmax_loss
from crossrec_cli.interest.model import InterestModel, Items

NEGATIVES = 256
"""Items drawn in a step of ``bce`` and ``gbce``; all its purchases share them."""


@dataclass(frozen=True)
class Batch:
    """What one batch asks of its users, and the items that it reads and chooses from.

    Each user encoder learns from the question that suits it: a bag from the rest of a set, a sequence from what comes
    next. An item to predict counts by its interaction's weight. Only items that the batch needs pass through the tower.
    """

    sets: SetExamples | None
    nexts: NextExamples | None
    present: Ints | None
    """The items that are needed, sorted; None: all."""
    number: Ints
    """For each item of the catalogue, its place in ``present``; 0 for those not needed."""
    candidates: Candidates
    place: Ints
    """For each item of the catalogue, its place among the candidates."""
    pool: int
    """How many items there are to choose from."""

    @classmethod
    def of(
        cls, model: InterestModel, sampler: Sampler, users: Ints, training: Training, rng: np.random.Generator
    ) -> Batch:
        """Examples cut from the histories of some users of the sampler, and the candidates to choose from."""
        sets = sampler.set_examples(users, rng) if model.bag is not None else None
        nexts = sampler.next_examples(users, rng) if model.sequence is not None else None
        asked = [sets.items.numpy()] if sets is not None else []
        read = [sets.given.values] if sets is not None else []
        if nexts is not None:
            asked.append(nexts.window[nexts.asked.numpy()])
            read += [nexts.before.values, nexts.window.ravel()]
        everything = np.concatenate(asked)
        if model.loss == "softmax":
            candidates = sampler.candidates(everything, training.candidates, rng)
        else:
            candidates = sampler.negatives(everything, NEGATIVES, rng)
        needed = np.zeros(len(sampler.predict), bool)
        for some in (*read, candidates.items):
            needed[some] = True
        present = np.flatnonzero(needed)
        number = np.zeros(len(needed), np.int64)
        number[present] = np.arange(len(present))
        place = np.full(len(needed), -1)
        place[candidates.items[::-1]] = np.arange(len(candidates.items))[::-1]  # of an item drawn twice, the first
        return cls(sets, nexts, None if needed.all() else present, number, candidates, place, len(sampler.pool))

    def loss(self, model: InterestModel, users: Ints) -> Tensor:
        """What some users, given by their places in the batch, have of its loss; all parts add up to it."""
        items = model.tower(None if self.present is None else torch.from_numpy(self.present).to(model.device))
        choice = _Choice.of(self, model, items)
        loss = torch.zeros((), device=model.device)
        if self.sets is not None:
            sets = self.sets.of(users)
            wanted = model.bag_vectors(items, sets.given.renamed(self.number), sets.tags)
            part = choice.loss(wanted, sets.rows, sets.items, sets.weights)
            loss = loss + part * _share(sets.weights, self.sets.weights)
        if self.nexts is not None:
            nexts = self.nexts.of(users)
            wanted = model.next_vectors(items, nexts.renamed(self.number))[nexts.asked.to(model.device)]
            asked, weights = torch.from_numpy(nexts.window)[nexts.asked], nexts.weights[nexts.asked]
            part = choice.loss(wanted, torch.arange(len(asked)), asked, weights)
            loss = loss + part * _share(weights, self.nexts.weights[self.nexts.asked])
        return loss


def _share(weights: Tensor, of_all: Tensor) -> float:
    return float(weights.sum() / of_all.sum().clamp(min=1e-12))


@dataclass(frozen=True)
class _Choice:
    """The candidates of a batch, from the tower."""

    kind: str
    chosen: Tensor
    """Their vectors."""
    bias: Tensor
    """Their biases, with what is added for those that they stand for."""
    place: Ints
    """For each item of the catalogue, its place among them."""
    drawn: Tensor
    """Places of those that were not asked for but drawn."""
    pool: int
    """How many items there are to choose from."""

    @classmethod
    def of(cls, batch: Batch, model: InterestModel, items: Items) -> _Choice:
        candidates, device = batch.candidates, model.device
        chosen = torch.from_numpy(batch.number[candidates.items]).to(device)
        bias = items.bias[chosen]
        if candidates.shift is not None:
            bias = bias + torch.from_numpy(candidates.shift).to(device)
        drawn = torch.arange(candidates.asked_for, len(candidates.items), device=device)
        return cls(model.loss, items.vectors[chosen], bias, batch.place, drawn, batch.pool)

    def loss(self, wanted: Tensor, rows: Tensor, items: Tensor, weights: Tensor) -> Tensor:
        """How far user vectors (Q, d) are from the items that were asked for, given by their catalogue indices."""
        device = wanted.device
        asked = rows.to(device), torch.from_numpy(self.place[items.numpy()]).to(device), weights.to(device)
        if self.kind == "softmax":
            return softmax_loss(wanted, self.chosen, self.bias, *asked)
        if self.kind == "bce":
            return bce_loss(wanted, self.chosen, self.bias, *asked, self.drawn, each=1 / NEGATIVES)
        return bce_loss(wanted, self.chosen, self.bias, *asked, self.drawn, beta=gbce_beta(NEGATIVES, self.pool))
