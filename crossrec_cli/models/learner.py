"""The two trainings of the neural scorer, and all scorers fused: for the stages and for the controls of transfer."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import torch

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts.checkpoint import Checkpoint
from crossrec_cli.config.schema import Config
from crossrec_cli.config.training_fields import Training
from crossrec_cli.models.base import Scorer, TrainingData
from crossrec_cli.models.dataset import target_of
from crossrec_cli.models.fused import CHOOSING, Fused
from crossrec_cli.models.fusion import Questions
from crossrec_cli.models.histories import Cases, Histories
from crossrec_cli.models.neural import neural_scorer
from crossrec_cli.models.neural.sampler import Sampler
from crossrec_cli.models.neural.tower import InterestModel
from crossrec_cli.models.neural.train import Epoch, fit
from crossrec_cli.models.ragged import Bools
from crossrec_cli.models.scorers import order_matters
from crossrec_cli.runtime.device import Compute
from crossrec_cli.runtime.progress import Reporter


@dataclass(frozen=True)
class Learner:
    """Everything that a training needs beside the model."""

    config: Config
    seed: int
    compute: Compute
    report: Reporter
    checkpoint: Path

    def from_both(self, model: InterestModel, histories: Histories) -> list[Epoch]:
        """Learn from what is bought in source and target, each item told apart from the others of its domain."""
        training = self.config.adapt
        return self._fit(model, self.sampler(histories, of_both(histories), training), training, self.seed, c.SOURCE)

    def fused(self, adapted: InterestModel | None, data: TrainingData, valid: Cases) -> tuple[Fused, list[Epoch]]:
        """The config's scorers, weighed on validation, and the epochs of the one that is trained by gradients.

        Args:
            adapted: what the trained scorer starts from, left as it is; None: there is none.
            data: what may be learned from before validation.
            valid: the purchases that validation holds back.

        Returns:
            The scorers; and the epochs, none where there was nothing to train, or to learn from.
        """
        names = [name for name in self.config.interest.scorers if name != neural_scorer.NAME]
        candidates, mask_seen = target_of(data.histories), self.config.evaluate.mask_seen
        trained, epochs = self._finetuned(adapted, data, c.TARGET)
        with self.report.progress("fusing scorers", 1, "fits") as advance:
            fused = Fused.fitted(names, data, valid, candidates, mask_seen, self.seed, trained)
            advance(1)
        return fused, epochs

    def refitted(self, fused: Fused, adapted: InterestModel | None, latest: TrainingData) -> Fused:
        """The same scorers with the same weights, learned once more with what validation held back."""
        return fused.refitted(latest, self.seed, self._finetuned(adapted, latest, "refit")[0])

    def _finetuned(
        self, adapted: InterestModel | None, data: TrainingData, name: str
    ) -> tuple[list[Scorer], list[Epoch]]:
        """Go on with both domains; the scorer that this gives."""
        if adapted is None:
            return [], []
        model, training, item_stats = copy.deepcopy(adapted), self.config.finetune, data.histories.item_stats
        model.tower.popularity.copy_(torch.from_numpy(item_stats.popularity))
        sampler = self.sampler(data.histories, of_both(data.histories), training)
        learned = self._fit(model, sampler, training, self.seed + 1, name)
        return [neural_scorer.neural(model, data)], learned

    def sampler(self, histories: Histories, domains: tuple[Bools, ...], training: Training) -> Sampler:
        """What cuts examples from the training part of histories."""
        interest = self.config.interest
        by_length = interest.user_encoder != "bag"
        window = interest.max_sequence + 1
        return Sampler(histories.training, histories.tags, domains, training.batch_size, window, by_length)

    def _fit(self, model: InterestModel, sampler: Sampler, training: Training, seed: int, name: str) -> list[Epoch]:
        """Train in place; where the sampler asks for nothing, nothing is learned."""
        if not sampler.steps:
            return []
        path = self.checkpoint.with_name(f"{self.checkpoint.stem}-{name}.safetensors")
        checkpoint = Checkpoint(path, self.config.runtime.checkpoint_every)
        return fit(model, sampler, training, seed, self.compute, self.report, checkpoint)


def with_user_encoder(config: Config, data: TrainingData, valid: Cases, seed: int) -> Config:
    """The config with a user encoder in the place of ``auto``: one that reads the order where the order tells."""
    interest = config.interest
    if interest.user_encoder != "auto":
        return config
    questions = Questions.of(
        data.histories, valid, target_of(data.histories), config.evaluate.mask_seen, seed, CHOOSING, CHOOSING
    )
    kind = "sequence" if order_matters(data, questions) else "bag"
    return config.model_copy(update={"interest": interest.model_copy(update={"user_encoder": kind})})


def of_both(histories: Histories) -> tuple[Bools, ...]:
    """The items of source and target that were bought; one domain where they are the same."""
    item_stats = histories.item_stats
    found = (item_stats.is_source & item_stats.trained, item_stats.is_target & item_stats.trained)
    return found[1:] if item_stats.is_target.all() else found
