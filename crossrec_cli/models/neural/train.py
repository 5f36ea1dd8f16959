"""The one training loop, for pretrain-adapt and finetune alike."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crossrec_cli.artifacts import schemas
from crossrec_cli.artifacts.checkpoint import Checkpoint, add_prefix, moments, restore_moments, strip_prefix
from crossrec_cli.config.training_fields import Training
from crossrec_cli.errors import ConfigError
from crossrec_cli.models.neural.objective import Batch
from crossrec_cli.models.neural.sampler import Sampler
from crossrec_cli.models.neural.tower import InterestModel
from crossrec_cli.models.ragged import Ints
from crossrec_cli.runtime import distributed
from crossrec_cli.runtime.device import Compute, memory_or
from crossrec_cli.runtime.interrupts import defer_interrupts
from crossrec_cli.runtime.progress import Reporter, peak_memory

GRADIENT_NORM = 5.0
"""Longer gradients are cut to this; a healthy step stays well below."""

FINISHED, CHANCE = "finished", "chance"
"""In a checkpoint: the epochs of a training that came to its end, and the state of torch's random numbers then."""


@dataclass(frozen=True)
class Epoch:
    """What one pass over the users gave."""

    epoch: int
    """From 1 on."""
    loss: float
    learning_rate: float
    seconds: float
    users_per_second: float
    peak_memory_bytes: int | None
    """None where the system does not say."""


def fit(
    model: InterestModel,
    sampler: Sampler,
    training: Training,
    seed: int,
    compute: Compute,
    report: Reporter,
    checkpoint: Checkpoint | None = None,
) -> list[Epoch]:
    """Train a model in place to tell the items that the sampler asks for from the others that it may ask for.

    All chance of a step comes from the seed and the step's number, so that a run which goes on from a checkpoint ends
    as one that was never killed.

    Args:
        model: where to start from.
        sampler: the histories, and which of their items are to be predicted.
        training: epochs, learning rate, batch size and so on.
        seed: of the order of users, the cuts through their histories, and what is dropped.
        compute: device and precision.
        report: told of each epoch.
        checkpoint: where the state is kept on the way, and what was learned at the end; looked for at the start.

    Returns:
        One row an epoch.

    Raises:
        ConfigError: if the loss is no longer a number, or memory runs out.
    """
    distributed.from_leader(model.state_dict().values())
    saved = checkpoint.load() if checkpoint else None
    if saved and FINISHED in saved[1]:
        return _take_over(model, *saved)
    run = _Run(model, sampler, training, compute, report)
    if saved:
        run.restore(*saved)
        report.say(f"going on with epoch {run.epoch + 1}, step {run.step + 1}")
    checkpoint = checkpoint if distributed.leads() else None
    try:
        run.train(seed, checkpoint)
    except KeyboardInterrupt:
        if checkpoint:
            checkpoint.save(*run.state())
        raise
    if checkpoint:
        with defer_interrupts():
            checkpoint.save(*_learned(model, run.epochs))
    return run.epochs


