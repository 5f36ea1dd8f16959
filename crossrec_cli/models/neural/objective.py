"""A batch's training examples, and the loss of a model on them."""

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
    """One batch's training examples, and the items that these read and rank.

    Each user encoder has its own task: a bag predicts the rest of a set, a sequence predicts the next item. An item to
    predict counts by its interaction's weight, and is ranked among the candidates of its own domain. Only items that
    the batch needs pass through the tower.
    """

    sets: SetExamples | None
    nexts: NextExamples | None
    present: Ints | None
    """The items that are needed, sorted; None: all."""
    number: Ints
    """For each item of the catalogue, its index in ``present``; 0 for those not needed."""
    candidates: list[Candidates]
    """One for each domain that has items to predict."""

    @classmethod
    def of(
        cls, model: InterestModel, sampler: Sampler, users: Ints, max_candidates: int, rng: np.random.Generator
    ) -> Batch:
        """Examples from some users' histories, and their candidates; see ``Candidates.sampled``."""
        sets = sampler.set_examples(users, rng) if model.bag is not None else None
        nexts = sampler.next_examples(users, rng) if model.sequence is not None else None
        to_predict = [sets.items.numpy()] if sets is not None else []
        read = [sets.given.values] if sets is not None else []
        if nexts is not None:
            to_predict.append(nexts.window[nexts.predicted.numpy()])
            read += [nexts.before.values, nexts.window.ravel()]
        all_to_predict = np.concatenate(to_predict)
        by_domain = [(domain, all_to_predict[domain[all_to_predict]]) for domain in sampler.domains]
        candidates = [
            Candidates.sampled(domain, item_indices, max_candidates, rng)
            for domain, item_indices in by_domain
            if len(item_indices)
        ]
        needed = np.zeros(len(sampler.predict), bool)
        for item_indices in (*read, *(sampled.items for sampled in candidates)):
            needed[item_indices] = True
        present = np.flatnonzero(needed)
        number = np.zeros(len(needed), np.int64)
        number[present] = np.arange(len(present))
        return cls(sets, nexts, None if needed.all() else present, number, candidates)

    def loss(self, model: InterestModel, users: Ints) -> Tensor:
        """The part of the batch's loss that comes from some users, given by their index in it; the parts add up.

        Each domain has the same weight, however many purchases it has.
        """
        items = model.tower(None if self.present is None else torch.from_numpy(self.present).to(model.device))
        loss = torch.zeros((), device=model.device)
        if self.sets is not None:
            sets = self.sets.of(users)
            user_vectors = model.bag_vectors(items, sets.given.renamed(self.number), sets.tags)
            loss = loss + self._loss(items, user_vectors, _Positives.of_sets(sets), _Positives.of_sets(self.sets))
        if self.nexts is not None:
            nexts = self.nexts.of(users)
            user_vectors = model.next_vectors(items, nexts.renamed(self.number))[nexts.predicted.to(model.device)]
            loss = loss + self._loss(items, user_vectors, _Positives.of_nexts(nexts), _Positives.of_nexts(self.nexts))
        return loss

    def _loss(
        self, items: ItemRows, user_vectors: Tensor, positives: _Positives, batch_positives: _Positives
    ) -> Tensor:
        """The loss of user vectors (Q, d), times the share of the batch's weight that their items to predict have."""
        losses = []
        for candidates in self.candidates:
            choice = _Choice.of(candidates, self.number, items)
            of_part, of_batch = positives.among(choice.index), batch_positives.among(choice.index)
            share = float(of_part.weights.sum() / of_batch.weights.sum().clamp(min=1e-12))
            losses.append(choice.loss(user_vectors, of_part) * share)
        return torch.stack(losses).mean() if losses else user_vectors.sum() * 0


@dataclass(frozen=True)
class _Positives:
    """Items to predict."""

    rows: Tensor
    """The row of the user vector for each item, int64 (T,), ascending."""
    items: Tensor
    """Each item's index in the catalogue, int64 (T,)."""
    weights: Tensor
    """Each item's weight, float32 (T,)."""

    @classmethod
    def of_sets(cls, sets: SetExamples) -> _Positives:
        return cls(sets.rows, sets.items, sets.weights)

    @classmethod
    def of_nexts(cls, nexts: NextExamples) -> _Positives:
        items = torch.from_numpy(nexts.window)[nexts.predicted]
        return cls(torch.arange(len(items)), items, nexts.weights[nexts.predicted])

    def among(self, candidate_index: Ints) -> _Positives:
        """Those among the candidates; ``candidate_index`` is an item's index among them, −1 for none."""
        kept = torch.from_numpy(candidate_index)[self.items] >= 0
        return _Positives(self.rows[kept], self.items[kept], self.weights[kept])


@dataclass(frozen=True)
class _Choice:
    """The candidates of one domain, from the tower."""

    vectors: Tensor
    bias: Tensor
    """With the correction for sampling."""
    index: Ints
    """For each item of the catalogue, its index among them, or −1."""

    @classmethod
    def of(cls, candidates: Candidates, number: Ints, items: ItemRows) -> _Choice:
        device = items.bias.device
        chosen = torch.from_numpy(number[candidates.items]).to(device)
        bias = items.bias[chosen]
        if candidates.shift is not None:
            bias = bias + torch.from_numpy(candidates.shift).to(device)
        positives = candidates.items[: candidates.n_positives] if candidates.shift is not None else candidates.items
        return cls(items.vectors[chosen], bias, numbered(positives, len(number)))

    def loss(self, user_vectors: Tensor, positives: _Positives) -> Tensor:
        """The softmax loss of user vectors (Q, d)."""
        device = user_vectors.device
        user_rows, rows = torch.unique_consecutive(positives.rows, return_inverse=True)
        item_index = torch.from_numpy(self.index[positives.items.numpy()]).to(device)
        return softmax_loss(
            user_vectors[user_rows.to(device)],
            self.vectors,
            self.bias,
            rows.to(device),
            item_index,
            positives.weights.to(device),
        )
