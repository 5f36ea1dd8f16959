"""pretrain-adapt: embed all item texts, then train the neural scorer on source and target together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet, schemas
from crossrec_cli.artifacts.checkpoint import save_tensors
from crossrec_cli.artifacts.files import (
    ADAPT_LEARNING,
    ADAPTED,
    CASES,
    ITEM_TEXT,
    LANGUAGE_MODEL,
    SHARED_MODEL,
    TAG_NAMES,
    USERS,
)
from crossrec_cli.artifacts.job import Job, Summary
from crossrec_cli.errors import ConfigError, InputError
from crossrec_cli.evaluation.text_adaptation import Floats, adapted_if_better
from crossrec_cli.models.base import TrainingData
from crossrec_cli.models.dataset import Dataset, load_dataset, texts_of
from crossrec_cli.models.histories import load_cases, tag_vocabulary
from crossrec_cli.models.learner import Learner, with_user_encoder
from crossrec_cli.models.neural import neural_scorer
from crossrec_cli.models.neural.tower import InterestModel
from crossrec_cli.models.neural.train import Epoch, learning_columns
from crossrec_cli.models.shared_model import SharedModel
from crossrec_cli.runtime import device, distributed
from crossrec_cli.text import cache
from crossrec_cli.text.encode import TokenEncoder
from crossrec_cli.text.encoders import FROZEN, identity, open_encoder, save_encoder
from crossrec_cli.text.static import StaticEncoder


def run(job: Job) -> Summary:
    """Embed the item texts, then train on the purchases in source and target."""
    config = job.config
    compute = device.prepare(config.runtime, config.seed)
    tags = tag_vocabulary(parquet.read_table(job.inputs[USERS]))
    dataset = load_dataset(job.inputs, tags)
    if not dataset.histories.source_training.lengths.any():
        raise InputError("no source purchase is before the held-out ones; check split and domains.source")
    shared = SharedModel.load(Path(config.adapt.shared)) if config.adapt.shared else None
    embeddings, encoder, adapted = _read_texts(job, dataset, compute, shared)
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


def _read_texts(
    job: Job, dataset: Dataset, compute: device.Compute, shared: SharedModel | None
) -> tuple[Floats, str, str]:
    """Embed every item's text and write the embeddings, and the encoder where it is not the language model as it came.

    Returns:
        The embeddings, the kind of the encoder, and how it was adapted.
    """
    config, texts = job.config, texts_of(dataset.items)
    encoder = open_encoder(config.encoder, texts, compute, job.report)
    if shared and shared.encoder != identity(encoder, config.encoder):
        raise ConfigError(["adapt.shared: another encoder read the texts of the federation; see encoder"])
    if shared and config.adapt.language_model != FROZEN:
        raise ConfigError([f"adapt.shared: needs adapt.language_model: {FROZEN}, as on the other platforms"])
    if config.adapt.language_model != FROZEN and not isinstance(encoder, TokenEncoder):
        raise ConfigError(
            [f"adapt.language_model: {config.encoder.model} gives no weights to train; set it to {FROZEN}"]
        )
    embeddings, adapted = cache.embed(encoder, texts, config.run_path / "embeddings", job.report), FROZEN
    if distributed.leads() and isinstance(encoder, StaticEncoder):
        save_encoder(job.output(LANGUAGE_MODEL), encoder, adapted)
    if distributed.leads() and isinstance(encoder, TokenEncoder) and config.adapt.language_model != FROZEN:
        with distributed.single_process():
            better = adapted_if_better(job, dataset, encoder, texts, embeddings)
        if better is not None:
            embeddings, adapted = better, config.adapt.language_model
            save_encoder(job.output(LANGUAGE_MODEL), encoder, adapted)
    distributed.from_leader([torch.from_numpy(embeddings)])
    if distributed.leads():
        columns = {c.ITEM_INDEX: np.arange(len(embeddings)), c.EMBEDDING: parquet.vector_column(embeddings)}
        parquet.write_table(job.output(ITEM_TEXT), schemas.embeddings(embeddings.shape[1]), columns)
    return embeddings, encoder.KIND, adapted
