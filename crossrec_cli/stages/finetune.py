"""finetune: go on from what the source taught, with what is bought in the target."""

from __future__ import annotations

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
    valid = load_cases(t.read_table(job.inputs[CASES]), t.VALID)
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
            model = _refit(job, world, learner, model, finish, best)
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


def _refit(job: Job, world: World, learner: Learner, model: Ensemble, finish: Finish, epochs: list[int]) -> Ensemble:
    """Train once more, on all that the test does not hold out; of ``model`` only the calibration is kept."""
    validated = load_world(job.inputs, validated=True)
    histories = validated.histories
    more = histories.training.lengths.sum() - world.histories.training.lengths.sum()
    if not more:
        job.report.warn("finetune.refit: the test holds back all that validation does; the model stays as it is")
        return model
    again = _start(job, validated).to(model.device)
    for member in again.members:
        member.tower.popularity.copy_(torch.from_numpy(histories.domain.popularity.astype(np.float32)))
    sampler = learner.target_sampler(histories)
    upto = " and ".join(map(str, epochs))
    job.report.say(f"once more up to epoch {upto}, with {more:,} interactions that validation had held back")
    learner.again(again, sampler, epochs)
    again = learner.repeat(again, histories, finish)
    again.score_scale.copy_(model.score_scale)
    again.score_shift.copy_(model.score_shift)
    return again


def _calibrate(job: Job, model: Ensemble, world: World, valid: Cases) -> None:
    """Fit the score so that it is the probability that this item is what validation asks for.

    With ``leave_last_out`` that is the user's next target purchase, a new one under ``evaluate.mask_seen``; with
    ``time`` any in the validation period. One scale and one shift for everybody's whole score, so that no user's items
    change their order after validation chose the model.
    """
    candidates, masked = world.target_items, job.config.evaluate.mask_seen
    logits, bought = pairs(interest_scorer(model, candidates), world.histories, valid, candidates, masked)
    if not bought.any():
        job.report.warn("validation buys nothing new: scores are not calibrated")
        return
    scale, shift = fit_platt(logits, bought)
    model.score_scale.fill_(scale)
    model.score_shift.fill_(shift)
