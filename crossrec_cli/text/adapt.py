"""Train the language model on the source: texts of items that the same users buy get similar embeddings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812  the field's usual name
from torch import Tensor, nn
from transformers import PreTrainedModel

from crossrec_cli.artifacts.checkpoint import Checkpoint, add_prefix, moments, restore_moments
from crossrec_cli.config.training_fields import TextTraining
from crossrec_cli.errors import ConfigError
from crossrec_cli.runtime.device import memory_or
from crossrec_cli.runtime.interrupts import defer_interrupts
from crossrec_cli.runtime.progress import Reporter
from crossrec_cli.text.encode import TokenEncoder

TEMPERATURE = 0.05
"""Where the learned temperature starts; 0.05 is what all-MiniLM-L6-v2 was trained with."""
GRADIENT_NORM = 1.0
GIVEN = 4
"""Texts of a history that are read to predict the next item; each costs as much as that item's text."""

Ints = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


def adapt(
    encoder: TokenEncoder,
    texts: Sequence[str],
    lists: Sequence[Ints],
    how: str,
    config: TextTraining,
    seed: int,
    report: Reporter,
    checkpoint: Checkpoint,
) -> None:
    """Train the encoder's language model in place.

    The loss of a step is contrastive (van den Oord et al. 2018, https://arxiv.org/abs/1807.03748): for each of some
    users a text, or the mean of some texts, has to find its partner among those of the other users. Items of the same
    user and equal texts are no negatives. Each score is lowered by the logarithm of how often its text is drawn;
    otherwise popular items would move away from all others, and the texts would lose their meaning.

    All randomness of a step comes from the seed and the step's number, so a run that continues from a checkpoint ends
    like one that was never killed.

    Args:
        encoder: the language model, its tokenizer and its device.
        texts: the text of every item.
        lists: item indices of each user; users with one item only are skipped.
        how: ``lora`` for small matrices added to the weights, merged into them afterwards, or ``full``.
        config: steps, learning rate and the like.
        seed: of the random users and pairs.
        report: gets the loss.
        checkpoint: has the state during the training and at the end; it is loaded at the start.

    Raises:
        UnavailableError: for LoRA, if peft is not installed or cannot be used with the model.
        ConfigError: if the loss becomes NaN or infinite.
    """
    users = [items for items in lists if len(np.unique(items)) > 1]
    if not users:
        return
    torch.manual_seed(seed)
    run = _Run(encoder, ContrastiveSampler.of(texts, users, config), how, config)
    if saved := checkpoint.load():
        run.restore(*saved)
        report.say(f"continuing the language model's training at step {len(run.losses) + 1}")
    try:
        run.train(seed, report, checkpoint)
    except KeyboardInterrupt:
        checkpoint.save(*run.state())
        raise
    checkpoint.save(*run.state())
    tenth = max(len(run.losses) // 10, 1)
    first, last = np.mean(run.losses[:tenth]), np.mean(run.losses[-tenth:])
    report.say(f"language model adapted: loss {first:.3f} at the start, {last:.3f} at the end")
    encoder.model = _merged(run.model)
    torch.manual_seed(seed)  # what follows must not depend on how many steps this process made


@dataclass(frozen=True)
class ContrastiveSampler:
    """Draws pairs of texts for the contrastive loss."""

    users: list[Ints]
    """The items of each user who bought two different ones."""
    distinct: npt.NDArray[np.object_]
    """All different texts."""
    text_of: Ints
    """For each item, the index of its text in ``distinct``."""
    log_share: Tensor
    """Logarithm of how often each text is drawn for a pair, float32 (texts,)."""
    config: TextTraining

    @classmethod
    def of(cls, texts: Sequence[str], users: list[Ints], config: TextTraining) -> ContrastiveSampler:
        """From the items' texts and what each user bought of them."""
        distinct, text_of = np.unique(np.asarray(texts, dtype=object), return_inverse=True)
        each = np.concatenate([np.full(len(items), 1 / len(items)) for items in users])
        share = np.bincount(text_of, np.bincount(np.concatenate(users), each, len(texts))) / len(users)
        return cls(
            users, distinct, text_of, torch.from_numpy(np.log(np.maximum(share, 1e-12)).astype(np.float32)), config
        )

    def loss(self, encoder: TokenEncoder, model: nn.Module, scale: Tensor, rng: np.random.Generator) -> Tensor:
        """The loss of one batch; ``scale`` is the logarithm of the inverse temperature."""
        some = rng.choice(len(self.users), min(self.config.batch_size, len(self.users)), False)
        chosen = [self.users[number] for number in some]
        given, partners = _draw_pairs(chosen, self.config.objective, rng)
        left = _means(encoder, model, self.distinct, [self.text_of[items] for items in given])
        right = _vectors(encoder, model, list(self.distinct[self.text_of[partners]]))
        # Only pairs, of which one item is given, have a loss in both directions.
        pairs = self.text_of[np.array([[items[0] for items in given], partners]).T]
        sides = _loss(left, right, scale, self.log_share[pairs], _not_negative(chosen, self.text_of, pairs))
        return sides[0] if self.config.objective == "history" else (sides[0] + sides[1]) / 2


class _Run:
    """A running training, with the state that a checkpoint saves."""

    def __init__(self, encoder: TokenEncoder, sampler: ContrastiveSampler, how: str, config: TextTraining) -> None:
        self.encoder, self.sampler, self.config = encoder, sampler, config
        self.model = encoder.trainable(how, config)
        self.scale = nn.Parameter(torch.tensor(math.log(1 / TEMPERATURE), device=encoder.compute.device))
        self.learned = {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}
        weights = {"params": list(self.learned.values()), "weight_decay": 0.01}
        self.optimizer = torch.optim.AdamW([weights, {"params": [self.scale], "weight_decay": 0.0}])
        self.losses: list[float] = []

    def train(self, seed: int, report: Reporter, checkpoint: Checkpoint) -> None:
        """Run all remaining steps. An interrupt takes effect between two steps, when the state is consistent."""
        self.model.train()
        with report.progress("adapting the language model", self.config.steps, "steps") as advance:
            advance(len(self.losses))
            while (step := len(self.losses)) < self.config.steps:
                with defer_interrupts():
                    rate = self.config.lr * _schedule(step, self.config)
                    loss = self.take([seed, step], rate)
                advance(1, f"loss {loss:.3f}")
                report.event("step", step=step + 1, loss=loss, learning_rate=rate)
                if checkpoint.due():
                    checkpoint.save(*self.state())

    def take(self, key: list[int], rate: float) -> float:
        """Run one step of the optimizer and return its loss."""
        rng = np.random.default_rng(key)
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        value, times = 0.0, self.config.accumulate
        lower = f"lower it from {self.config.batch_size}, and raise accumulate"
        for _ in range(times):
            with memory_or(lower, key="adapt.text.batch_size"):
                loss = self.sampler.loss(self.encoder, self.model, self.scale, rng) / times
                loss.backward()  # type: ignore[no-untyped-call]
                value += float(loss.detach())
        if not math.isfinite(value):
            raise ConfigError([f"adapt.text: step {len(self.losses) + 1}: the loss is {value}; lower adapt.text.lr"])
        torch.nn.utils.clip_grad_norm_(self.learned.values(), GRADIENT_NORM)
        self.optimizer.step()
        self.losses.append(value)
        return value

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The whole state: tensors by name, and the rest as JSON values."""
        learned = add_prefix("learned", self.learned | {"scale": self.scale})
        return learned | moments(self.optimizer), {"losses": self.losses}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Load what ``state`` returned."""
        for name, weight in (self.learned | {"scale": self.scale}).items():
            weight.copy_(tensors[f"learned.{name}"])
        restore_moments(self.optimizer, tensors)
        self.losses = facts["losses"]


def _merged(model: nn.Module) -> PreTrainedModel:
    merge: Callable[[], Any] = getattr(model, "merge_and_unload", lambda: model)
    merged: PreTrainedModel = merge()
    merged.eval().requires_grad_(False)  # type: ignore[no-untyped-call]
    return merged


def _schedule(step: int, config: TextTraining) -> float:
    """The factor of the learning rate: linear warm-up, then linear decay to 0."""
    warm = max(round(config.warmup * config.steps), 1)
    return min((step + 1) / warm, (config.steps - step) / max(config.steps - warm, 1))


def _draw_pairs(chosen: Sequence[Ints], objective: str, rng: np.random.Generator) -> tuple[list[Ints], Ints]:
    """For each user the given items, in any order, and their partner, which is not one of them."""
    given, partners = [], []
    for items in chosen:
        if objective == "pairs":
            one, other = rng.choice(np.unique(items), 2, replace=False)
            given.append(np.array([one]))
        else:
            position = rng.choice(np.flatnonzero(items != items[0]))  # so that another item is before it
            other = items[position]
            before = np.unique(items[:position][items[:position] != other])
            given.append(rng.choice(before, min(GIVEN, len(before)), replace=False))
        partners.append(other)
    return given, np.array(partners)


def _means(encoder: TokenEncoder, model: nn.Module, distinct: npt.NDArray[np.object_], lists: Sequence[Ints]) -> Tensor:
    """The mean embedding of each list's texts, normalized; (lists, d)."""
    vectors = _vectors(encoder, model, list(distinct[np.concatenate(lists)]))
    rows = torch.from_numpy(np.repeat(np.arange(len(lists)), [len(items) for items in lists])).to(vectors.device)
    return F.normalize(vectors.new_zeros(len(lists), vectors.shape[1]).index_add(0, rows, vectors), dim=1)


def _vectors(encoder: TokenEncoder, model: nn.Module, texts: Sequence[str]) -> Tensor:
    with encoder.compute.autocast():
        return F.normalize(encoder.forward(model, texts), dim=1)


def _not_negative(chosen: Sequence[Ints], text_of: Ints, pairs: Ints) -> tuple[Tensor, Tensor]:
    """Where another user's right (left) text is no negative for a left (right) one; bool (B, B) each."""
    own = [np.unique(text_of[items]) for items in chosen]
    bought = np.array([[np.isin(pairs[:, side], texts) for texts in own] for side in (1, 0)])
    bought[:, np.arange(len(pairs)), np.arange(len(pairs))] = False
    return torch.from_numpy(bought[0]), torch.from_numpy(bought[1])


def _loss(
    left: Tensor, right: Tensor, scale: Tensor, log_share: Tensor, masks: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of finding each left's partner on the right, and each right's on the left; inputs are (B, d)."""
    scores = left @ right.T * scale.exp()
    own = torch.arange(len(left), device=left.device)
    share = log_share.to(left.device)
    losses = []
    for logits, side, mask in ((scores, 1, masks[0]), (scores.T, 0, masks[1])):
        corrected = (logits.float() - share[:, side]).masked_fill(mask.to(left.device), -torch.inf)
        losses.append(F.cross_entropy(corrected, own))
    return losses[0], losses[1]
