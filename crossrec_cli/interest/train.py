"""The one training loop, for pretrain-adapt and finetune alike."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from crossrec_cli.artifacts import tables as t
from crossrec_cli.config.schema import Training
from crossrec_cli.errors import ConfigError
from crossrec_cli.interest.batches import Ints, Sampler
from crossrec_cli.interest.loss import softmax_loss
from crossrec_cli.interest.model import InterestModel
from crossrec_cli.reporting import Reporter
from crossrec_cli.runtime import Compute

GRADIENT_NORM = 5.0
"""Longer gradients are cut to this; a healthy step stays well below."""


@dataclass(frozen=True)
class Epoch:
    """What one pass over the users gave."""

    epoch: int
    loss: float
    learning_rate: float
    valid_ndcg: float | None
    seconds: float
    users_per_second: float


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when validation no longer gets better, and go back to the best epoch."""

    validate: Callable[[InterestModel], float]
    """NDCG@10 on the validation cases."""
    patience: int


def fit(
    model: InterestModel,
    sampler: Sampler,
    training: Training,
    seed: int,
    compute: Compute,
    report: Reporter,
    stopping: EarlyStopping | None = None,
) -> list[Epoch]:
    """Train a model in place with the softmax over the items that the sampler may ask for.

    Args:
        model: where to start from.
        sampler: the histories, and which of their items are to be predicted.
        training: epochs, learning rate, batch size.
        seed: of the order of users and the cuts through their histories.
        compute: device and precision.
        report: told of each epoch.
        stopping: without it all epochs are trained, and the last one's weights stay.

    Returns:
        One row an epoch.

    Raises:
        ConfigError: if the loss is no longer a number.
    """
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.parameters(), training.lr, weight_decay=training.weight_decay)
    scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.dtype is torch.float16)
    candidates = torch.from_numpy(np.flatnonzero(sampler.predict)).to(compute.device)
    epochs: list[Epoch] = []
    best = _Best(stopping, model) if stopping else None
    with report.progress("training", training.epochs * len(sampler.users), "users") as advance:
        for number in range(1, training.epochs + 1):
            rate = training.lr * (1 - (number - 1) / training.epochs)
            for group in optimizer.param_groups:
                group["lr"] = rate
            started, losses = time.perf_counter(), []
            model.train()
            for users in sampler.epoch(rng):
                losses.append(_step(model, sampler, users, candidates, optimizer, scaler, rng, compute))
                advance(len(users))
            seconds, loss = time.perf_counter() - started, float(np.mean(losses))
            if not np.isfinite(loss):
                raise ConfigError([f"epoch {number}: the loss is {loss}; lower lr ({training.lr}) or weight_decay"])
            score = best.consider(model, number) if best else None
            epochs.append(Epoch(number, loss, rate, score, seconds, len(sampler.users) / seconds))
            detail = f"epoch {number}, loss {loss:.4f}" + ("" if score is None else f", validation NDCG@10 {score:.4f}")
            report.log(detail)
            advance(0, detail)
            if best and number - best.epoch >= best.stopping.patience:
                break
    if best:
        model.load_state_dict(best.state)
        report.say(f"{best.name} of {len(epochs)} ranks best: validation NDCG@10 {best.score:.4f}")
    return epochs


class _Best:
    """The best model so far; at first the one that training starts from."""

    def __init__(self, stopping: EarlyStopping, model: InterestModel) -> None:
        self.stopping = stopping
        self.epoch = 0
        self.score = stopping.validate(model)
        self.state = copy.deepcopy(model.state_dict())

    @property
    def name(self) -> str:
        return f"epoch {self.epoch}" if self.epoch else "epoch 0, before any training,"

    def consider(self, model: InterestModel, epoch: int) -> float:
        """Validate; remember the model if it ranks better."""
        score = self.stopping.validate(model)
        if score > self.score:
            self.epoch, self.score, self.state = epoch, score, copy.deepcopy(model.state_dict())
        return score


def _step(
    model: InterestModel,
    sampler: Sampler,
    users: Ints,
    candidates: Tensor,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    rng: np.random.Generator,
    compute: Compute,
) -> float:
    with compute.autocast():
        loss = _loss(model, sampler, users, candidates, rng)
    optimizer.zero_grad(set_to_none=True)
    scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)
    scaler.step(optimizer)
    scaler.update()
    return float(loss.detach())


def _loss(model: InterestModel, sampler: Sampler, users: Ints, candidates: Tensor, rng: np.random.Generator) -> Tensor:
    """Each user encoder learns from the question that suits it: a bag from halves, a sequence from what comes next.

    An item to predict counts by its interaction's weight.
    """
    vectors, bias = model.tower()
    number = torch.full((len(bias),), -1, device=bias.device)
    number[candidates] = torch.arange(len(candidates), device=bias.device)
    loss = torch.zeros((), device=bias.device)
    if model.bag is not None:
        halves = sampler.set_examples(users, rng)
        wanted = model.bag_vectors(vectors, halves.given, halves.tags)
        rows, items = halves.rows.to(bias.device), number[halves.items.to(bias.device)]
        weights = halves.weights.to(bias.device)
        loss = loss + softmax_loss(wanted, vectors[candidates], bias[candidates], rows, items, weights)
    if model.sequence is not None:
        nexts = sampler.next_examples(users, rng)
        asked = nexts.asked.to(bias.device)
        wanted = model.next_vectors(vectors, nexts)[asked]
        items = number[torch.from_numpy(nexts.window).to(bias.device)[asked]]
        rows, weights = torch.arange(len(items), device=bias.device), nexts.weights.to(bias.device)[asked]
        loss = loss + softmax_loss(wanted, vectors[candidates], bias[candidates], rows, items, weights)
    return loss


def learning_columns(epochs: list[Epoch]) -> dict[str, list[object]]:
    """Epochs as columns of ``tables.LEARNING``."""
    rows = [dict(zip(t.LEARNING.names, asdict(epoch).values(), strict=True)) for epoch in epochs]
    return {name: [row[name] for row in rows] for name in t.LEARNING.names}
