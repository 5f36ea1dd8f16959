"""finetune: go on from what the source taught, with what is bought in the target."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from crossrec_cli import distributed, runtime
from crossrec_cli.artifacts import tables as t
from crossrec_cli.evaluation.calibration import pairs
from crossrec_cli.interest.batches import Cases, load_cases
from crossrec_cli.interest.calibrate import fit_platt
from crossrec_cli.interest.ensemble import Ensemble
from crossrec_cli.interest.train import learning_columns
from crossrec_cli.ranking.topk import interest_scorer
from crossrec_cli.stages import ADAPTED, CASES, FINETUNE_LEARNING, FINETUNED, TAG_NAMES, Job, Summary
from crossrec_cli.stages.learn import STOP_ON, Finish, Learner
from crossrec_cli.stages.load import World, load_embeddings, load_model, load_world, save_model


def run(job: Job) -> Summary:
    """Train on the target, keep the epoch that validation likes best, calibrate the score."""
    config = job.config
    compute = runtime.prepare(config.runtime, config.seed)
    world = load_world(job.inputs)
    model = _start(job, world).to(compute.device)
    cases = t.read_table(job.inputs[CASES])
    valid = load_cases(cases, t.VALID)
    learner = Learner(config, config.seed, compute, job.report, job.checkpoint)
    sampler = learner.target_sampler(world.histories)
    job.report.say(f"learning from {len(sampler.users):,} buyers of {len(sampler.pool):,} target items")
    if not sampler.steps:
        job.report.warn("no target purchase is left to train on; the model stays as the source taught it")
    if not valid.count:
        job.report.warn("no validation case: no early stopping, and scores are not calibrated")
    learned = learner.from_target(model, sampler, world.histories, valid)
    model, finish = learner.finish(model, world.histories, valid)
    if valid.count:
        _calibrate(job, model, world, valid)
        best = [max(epochs, key=lambda epoch: epoch.valid_ndcg or 0.0).epoch for epochs in learned]
        if config.finetune.refit and any(best):
            model = _refit(job, world, learner, model, finish, load_cases(cases, t.TEST), best)
    if not distributed.leads():
        return {}
    save_model(job.output(FINETUNED), model)
    t.write_table(job.output(FINETUNE_LEARNING), t.LEARNING, learning_columns(learned))
    epochs = sum(epoch.epoch > 0 for some in learned for epoch in some)
    linear = str(finish.way) if finish.way else None
    return {f"valid_{STOP_ON}": finish.score, "epochs": epochs, "linear_member": linear, "smoothing": finish.smoothing}


def _start(job: Job, world: World) -> Ensemble:
    """The model that the source taught, or an untaught one of the same texts."""
    interest = job.config.interest
    if job.config.finetune.init == "adapted":
        return load_model(job.inputs, ADAPTED, interest)
    tags = t.read_table(job.inputs[TAG_NAMES]).num_rows
    return Ensemble.create(interest, load_embeddings(job.inputs), world.histories.domain, tags)


def _refit(
    job: Job, world: World, learner: Learner, model: Ensemble, finish: Finish, test: Cases, epochs: list[int]
) -> Ensemble:
    """Train once more, on all that lies before the test; of ``model`` only the calibration is kept."""
    histories = world.histories.with_given(test)
    again = _start(job, replace(world, histories=histories)).to(model.device)
    for member in again.members:
        member.tower.popularity.copy_(torch.from_numpy(histories.domain.popularity.astype(np.float32)))
    sampler = learner.target_sampler(histories)
    more = histories.training.lengths.sum() - world.histories.training.lengths.sum()
    upto = " and ".join(map(str, epochs))
    job.report.say(f"once more up to epoch {upto}, with {more:,} interactions that validation had held back")
    learner.again(again, sampler, epochs)
    again = learner.repeat(again, histories, finish)
    again.score_scale.copy_(model.score_scale)
    again.score_shift.copy_(model.score_shift)
    for member, known in zip(again.members, model.members, strict=True):
        member.new_users.copy_(known.new_users)
    return again


def _calibrate(job: Job, model: Ensemble, world: World, valid: Cases) -> None:
    """Fit the score so that it is the probability that this item is what validation asks for.

    With ``leave_last_out`` that is the user's next new target purchase, with ``time`` any in the validation period.
    """
    trained = Ensemble(model.members[: job.config.interest.members])
    fitted = _fitted(trained, world, valid)
    if not fitted:
        job.report.warn("validation buys nothing new: scores are not calibrated")
        return
    scale, shift = fitted
    warm = np.flatnonzero(world.histories.target_lengths(valid.users, valid.history_lengths))
    if len(model.members) > len(trained.members) and (fitted := _fitted(model, world, valid.of(warm))):
        # Of users without target history the linear member says nothing: they keep the scale that they have without it.
        alone, (scale, shift) = scale, fitted
        for member in trained.members:
            member.new_users.fill_(alone / scale * len(model.members) / len(trained.members))
    model.score_scale.fill_(scale)
    model.score_shift.fill_(shift)


def _fitted(model: Ensemble, world: World, cases: Cases) -> tuple[float, float] | None:
    """Scale and shift of the score; None where nothing new was bought that they could be fitted to."""
    logits, bought = pairs(interest_scorer(model, world.target_items), world.histories, cases, world.target_items)
    return fit_platt(logits, bought) if bought.any() else None
