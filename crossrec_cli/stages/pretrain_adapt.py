"""pretrain-adapt: embed all item texts, then train the neural scorer on source and target together."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet, schemas
from crossrec_cli.artifacts.checkpoint import save_tensors
from crossrec_cli.artifacts.files import (
    ADAPT_LEARNING,
    ADAPTED,
    CASES,
    SHARED_MODEL,
    TAG_NAMES,
    USERS,
)
from crossrec_cli.artifacts.job import Job, Summary
from crossrec_cli.errors import InputError
from crossrec_cli.evaluation.text_adaptation import read_texts
from crossrec_cli.models.base import TrainingData
from crossrec_cli.models.dataset import load_dataset
from crossrec_cli.models.histories import load_cases, tag_vocabulary
from crossrec_cli.models.learner import Learner, with_user_encoder
from crossrec_cli.models.neural import neural_scorer
from crossrec_cli.models.neural.tower import InterestModel
from crossrec_cli.models.neural.train import Epoch, learning_columns
from crossrec_cli.models.shared_model import SharedModel
from crossrec_cli.runtime import device, distributed


def run(job: Job) -> Summary:
    """Embed the item texts, then train on the purchases in source and target."""
    config = job.config
    compute = device.prepare(config.runtime, config.seed)
    tags = tag_vocabulary(parquet.read_table(job.inputs[USERS]))
    dataset = load_dataset(job.inputs, tags)
    if not dataset.histories.source_training.lengths.any():
        raise InputError("no source purchase is before the held-out ones; check split and domains.source")
    shared = SharedModel.load(Path(config.adapt.shared)) if config.adapt.shared else None
    embeddings, encoder, adapted = read_texts(job, dataset, compute, shared)
    data = TrainingData(dataset.histories, dataset.items, embeddings, shared=shared)
    valid = load_cases(parquet.read_table(job.inputs[CASES]), c.VALID)
    config = with_user_encoder(config, data, valid, config.seed)
    epochs: list[Epoch] = []
    model = InterestModel(config.interest, data.texts, dataset.histories.item_stats, len(tags))
    if shared:
        model.take_over(shared.network)
    if neural_scorer.NAME in config.interest.scorers:
        learner = Learner(config, config.seed, compute, job.report, job.checkpoint)
        buyers = int((dataset.histories.training.lengths > 0).sum())
        job.report.say(f"learning from {buyers:,} buyers of {dataset.histories.item_stats.trained.sum():,} items")
        epochs = learner.from_both(model.to(compute.device), dataset.histories)
    if not distributed.leads():
        return {}
    save_tensors(job.output(ADAPTED), model.state_dict())
    if shared:
        shared.save(job.output(SHARED_MODEL))
    parquet.write_table(job.output(TAG_NAMES), schemas.TAG_NAMES, {c.TAG: pa.array(tags, pa.string())})
    parquet.write_table(job.output(ADAPT_LEARNING), schemas.LEARNING, learning_columns(epochs))
    return {
        "loss": epochs[-1].loss if epochs else None,
        "user_encoder": config.interest.user_encoder,
        "encoder": encoder,
        "language_model": adapted,
        "parameters": sum(p.numel() for p in model.parameters()),
    }
