"""The two trainings, for the stages and for the controls that they are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path

import numpy as np
import torch

from crossrec_cli import distributed
from crossrec_cli.artifacts import tables as t
from crossrec_cli.artifacts.checkpoint import Checkpoint
from crossrec_cli.config.schema import Config
from crossrec_cli.evaluation import metrics
from crossrec_cli.interest import linear
from crossrec_cli.interest.batches import Bools, Cases, Histories, Ragged, Sampler
from crossrec_cli.interest.ensemble import Ensemble
from crossrec_cli.interest.linear import LIGHT, Way
from crossrec_cli.interest.model import InterestModel
from crossrec_cli.interest.train import EarlyStopping, Epoch, fit
from crossrec_cli.ranking.topk import interest_scorer, ranked
from crossrec_cli.reporting import Reporter
from crossrec_cli.runtime import Compute
from crossrec_cli.stages.load import target_of

STOP_ON = metrics.name("ndcg", 10)
SMOOTHINGS = (0.5, 1.0, 2.0, 4.0)
"""Tried on validation beside 0: an item with n interactions gets the share s / (n + s) of what its neighbours know."""
APART = 1_000_003
"""How far the seeds of two members lie apart, so that runs whose own seeds are neighbours share no chance."""
WAYS = (
    *(Way(l2) for l2 in (1000.0, 3000.0)),
    *(Way(l2, source_weight=LIGHT, text_weight=10.0) for l2 in (100.0, 300.0, 1000.0)),
)
"""Those in which a linear member learns, to be tried on validation."""
SHARES = (0.1, 0.2, 0.4, 0.8)
"""And how far its scores lie apart beside those of all other members together, both by their standard deviation."""
LINEAR_CELLS = 2**25
"""Numbers in the largest matrix that a linear member may need, 256 MB in float64; it holds up to four such at once."""
LEAST_GAIN = 1.02
"""So many times as good must it make validation: as it is tried twenty times, one of them is better by luck."""
LOOKED_AT = 256
"""Users by whom it is told how far scores lie apart."""


@dataclass(frozen=True)
class Finish:
    """What validation chose once the trainings were over."""

    way: Way | None = None
    """How the linear member learned; None: there is none."""
    scale: float = 0.0
    """What its scores are multiplied by."""
    smoothing: float = 0.0
    """How much items lean on their neighbours."""
    score: float | None = None
    """Validation's NDCG@10 then; None where nothing could be asked."""


