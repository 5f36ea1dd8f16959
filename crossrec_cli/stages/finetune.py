"""finetune: continue the neural scorer's training on both domains, then fuse all scorers on validation."""

from __future__ import annotations

from dataclasses import replace

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet, schemas
from crossrec_cli.artifacts.files import ADAPTED, CASES, FINETUNE_LEARNING, FUSED, TAG_NAMES
from crossrec_cli.artifacts.job import Job, Summary
from crossrec_cli.config.schema import Config
from crossrec_cli.errors import ConfigError
from crossrec_cli.evaluation.validation import STOP_ON, ndcg
from crossrec_cli.models.base import TrainingData
from crossrec_cli.models.dataset import after_validation, load_dataset, load_model, training_data
from crossrec_cli.models.earlier import EarlierModel
from crossrec_cli.models.fused import FusedModel
from crossrec_cli.models.histories import load_cases
from crossrec_cli.models.learner import Learner, with_user_encoder
from crossrec_cli.models.neural import neural_scorer
from crossrec_cli.models.neural.tower import InterestModel
from crossrec_cli.models.neural.train import Epoch, learning_columns
from crossrec_cli.models.saved import ModelFiles, save
from crossrec_cli.runtime import device, distributed


def run(job: Job) -> Summary:
    """Train, fuse, and write every item's final vectors."""
    config = job.config
    compute = device.prepare(config.runtime, config.seed)
    dataset = load_dataset(job.inputs)
    data = training_data(job.inputs, dataset)
    if config.finetune.init == "previous":
        return _continued(job, compute, data)
    valid = load_cases(parquet.read_table(job.inputs[CASES]), c.VALID)
    config = with_user_encoder(config, data, valid, config.seed)
    learner = Learner(config, config.seed, compute, job.report, job.checkpoint)
    if not valid.count:
        job.report.warn("no validation purchase: the scorers have their default weights")
    if not (data.is_target & data.histories.item_stats.trained).any():
        job.report.warn("no target purchase is left to train on; the model learns from the source only")
    adapted = _start(job, config, data) if neural_scorer.NAME in config.interest.scorers else None
    adapted = adapted and adapted.to(compute.device)
    fused, epochs = learner.fused(adapted, data, valid)
    valid_ndcg = ndcg(fused.candidate_scorer(dataset.target_items), data.histories, valid, config.evaluate.mask_seen)
    if config.finetune.refit:
        fused = learner.refitted(fused, adapted, after_validation(job.inputs, data))
    return _written(job, data, fused, epochs) | {f"valid_{STOP_ON}": valid_ndcg}


def _continued(job: Job, compute: device.Compute, data: TrainingData) -> Summary:
    """Go on from the model that this one replaces; validation has no say, so it is only learned from."""
    config = job.config
    if job.earlier is None:
        raise ConfigError(["finetune.init: previous: there is no model of this version to go on from; train one first"])
    earlier = EarlierModel.load(job.earlier, config.interest)
    if config.finetune.refit:
        data = after_validation(job.inputs, data)
    data = replace(data, earlier_whitening=earlier.fused.whitening)
    if reason := earlier.unfit(config.interest, data):
        raise ConfigError([f"finetune.init: previous: {reason}; run without it once"])
    learner = Learner(earlier.with_user_encoder(config), config.seed, compute, job.report, job.checkpoint)
    return _written(job, data, *learner.continued(earlier, data, _tags(job)))


def _written(job: Job, data: TrainingData, fused: FusedModel, epochs: list[Epoch]) -> Summary:
    if not distributed.leads():
        return {}
    save(fused, data.items, ModelFiles(*(job.output(file) for file in FUSED)), _tags(job))
    parquet.write_table(job.output(FINETUNE_LEARNING), schemas.LEARNING, learning_columns(epochs))
    return {"epochs": len(epochs), "scorers": scorer_shares(fused)}


def _start(job: Job, config: Config, data: TrainingData) -> InterestModel:
    """The model from pretrain-adapt, or an untrained one with the same texts."""
    if config.finetune.init == "adapted":
        return load_model(job.inputs, ADAPTED, config.interest, data)
    return InterestModel(config.interest, data.texts, data.histories.item_stats, len(_tags(job)))


def _tags(job: Job) -> list[str]:
    names: list[str] = parquet.read_table(job.inputs[TAG_NAMES])[c.TAG].to_pylist()
    return names


def scorer_shares(fused: FusedModel) -> dict[str, float]:
    """Each scorer's share of the influence: weight times spread of its features, the mean over the groups."""
    sizes, number = {}, 0
    each = abs(fused.fusion.weights * fused.fusion.spread).mean(axis=0)
    for scorer in fused.scorers:
        sizes[scorer.name] = float(each[number : number + len(scorer.features)].sum())
        number += len(scorer.features)
    total = max(sum(sizes.values()), 1e-12)
    return {name: size / total for name, size in sizes.items()}
