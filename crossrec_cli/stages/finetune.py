"""finetune: the neural scorer goes on with what is bought in the target; then all scorers are fused on validation."""

from __future__ import annotations

from crossrec_cli import distributed, runtime
from crossrec_cli.artifacts import tables as t
from crossrec_cli.interest.batches import load_cases
from crossrec_cli.interest.model import InterestModel
from crossrec_cli.interest.train import Epoch, learning_columns
from crossrec_cli.models import neural
from crossrec_cli.models.base import TrainingData
from crossrec_cli.models.fused import Fused
from crossrec_cli.models.saved import save
from crossrec_cli.stages import ADAPTED, CASES, FINETUNE_LEARNING, TAG_NAMES, Job, Summary
from crossrec_cli.stages.learn import STOP_ON, Learner, ndcg, with_user_encoder
from crossrec_cli.stages.load import load_model, load_world, target_of, training_data, written


def run(job: Job) -> Summary:
    """Train, fuse, and write every item's final vectors."""
    config = job.config
    compute = runtime.prepare(config.runtime, config.seed)
    world = load_world(job.inputs)
    data = training_data(job.inputs, world)
    valid = load_cases(t.read_table(job.inputs[CASES]), t.VALID)
    config = with_user_encoder(config, data, valid)
    learner = Learner(config, config.seed, compute, job.report, job.checkpoint)
    model, learned = _trained(job, learner, data) if neural.NAME in config.interest.scorers else (None, [])
    if not valid.count:
        job.report.warn("no validation purchase: the scorers count as much as is usual elsewhere")
    with job.report.progress("fusing scorers", 1, "fits") as advance:
        fused = learner.fused(model, data, valid)
        advance(1)
    found = ndcg(fused.among(target_of(data.histories)), data.histories, valid, config.evaluate.mask_seen)
    if not distributed.leads():
        return {}
    save(fused, world.items, written(job))
    t.write_table(job.output(FINETUNE_LEARNING), t.LEARNING, learning_columns(learned))
    return {f"valid_{STOP_ON}": found, "epochs": len(learned), "scorers": shares(fused)}


def _trained(job: Job, learner: Learner, data: TrainingData) -> tuple[InterestModel, list[Epoch]]:
    """What the source taught, or an untaught model of the same texts, after the target's purchases."""
    config, histories = learner.config, data.histories
    if config.finetune.init == "adapted":
        model = load_model(job.inputs, ADAPTED, config.interest, data)
    else:
        tags = t.read_table(job.inputs[TAG_NAMES]).num_rows
        model = InterestModel(config.interest, data.texts, histories.domain, tags)
    learned = learner.from_target(model.to(learner.compute.device), histories)
    if not learned and config.finetune.epochs:
        job.report.warn("no target purchase is left to train on; the neural scorer stays as the source taught it")
    return model, learned


def shares(fused: Fused) -> dict[str, float]:
    """How much each scorer decides, of all: its weights times the spread of its scores, the mean over the groups."""
    sizes, number = {}, 0
    each = abs(fused.fusion.weights * fused.fusion.spread).mean(axis=0)
    for scorer in fused.scorers:
        sizes[scorer.name] = float(each[number : number + len(scorer.features)].sum())
        number += len(scorer.features)
    total = max(sum(sizes.values()), 1e-12)
    return {name: size / total for name, size in sizes.items()}
