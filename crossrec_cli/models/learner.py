"""The two trainings of the neural scorer, and the fusion of all scorers; for the stages and for transfer's controls."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts.checkpoint import Checkpoint
from crossrec_cli.config.schema import Config
from crossrec_cli.config.training_fields import Training
from crossrec_cli.models.base import Scorer, TrainingData
from crossrec_cli.models.dataset import target_of
from crossrec_cli.models.earlier import EarlierModel
from crossrec_cli.models.fused import SELECTION_SIZE, FusedModel
from crossrec_cli.models.fusion import HeldOut
from crossrec_cli.models.histories import Cases, Histories
from crossrec_cli.models.neural import neural_scorer
from crossrec_cli.models.neural.sampler import Sampler
from crossrec_cli.models.neural.tower import InterestModel
from crossrec_cli.models.neural.train import Epoch, fit
from crossrec_cli.models.ragged import Bools
from crossrec_cli.models.scorers import names_of, order_matters
from crossrec_cli.runtime.device import Compute
from crossrec_cli.runtime.progress import Reporter


@dataclass(frozen=True)
class Learner:
    """What a training needs besides the model."""

    config: Config
    seed: int
    compute: Compute
    report: Reporter
    checkpoint: Path

    def from_both(self, model: InterestModel, histories: Histories) -> list[Epoch]:
        """Train on purchases in source and target; each item is compared with the other items of its domain."""
        training = self.config.adapt
        return self._fit(model, self.sampler(histories, of_both(histories), training), training, self.seed, c.SOURCE)

    def fused(self, adapted: InterestModel | None, data: TrainingData, valid: Cases) -> tuple[FusedModel, list[Epoch]]:
        """The config's scorers, weighted on validation, and the epochs of the neural one.

        Args:
            adapted: the model that the neural scorer starts from, not changed; None: there is no neural scorer.
            data: the training data before validation.
            valid: the held-out purchases of validation.

        Returns:
            The scorers; and the epochs, none where there is no neural scorer or nothing to learn from.
        """
        names = [name for name in names_of(self.config.interest, data) if name != neural_scorer.NAME]
        candidates, mask_seen = target_of(data.histories), self.config.evaluate.mask_seen
        trained, epochs = self._finetuned(adapted, data, c.TARGET)
        with self.report.progress("fusing scorers", 1, "fits") as advance:
            fused = FusedModel.fitted(names, data, valid, candidates, mask_seen, self.seed, trained)
            advance(1)
        return fused, epochs

    def refitted(self, fused: FusedModel, adapted: InterestModel | None, latest: TrainingData) -> FusedModel:
        """The same scorers with the same weights, learned again with the held-out purchases of validation."""
        return fused.refitted(latest, self.seed, self._finetuned(adapted, latest, "refit")[0])

    def continued(
        self, earlier: EarlierModel, data: TrainingData, tags: Sequence[str]
    ) -> tuple[FusedModel, list[Epoch]]:
        """An earlier model with scorers that learned from newer data, and the epochs of the neural one, which goes on.

        Args:
            earlier: the model that is replaced.
            data: the newer data, with the whitening of the earlier model.
            tags: the user tags, in the order of the data's.
        """
        start = earlier.network(self.config.interest, data, tags)
        trained, epochs = self._finetuned(start and start.to(self.compute.device), data, c.TARGET)
        return earlier.fused.refitted(data, self.seed, trained), epochs

    def _finetuned(
        self, adapted: InterestModel | None, data: TrainingData, name: str
    ) -> tuple[list[Scorer], list[Epoch]]:
        """Continue the training on both domains; returns the scorer, and the epochs."""
        if adapted is None:
            return [], []
        texts = adapted.tower.text  # shared by both, since a training does not change them
        model, training = copy.deepcopy(adapted, {id(texts): texts}), self.config.finetune
        item_stats = data.histories.item_stats
        model.tower.popularity.copy_(torch.from_numpy(item_stats.popularity))
        sampler = self.sampler(data.histories, of_both(data.histories), training)
        learned = self._fit(model, sampler, training, self.seed + 1, name)
        return [neural_scorer.neural(model, data)], learned

    def sampler(self, histories: Histories, domains: tuple[Bools, ...], training: Training) -> Sampler:
        """Makes training examples from the training part of histories."""
        interest = self.config.interest
        by_length = interest.user_encoder != "bag"
        window = interest.max_sequence + 1
        return Sampler(histories.training, histories.tags, domains, training.batch_size, window, by_length)

    def _fit(self, model: InterestModel, sampler: Sampler, training: Training, seed: int, name: str) -> list[Epoch]:
        """Train in place; without training examples, nothing is learned."""
        if not sampler.steps:
            return []
        path = self.checkpoint.with_name(f"{self.checkpoint.stem}-{name}.safetensors")
        checkpoint = Checkpoint(path, self.config.runtime.checkpoint_every)
        return fit(model, sampler, training, seed, self.compute, self.report, checkpoint)


def with_user_encoder(config: Config, data: TrainingData, valid: Cases, seed: int) -> Config:
    """The config with ``auto`` replaced: a sequence encoder where the order of purchases matters, else a bag.

    Shared weights decide which it is.

    Raises:
        ConfigError: if the config names another kind, or other sizes.
    """
    interest = config.interest
    if data.shared and data.shared.network:
        return config.model_copy(update={"interest": data.shared.fitting(interest)})
    if interest.user_encoder != "auto":
        return config
    held_out = HeldOut.of(
        data.histories,
        valid,
        target_of(data.histories),
        config.evaluate.mask_seen,
        seed,
        SELECTION_SIZE,
        SELECTION_SIZE,
    )
    kind = "sequence" if order_matters(data, held_out) else "bag"
    return config.model_copy(update={"interest": interest.model_copy(update={"user_encoder": kind})})


def of_both(histories: Histories) -> tuple[Bools, ...]:
    """The items of source and target that were bought; one domain where they are the same."""
    item_stats = histories.item_stats
    domains = (item_stats.is_source & item_stats.trained, item_stats.is_target & item_stats.trained)
    return domains[1:] if item_stats.is_target.all() else domains
