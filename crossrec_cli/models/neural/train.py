"""The training loop of pretrain-adapt and finetune."""

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

FINISHED, RNG_STATE = "finished", "chance"
"""In a checkpoint: the epochs of a finished training, and the state of torch's random numbers at its end."""


@dataclass(frozen=True)
class Epoch:
    """The figures of one pass over the users."""

    epoch: int
    """From 1 on."""
    loss: float
    learning_rate: float
    seconds: float
    users_per_second: float
    peak_memory_bytes: int | None
    """None where the system does not report it."""


def fit(
    model: InterestModel,
    sampler: Sampler,
    training: Training,
    seed: int,
    compute: Compute,
    report: Reporter,
    checkpoint: Checkpoint | None = None,
) -> list[Epoch]:
    """Train a model in place to rank the items to predict above the other candidates.

    All random numbers of a step depend on the seed and the step's number, so that a run that resumes from a checkpoint
    gives the same result as one that was never killed.

    Args:
        model: the model to start from.
        sampler: the histories, and which of their items are to be predicted.
        training: epochs, learning rate, batch size and so on.
        seed: of the order of users, the cuts through their histories, and what is dropped.
        compute: device and precision.
        report: gets a line for each epoch.
        checkpoint: keeps the state during training, and the result at the end; read at the start.

    Returns:
        One row an epoch.

    Raises:
        ConfigError: if the loss is no longer finite, or memory runs out.
    """
    distributed.from_leader(model.state_dict().values())
    saved = checkpoint.load() if checkpoint else None
    if saved and FINISHED in saved[1]:
        return _load_finished(model, *saved)
    run = _Run(model, sampler, training, compute, report)
    if saved:
        run.restore(*saved)
        report.say(f"continuing with epoch {run.epoch + 1}, step {run.step + 1}")
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
    """The result of a finished training, as tensors by name and the rest as JSON values."""
    tensors = add_prefix("model", model.state_dict()) | {RNG_STATE: torch.get_rng_state()}
    return tensors, {FINISHED: [asdict(epoch) for epoch in epochs]}


def _load_finished(model: InterestModel, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> list[Epoch]:
    """Restore a model, and torch's random state, as they were when ``_learned`` was called."""
    model.load_state_dict(strip_prefix("model", tensors))
    torch.set_rng_state(tensors[RNG_STATE])
    return [Epoch(**epoch) for epoch in facts[FINISHED]]


class _Run:
    """A training in progress: all state that must survive a kill."""

    def __init__(
        self,
        model: InterestModel,
        sampler: Sampler,
        training: Training,
        compute: Compute,
        report: Reporter,
    ) -> None:
        self.model, self.sampler, self.training, self.compute, self.report = model, sampler, training, compute, report
        self.parts = 1  # into which a batch is split, so that it fits in memory
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
        """All epochs. An interrupt takes effect between two steps, where the state is consistent."""
        all_users, report = self.sampler.users, self.report
        with report.progress("training", self.training.epochs * len(all_users), "users") as advance:
            advance(self.epoch * len(all_users))
            while self.epoch < self.training.epochs:
                self.begin_epoch()
                for number, users_of_batch in enumerate(self.sampler.epoch(np.random.default_rng([seed, self.epoch]))):
                    if number >= self.step:
                        with defer_interrupts():
                            loss = self.take(users_of_batch, seed)
                        report.event(
                            "step",
                            epoch=self.epoch + 1,
                            step=self.step,
                            loss=loss,
                            learning_rate=self.rate,
                            memory_bytes=_peak(self.compute),
                        )
                        if checkpoint and checkpoint.due():
                            checkpoint.save(*self.state())
                    advance(len(users_of_batch))
                detail = self.end_epoch()
                report.log(detail)
                advance(0, detail)

    def begin_epoch(self) -> None:
        """Set the learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * group["times"]
        self.model.train()

    def take(self, users: Ints, seed: int) -> float:
        """Learn from one batch; returns its loss.

        Raises:
            ConfigError: if the loss is not finite, or memory runs out even with one user at a time.
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
        """Gradients of this process's shard of a batch, in as many parts as memory needs; returns the shard's loss."""
        indices = np.arange(len(users))[distributed.strided_shard()]
        gradients_before = {name: p.grad.clone() for name, p in self.model.named_parameters() if p.grad is not None}
        size, candidates = self.training.batch_size, self.training.candidates
        while True:
            parts = [part for part in np.array_split(indices, self.parts) if len(part)]
            try:
                with memory_or(f"lower batch_size ({size}) or candidates ({candidates}), and raise accumulate"):
                    return self._backward(users, parts, key)
            except ConfigError as error:
                if len(parts) == len(indices):
                    raise
                self.parts *= 2
                reason = str(error).partition(";")[0]
            for name, parameter in self.model.named_parameters():
                parameter.grad = gradients_before.get(name)
            self.report.warn(f"{reason}; from here on each batch is taken in {self.parts} parts")
            torch.cuda.empty_cache()

    def _backward(self, users: Ints, parts: list[Ints], key: list[int]) -> float:
        torch_seed, rng, value = int(np.random.SeedSequence(key).generate_state(1)[0]), np.random.default_rng(key), 0.0
        with self.compute.autocast():
            batch = Batch.of(self.model, self.sampler, users, self.training.candidates, rng)
        for part in parts:
            torch.default_generator.manual_seed(torch_seed)  # so that all parts drop the same items' ids
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
        """Record the epoch, and describe it in one line."""
        rate, loss = self.rate, self.loss / max(self.step, 1)
        speed = len(self.sampler.users) / max(self.seconds, 1e-9)
        with defer_interrupts():
            self.epoch += 1
            self.epochs.append(Epoch(self.epoch, loss, rate, self.seconds, speed, _peak(self.compute)))
            self.step, self.loss, self.seconds = 0, 0.0, 0.0
        return f"epoch {self.epoch}, loss {loss:.4f}"

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The whole state, as tensors by name and the rest as JSON values."""
        tensors = add_prefix("model", self.model.state_dict()) | moments(self.optimizer)
        tensors |= add_prefix("gradient", {n: p.grad for n, p in self.model.named_parameters() if p.grad is not None})
        facts: dict[str, Any] = {name: getattr(self, name) for name in ("epoch", "step", "loss", "seconds")}
        facts |= {"epochs": [asdict(epoch) for epoch in self.epochs], "scaler": self.scaler.state_dict()}
        return tensors, facts

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Restore what ``state`` returned."""
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