@dataclass(frozen=True)
class Learner:
    """Everything that a training needs beside the model."""

    config: Config
    seed: int
    compute: Compute
    report: Reporter
    checkpoint: Path

    def from_source(self, model: Ensemble, sampler: Sampler) -> list[list[Epoch]]:
        """Each member learns from what is bought in the source, in place; from ``source_sampler``."""
        training = self.config.adapt
        return [
            fit(member, sampler, training, seed, self.compute, self.report, None, kept)
            for member, seed, kept in self._members(model, t.SOURCE)
        ]

    def from_target(
        self,
        model: Ensemble,
        sampler: Sampler,
        histories: Histories,
        valid: Cases,
        epochs: int | None = None,
        heed: Callable[[float], None] | None = None,
    ) -> list[list[Epoch]]:
        """Each member learns from what is bought in the target, in place, up to its epoch that ranks validation best.

        Args:
            model: where to start from.
            sampler: from ``target_sampler``; where it asks for nothing, nothing is learned.
            histories: everybody's.
            valid: without any, all epochs are trained.
            epochs: instead of the config's.
            heed: told of each validation's NDCG@10, and may end it all.
        """
        if not sampler.steps:
            return []
        training = (
            self.config.finetune if epochs is None else self.config.finetune.model_copy(update={"epochs": epochs})
        )

        def quality(member: InterestModel) -> float:
            score = self.ndcg(Ensemble([member]), histories, valid)
            if heed:
                heed(score)
            return score

        stopping = EarlyStopping(quality, training.patience) if valid.count else None
        return [
            fit(member, sampler, training, seed + 1, self.compute, self.report, stopping, kept)
            for member, seed, kept in self._members(model, t.TARGET)
        ]

    def finish(self, model: Ensemble, histories: Histories, valid: Cases) -> tuple[Ensemble, Finish]:
        """Choose on validation what needs no gradients: a linear member, and how much items lean on their neighbours.

        Returns:
            The model with both, each only where it ranks better, and what was chosen; without cases, nothing is.
        """
        if not valid.count:
            return model, Finish()
        plain = self.ndcg(model, histories, valid)
        nothing = (plain, Finish())
        score, chosen = max(self._with_linear(model, histories, valid), key=itemgetter(0), default=nothing)
        if score <= LEAST_GAIN * plain:
            score, chosen = nothing
        model = self.repeat(model, histories, chosen)
        if chosen.way:
            self.report.say(f"{chosen.way} becomes a member: validation NDCG@10 {score:.4f}, {plain:.4f} without")
        if model.leans:
            found = {0.0: score}  # the least smoothing that is as good as any
            for smoothing in SMOOTHINGS:
                model.smooth(smoothing)
                found[smoothing] = self.ndcg(model, histories, valid)
            smoothing, score = max(found.items(), key=itemgetter(1))
            chosen = replace(chosen, smoothing=smoothing)
            model.smooth(chosen.smoothing)
            self.report.say(f"smoothing {chosen.smoothing:g} ranks best: validation NDCG@10 {score:.4f}")
        return model, replace(chosen, score=score)

    def repeat(self, model: Ensemble, histories: Histories, finish: Finish) -> Ensemble:
        """The model, finished in a way that is known to be good."""
        if finish.way:
            model = model.with_linear(self.config.interest)
            linear.learn(model.members[-1], histories, finish.way, self.seed)
            linear.scale(model.members[-1], finish.scale)
        model.smooth(finish.smoothing)
        return model

    def _with_linear(self, model: Ensemble, histories: Histories, valid: Cases) -> Iterator[tuple[float, Finish]]:
        """Every way that is tried to add a linear member, behind what it scores; none where its matrices are large."""
        target, rows = histories.domain.is_target, histories.users + model.members[0].tower.text.shape[1]
        if linear.ease_cells(rows, len(target), int(target.sum())) > LINEAR_CELLS:
            return
        spread, more = _spread(model, histories, valid), model.with_linear(self.config.interest)
        added = more.members[-1]
        for way in WAYS:
            linear.learn(added, histories, way, self.seed)
            own = _spread(Ensemble([added]), histories, valid)
            for share in SHARES if own > 0 else ():
                scale = share * len(model.members) * spread / own
                linear.scale(added, scale)
                yield self.ndcg(more, histories, valid), Finish(way, scale)

    def ndcg(self, model: Ensemble, histories: Histories, valid: Cases) -> float:
        """Validation's NDCG@10 among the items that the test would rank; see ``ndcg``."""
        return ndcg(model, histories, valid, self.config.evaluate.mask_seen)

    def again(self, model: Ensemble, sampler: Sampler, epochs: Sequence[int]) -> None:
        """As ``from_target``, each member up to an epoch that is known to be good, with nothing held out to ask."""
        training = self.config.finetune
        for until, (member, seed, kept) in zip(epochs, self._members(model, "refit"), strict=True):
            fit(member, sampler, training, seed + 1, self.compute, self.report, None, kept, until)

    def source_sampler(self, histories: Histories) -> Sampler:
        """Source items, given source items."""
        domain, size = histories.domain, self.config.adapt.batch_size
        return self._sampler(histories.source_training, histories.tags, domain.is_source & domain.trained, size)

    def target_sampler(self, histories: Histories) -> Sampler:
        """Target items, given everything."""
        domain, size = histories.domain, self.config.finetune.batch_size
        return self._sampler(histories.training, histories.tags, domain.is_target & domain.trained, size)

    def _sampler(self, histories: Ragged, tags: Ragged, predict: Bools, batch_size: int) -> Sampler:
        interest = self.config.interest
        by_length = interest.user_encoder != "bag"
        return Sampler(histories, tags, predict, batch_size, interest.max_sequence + 1, by_length)

    def _members(self, model: Ensemble, training: str) -> Iterator[tuple[InterestModel, int, Checkpoint]]:
        """Each member with its seed and its checkpoint in one of the trainings; none may go on from another's."""
        for number, member in enumerate(model.members):
            if len(model.members) > 1:
                self.report.say(f"member {number + 1} of {len(model.members)}")
            path = self.checkpoint.with_name(f"{self.checkpoint.stem}-{training}-{number}.safetensors")
            yield member, self.seed + number * APART, Checkpoint(path, self.config.runtime.checkpoint_every)


def _spread(model: Ensemble, histories: Histories, cases: Cases) -> float:
    """The standard deviation of a user's scores over all target items, the mean over some whom it is above 0 for."""
    some = cases.of(np.arange(min(cases.count, LOOKED_AT)))
    scorer = interest_scorer(model, target_of(histories))
    found = scorer(histories.items.take(some.users, some.history_lengths), histories.tags.take(some.users))
    apart = found.std(dim=1, correction=0)
    return float(apart[apart > 0].mean()) if apart.any() else 0.0


def scores(model: Ensemble, histories: Histories, cases: Cases, mask_seen: bool) -> dict[str, metrics.Floats]:
    """Every metric at 10 of every case, among all target items."""
    candidates = target_of(histories)
    ranks = ranked(interest_scorer(model, candidates), histories, cases, candidates, mask_seen)
    return metrics.per_case(ranks, [10])


def ndcg(model: Ensemble, histories: Histories, cases: Cases, mask_seen: bool) -> float:
    """NDCG@10 among all target items, or among those that are not in the history."""
    mine = np.arange(cases.count)[distributed.share()]
    found = torch.zeros(cases.count, dtype=torch.float64)
    found[mine] = torch.from_numpy(scores(model, histories, cases.of(mine), mask_seen)[STOP_ON])
    distributed.add([found])
    return metrics.mean(found.numpy())
