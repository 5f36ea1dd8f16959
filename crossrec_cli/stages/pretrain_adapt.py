"""pretrain-adapt: the language model reads every item, the interest model learns from the source domain."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from crossrec_cli import runtime
from crossrec_cli.artifacts import tables as t
from crossrec_cli.encoder.embed import TextEncoder, distinct_texts
from crossrec_cli.encoder.locate import locate
from crossrec_cli.errors import InputError
from crossrec_cli.interest.batches import Sampler, tag_vocabulary
from crossrec_cli.interest.model import InterestModel
from crossrec_cli.interest.train import fit, learning_columns
from crossrec_cli.stages import ADAPT_LEARNING, ADAPTED, ITEM_TEXT, TAG_NAMES, USERS, Job, Summary
from crossrec_cli.stages.load import load_world, save_model


def run(job: Job) -> Summary:
    """Embed the item texts, then train on the source items of all histories."""
    config = job.config
    compute = runtime.prepare(config.runtime, config.seed)
    tags = tag_vocabulary(t.read_table(job.inputs[USERS]))
    world = load_world(job.inputs, tags)
    domain, training = world.histories.domain, world.histories.training
    sampler = Sampler(
        histories=training.where(~domain.is_target[training.values]),
        tags=world.histories.tags,
        predict=~domain.is_target & domain.trained,
        batch_size=config.adapt.batch_size,
        window=config.interest.max_sequence + 1,
    )
    job.report.say(f"learning from {len(sampler.users):,} buyers of {int(sampler.predict.sum()):,} source items")
    if not sampler.steps:
        raise InputError("no source purchase lies before the held-out ones; look at split and domains.source")
    embeddings = _embed(job, world.items[t.TEXT].to_pylist(), compute)
    model = InterestModel.create(config.interest, embeddings, domain.trained, len(tags)).to(compute.device)
    epochs = fit(model, sampler, config.adapt, config.seed, compute, job.report)
    save_model(job.output(ADAPTED), model)
    t.write_table(job.output(TAG_NAMES), t.TAG_NAMES, {t.TAG: pa.array(tags, pa.string())})
    t.write_table(job.output(ADAPT_LEARNING), t.LEARNING, learning_columns(epochs))
    return {
        "loss": epochs[-1].loss if epochs else None,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def _embed(job: Job, texts: list[str], compute: runtime.Compute) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Embed every item's text and write the embeddings down."""
    encoder = TextEncoder(locate(job.config.encoder), job.config.encoder, compute)
    with job.report.progress("reading item texts", distinct_texts(texts), "texts") as advance:
        embeddings = encoder.embed(texts, advance)
    width = embeddings.shape[1]
    columns = {
        t.ITEM_INDEX: np.arange(len(embeddings)),
        t.EMBEDDING: pa.FixedSizeListArray.from_arrays(pa.array(embeddings.reshape(-1)), width),
    }
    t.write_table(job.output(ITEM_TEXT), t.embeddings(width), columns)
    return embeddings
