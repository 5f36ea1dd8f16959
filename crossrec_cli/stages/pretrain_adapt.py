"""pretrain-adapt: the language model reads every item, the neural scorer learns from source and target at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet, schemas
from crossrec_cli.artifacts.checkpoint import Checkpoint
from crossrec_cli.artifacts.files import ADAPT_LEARNING, ADAPTED, CASES, ITEM_TEXT, LANGUAGE_MODEL, TAG_NAMES, USERS
from crossrec_cli.artifacts.job import Job, Summary
from crossrec_cli.errors import InputError
from crossrec_cli.evaluation import metrics
from crossrec_cli.evaluation.learner import STOP_ON, Learner, with_user_encoder
from crossrec_cli.evaluation.significance import interval
from crossrec_cli.models.base import HistoryFeature, TrainingData, products, unit_rows
from crossrec_cli.models.dataset import World, load_world, save_model, texts_of
from crossrec_cli.models.histories import Cases, Histories, load_cases, tag_vocabulary
from crossrec_cli.models.neural import neural_scorer
from crossrec_cli.models.neural.tower import InterestModel
from crossrec_cli.models.neural.train import Epoch, learning_columns
from crossrec_cli.models.ragged import Ints, Ragged
from crossrec_cli.models.whitening import Whitening
from crossrec_cli.ranking.topk import ranked
from crossrec_cli.runtime import device, distributed
from crossrec_cli.text import cache
from crossrec_cli.text.adapt import adapt
from crossrec_cli.text.encode import TextEncoder
from crossrec_cli.text.find import locate

ASKED_AT_MOST = 2000
Floats = npt.NDArray[np.float32]


def run(job: Job) -> Summary:
    """Embed the item texts, then train on the purchases in source and target."""
    config = job.config
    compute = device.prepare(config.runtime, config.seed)
    tags = tag_vocabulary(parquet.read_table(job.inputs[USERS]))
    world = load_world(job.inputs, tags)
    if not world.histories.source_training.lengths.any():
        raise InputError("no source purchase lies before the held-out ones; look at split and domains.source")
    embeddings, kept = _read_texts(job, world, compute)
    data = TrainingData(world.histories, world.items, embeddings)
    config = with_user_encoder(config, data, load_cases(parquet.read_table(job.inputs[CASES]), c.VALID))
    learned: list[Epoch] = []
    model = InterestModel(config.interest, data.texts, world.histories.domain, len(tags))
    if neural_scorer.NAME in config.interest.scorers:
        learner = Learner(config, config.seed, compute, job.report, job.checkpoint)
        buyers = int((world.histories.training.lengths > 0).sum())
        job.report.say(f"learning from {buyers:,} buyers of {world.histories.domain.trained.sum():,} items")
        learned = learner.from_both(model.to(compute.device), world.histories)
    if not distributed.leads():
        return {}
    save_model(job.output(ADAPTED), model)
    parquet.write_table(job.output(TAG_NAMES), schemas.TAG_NAMES, {c.TAG: pa.array(tags, pa.string())})
    parquet.write_table(job.output(ADAPT_LEARNING), schemas.LEARNING, learning_columns(learned))
    return {
        "loss": learned[-1].loss if learned else None,
        "user_encoder": config.interest.user_encoder,
        "language_model": config.adapt.language_model if kept else "frozen",
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def _read_texts(job: Job, world: World, compute: device.Compute) -> tuple[Floats, bool]:
    """Embed every item's text and write the embeddings down; and whether an adapted language model made them."""
    config, texts = job.config, texts_of(world.items)
    encoder = TextEncoder(locate(config.encoder), config.encoder, compute)
    embeddings, kept = cache.embed(encoder, texts, config.run_path / "embeddings", job.report), False
    if config.adapt.language_model != "frozen" and distributed.leads():
        with distributed.alone():
            embeddings, kept = _adapted(job, world, encoder, texts, embeddings)
    distributed.from_leader([torch.from_numpy(embeddings)])
    if not distributed.leads():
        return embeddings, kept
    columns = {c.ITEM_INDEX: np.arange(len(embeddings)), c.EMBEDDING: parquet.vector_column(embeddings)}
    parquet.write_table(job.output(ITEM_TEXT), schemas.embeddings(embeddings.shape[1]), columns)
    return embeddings, kept


def _adapted(job: Job, world: World, encoder: TextEncoder, texts: list[str], frozen: Floats) -> tuple[Floats, bool]:
    """The adapted language model's embeddings, if they rank what other users bought better than the frozen one's."""
    question = SourceQuestion.of(world.histories, job.config.seed)
    chosen = job.config.adapt
    kept = job.checkpoint.with_name(f"{job.checkpoint.stem}-language-model.safetensors")
    checkpoint = Checkpoint(kept, job.config.runtime.checkpoint_every)
    adapt(encoder, texts, question.lists, chosen.language_model, chosen.text, job.config.seed, job.report, checkpoint)
    with job.report.progress("reading item texts again", len(set(texts)), "texts") as advance:
        adapted = encoder.embed(texts, advance)
    before, after = (question.ndcg(embeddings) for embeddings in (frozen, adapted))
    low, high = interval(after - before)
    gain = f"{metrics.mean(after - before):+.4f} ({low:+.4f} to {high:+.4f})"
    told = f"NDCG@10 {metrics.mean(before):.4f} frozen, {gain} adapted, for {len(before):,} buyers that it did not see"
    if low <= 0:
        job.report.warn(f"the adapted language model ranks the source no better and is not kept: {told}")
        return frozen, False
    job.report.say(f"the adapted language model is kept: {told}")
    save_model(job.output(LANGUAGE_MODEL), encoder.model)
    return adapted, True


@dataclass(frozen=True)
class SourceQuestion:
    """What some of the source's buyers bought last, told by the texts of what they bought before."""

    histories: Histories
    cases: Cases
    lists: list[Ints]
    """What the others bought, for the language model to learn from."""

    @classmethod
    def of(cls, histories: Histories, seed: int) -> SourceQuestion:
        """Ask a random tenth of the buyers, 2,000 at most, for the last quarter of what they bought."""
        source = histories.source_training
        buyers = np.random.default_rng(seed).permutation(np.flatnonzero(source.lengths > 1))
        asked = np.sort(buyers[: min(max(len(buyers) // 10, 1), ASKED_AT_MOST)])
        lengths = source.lengths[asked]
        given = lengths - np.maximum(lengths // 4, 1)
        cases = Cases(asked, given, source.slice(asked, given, lengths))
        others = np.setdiff1d(buyers, asked)
        lists = np.split(source.take(others).values, np.cumsum(source.lengths[others])[:-1])
        return cls(replace(histories, items=source, train_lengths=source.lengths, scattered=None), cases, lists)

    def ndcg(self, embeddings: Floats) -> metrics.Floats:
        """NDCG@10 of every case among all source items, by the cosine of whitened texts, as the model reads them."""
        candidates = np.flatnonzero(self.histories.domain.is_source & self.histories.domain.trained)
        vectors = np.asarray(unit_rows(Whitening.of(embeddings)(embeddings)))
        text = HistoryFeature("text", vectors, self.histories.domain.is_target)

        def scorer(histories: Ragged, tags: Ragged) -> torch.Tensor:
            return torch.from_numpy(products(text.user_vectors(histories, tags), vectors[candidates]))

        ranks = ranked(scorer, self.histories, self.cases, candidates, mask_seen=True)
        return metrics.per_case(ranks, [10])[STOP_ON]