def _learned(model: InterestModel, epochs: list[Epoch]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What a finished training leaves, as tensors by name and the rest as JSON values."""
    tensors = add_prefix("model", model.state_dict()) | {CHANCE: torch.get_rng_state()}
    return tensors, {FINISHED: [asdict(epoch) for epoch in epochs]}


def _take_over(model: InterestModel, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> list[Epoch]:
    """Bring a model, and the chance of what follows, to where ``_learned`` was called."""
    model.load_state_dict(strip_prefix("model", tensors))
    torch.set_rng_state(tensors[CHANCE])
    return [Epoch(**epoch) for epoch in facts[FINISHED]]


class _Run:
    """A training under way: everything that has to survive a kill."""

    def __init__(
        self,
        model: InterestModel,
        sampler: Sampler,
        training: Training,
        compute: Compute,
        report: Reporter,
    ) -> None:
        self.model, self.sampler, self.training, self.compute, self.report = model, sampler, training, compute, report
        self.parts = 1  # in which a batch is taken, so that memory holds it
        rates = training.rates.model_dump()
        groups = [{"params": part, "times": rates[name]} for name, part in model.parts().items()]
        for group in groups:
            for parameter in group["params"]:
                parameter.requires_grad_(group["times"] > 0)
        fused = compute.device.type in ("cpu", "cuda")
        self.optimizer = torch.optim.AdamW(groups, training.lr, weight_decay=training.weight_decay, fused=fused)
        self.scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.dtype is torch.float16)
        self.epoch, self.step, self.loss, self.seconds = 0, 0, 0.0, 0.0
        self.epochs: list[Epoch] = []

    @property
    def rate(self) -> float:
        """This epoch's learning rate."""
        return self.training.lr * (1 - self.epoch / self.training.epochs)

    def train(self, seed: int, checkpoint: Checkpoint | None) -> None:
        """All epochs. An interrupt comes between two steps, where the state is whole."""
        users, report = self.sampler.users, self.report
        with report.progress("training", self.training.epochs * len(users), "users") as advance:
            advance(self.epoch * len(users))
            while self.epoch < self.training.epochs:
                self.begin_epoch()
                for number, some in enumerate(self.sampler.epoch(np.random.default_rng([seed, self.epoch]))):
                    if number >= self.step:
                        with defer_interrupts():
                            value = self.take(some, seed)
                        report.event(
                            "step",
                            epoch=self.epoch + 1,
                            step=self.step,
                            loss=value,
                            learning_rate=self.rate,
                            memory_bytes=_peak(self.compute),
                        )
                        if checkpoint and checkpoint.due():
                            checkpoint.save(*self.state())
                    advance(len(some))
                detail = self.end_epoch()
                report.log(detail)
                advance(0, detail)

    def begin_epoch(self) -> None:
        """Set the learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * group["times"]
        self.model.train()

    def take(self, users: Ints, seed: int) -> float:
        """Learn from one batch; its loss.

        Raises:
            ConfigError: if the loss is no number, or memory runs out even for a user alone.
        """
        started, key = time.perf_counter(), [seed, self.epoch, self.step]
        value = torch.tensor(self._gradients(users, key), dtype=torch.float64)
        distributed.add([value])
        loss = float(value)
        if not np.isfinite(loss):
            calmer = f"lower lr ({self.training.lr}) or weight_decay"
            raise ConfigError([f"epoch {self.epoch + 1}, step {self.step + 1}: the loss is {loss}; {calmer}"])
        self.loss += loss
        self.step += 1
        if self.step % self.training.accumulate == 0 or self.step == self.sampler.steps:
            self._update()
        self.seconds += time.perf_counter() - started
        return loss

    def _gradients(self, users: Ints, key: list[int]) -> float:
        """Of this process's share of a batch, in as many parts as memory needs; and the share's loss."""
        mine = np.arange(len(users))[distributed.strided_shard()]
        before = {name: p.grad.clone() for name, p in self.model.named_parameters() if p.grad is not None}
        size, candidates = self.training.batch_size, self.training.candidates
        while True:
            parts = [part for part in np.array_split(mine, self.parts) if len(part)]
            try:
                with memory_or(f"lower batch_size ({size}) or candidates ({candidates}), and raise accumulate"):
                    return self._backward(users, parts, key)
            except ConfigError as error:
                if len(parts) == len(mine):
                    raise
                self.parts *= 2
                told = str(error).partition(";")[0]
            for name, parameter in self.model.named_parameters():
                parameter.grad = before.get(name)
            self.report.warn(f"{told}; from here on each batch is taken in {self.parts} parts")
            torch.cuda.empty_cache()

    def _backward(self, users: Ints, parts: list[Ints], key: list[int]) -> float:
        chance, rng, value = int(np.random.SeedSequence(key).generate_state(1)[0]), np.random.default_rng(key), 0.0
        with self.compute.autocast():
            batch = Batch.of(self.model, self.sampler, users, self.training.candidates, rng)
        for part in parts:
            torch.manual_seed(chance)  # so that the same items do without their ids in all parts
            with self.compute.autocast():
                loss = batch.loss(self.model, part)
            self.scaler.scale(loss / self.training.accumulate).backward()  # type: ignore[no-untyped-call]
            value += float(loss.detach())
        return value

    def _update(self) -> None:
        distributed.add_gradients(self.model.parameters())
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_NORM)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def end_epoch(self) -> str:
        """Write the epoch down, and say how it went."""
        rate, loss = self.rate, self.loss / max(self.step, 1)
        speed = len(self.sampler.users) / max(self.seconds, 1e-9)
        with defer_interrupts():
            self.epoch += 1
            self.epochs.append(Epoch(self.epoch, loss, rate, self.seconds, speed, _peak(self.compute)))
            self.step, self.loss, self.seconds = 0, 0.0, 0.0
        return f"epoch {self.epoch}, loss {loss:.4f}"

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All of it, as tensors by name and the rest as JSON values."""
        tensors = add_prefix("model", self.model.state_dict()) | moments(self.optimizer)
        tensors |= add_prefix("gradient", {n: p.grad for n, p in self.model.named_parameters() if p.grad is not None})
        facts: dict[str, Any] = {name: getattr(self, name) for name in ("epoch", "step", "loss", "seconds")}
        facts |= {"epochs": [asdict(epoch) for epoch in self.epochs], "scaler": self.scaler.state_dict()}
        return tensors, facts

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Take up where ``state`` was called."""
        self.model.load_state_dict(strip_prefix("model", tensors))
        restore_moments(self.optimizer, tensors)
        for name, parameter in self.model.named_parameters():
            gradient = tensors.get(f"gradient.{name}")
            parameter.grad = None if gradient is None else gradient.to(parameter.device)
        self.scaler.load_state_dict(facts["scaler"])
        self.epochs = [Epoch(**epoch) for epoch in facts["epochs"]]
        self.epoch, self.step, self.loss, self.seconds = (facts[n] for n in ("epoch", "step", "loss", "seconds"))


def _peak(compute: Compute) -> int | None:
    """The most memory held so far, in bytes: the GPU's where there is one, else this process's."""
    if compute.device.type == "cuda":
        return torch.cuda.max_memory_allocated(compute.device)
    return peak_memory()


def learning_columns(epochs: list[Epoch]) -> dict[str, list[object]]:
    """A training as columns of ``schemas.LEARNING``."""
    rows = [dict(zip(schemas.LEARNING.names, asdict(epoch).values(), strict=True)) for epoch in epochs]
    return {name: [row[name] for row in rows] for name in schemas.LEARNING.names}
