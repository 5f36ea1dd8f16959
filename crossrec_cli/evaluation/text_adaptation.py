"""Embeddings of the items' texts, by an adapted language model where it ranks source items better than before."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet, schemas
from crossrec_cli.artifacts.checkpoint import Checkpoint
from crossrec_cli.artifacts.files import ITEM_TEXT, LANGUAGE_MODEL
from crossrec_cli.artifacts.job import Job
from crossrec_cli.errors import ConfigError
from crossrec_cli.evaluation import metrics
from crossrec_cli.evaluation.significance import interval
from crossrec_cli.evaluation.validation import STOP_ON
from crossrec_cli.models.base import HistoryFeature
from crossrec_cli.models.dataset import Dataset, texts_of
from crossrec_cli.models.histories import Cases, Histories
from crossrec_cli.models.ragged import Ints, Ragged
from crossrec_cli.models.shared_model import SharedModel
from crossrec_cli.models.vectors import products, unit_rows
from crossrec_cli.models.whitening import Whitening
from crossrec_cli.ranking.topk import ranked
from crossrec_cli.runtime import device, distributed
from crossrec_cli.text import cache
from crossrec_cli.text.adapt import adapt
from crossrec_cli.text.encode import TextEncoder, TokenEncoder
from crossrec_cli.text.encoders import FROZEN, facts, identity, load_encoder, open_encoder, save_encoder
from crossrec_cli.text.static import StaticEncoder

MAX_CASES = 2000
Floats = npt.NDArray[np.float32]


def read_texts(
    job: Job, dataset: Dataset, compute: device.Compute, shared: SharedModel | None
) -> tuple[Floats, str, str]:
    """Embed every item's text and write the embeddings, and the encoder where it is not the language model as it came.

    Returns:
        The embeddings, the kind of the encoder, and how it was adapted.
    """
    config, texts = job.config, texts_of(dataset.items)
    goes_on, adapted = config.adapt.init == "previous", FROZEN
    if goes_on:
        encoder, adapted = _earlier(job, compute)
    else:
        encoder = open_encoder(config.encoder, texts, compute, job.report)
    if shared and shared.encoder != identity(encoder, config.encoder):
        raise ConfigError(["adapt.shared: another encoder read the texts of the federation; see encoder"])
    if shared and config.adapt.language_model != FROZEN:
        raise ConfigError([f"adapt.shared: needs adapt.language_model: {FROZEN}, as on the other platforms"])
    if config.adapt.language_model != FROZEN and not isinstance(encoder, TokenEncoder):
        raise ConfigError(
            [f"adapt.language_model: {config.encoder.model} gives no weights to train; set it to {FROZEN}"]
        )
    embeddings = cache.embed(encoder, texts, config.run_path / "embeddings", job.report)
    has_weights = isinstance(encoder, StaticEncoder) or adapted != FROZEN
    if distributed.leads() and isinstance(encoder, TokenEncoder) and has_weights:
        save_encoder(job.output(LANGUAGE_MODEL), encoder, adapted)
    trains = config.adapt.language_model != FROZEN and not goes_on
    if distributed.leads() and isinstance(encoder, TokenEncoder) and trains:
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


def _earlier(job: Job, compute: device.Compute) -> tuple[TextEncoder, str]:
    """The encoder of the run that this one replaces, and how that adapted it.

    Raises:
        ConfigError: if there is none, or it was made with other settings.
    """
    if job.earlier is None:
        raise ConfigError(["adapt.init: previous: there is no run of this version to go on from; run without it once"])
    now = {f"encoder.{name}": value for name, value in job.config.encoder.model_dump(mode="json").items()}
    now["adapt.language_model"] = job.config.adapt.language_model
    then = job.earlier.manifest.config
    if changed := [name for name, value in now.items() if then[name] != value]:
        raise ConfigError([f"adapt.init: previous: {', '.join(changed)} changed since then; run without it once"])
    if not job.earlier.holds(LANGUAGE_MODEL):
        return load_encoder(job.config.encoder, {}, compute), FROZEN
    file = job.earlier.file(LANGUAGE_MODEL)
    return load_encoder(job.config.encoder, {LANGUAGE_MODEL: file}, compute), facts(file)["adapted"]


def adapted_if_better(
    job: Job, dataset: Dataset, encoder: TokenEncoder, texts: list[str], frozen: Floats
) -> Floats | None:
    """The adapted language model's embeddings if they rank other users' purchases better than the frozen one's.

    The encoder is adapted in both cases.
    """
    source_cases = SourceCases.of(dataset.histories, job.config.seed)
    config = job.config.adapt
    checkpoint_path = job.checkpoint.with_name(f"{job.checkpoint.stem}-language-model.safetensors")
    checkpoint = Checkpoint(checkpoint_path, job.config.runtime.checkpoint_every)
    adapt(
        encoder, texts, source_cases.lists, config.language_model, config.text, job.config.seed, job.report, checkpoint
    )
    with job.report.progress("reading item texts again", len(set(texts)), "texts") as advance:
        adapted = encoder.embed(texts, advance)
    before, after = (source_cases.ndcg(embeddings) for embeddings in (frozen, adapted))
    low, high = interval(after - before)
    gain = f"{metrics.mean(after - before):+.4f} ({low:+.4f} to {high:+.4f})"
    figures = f"NDCG@10 {metrics.mean(before):.4f} frozen, {gain} adapted, for {len(before):,} held-out buyers"
    if low <= 0:
        job.report.warn(f"the adapted language model ranks the source no better and is not kept: {figures}")
        return None
    job.report.say(f"the adapted language model is kept: {figures}")
    return adapted


@dataclass(frozen=True)
class SourceCases:
    """Cases of the source: some buyers' last purchases, to be ranked from the texts of their earlier ones."""

    histories: Histories
    cases: Cases
    lists: list[Ints]
    """The other buyers' purchases, on which the language model is trained."""

    @classmethod
    def of(cls, histories: Histories, seed: int) -> SourceCases:
        """The last quarter of the purchases of a random tenth of the buyers, 2,000 at most."""
        source = histories.source_training
        buyers = np.random.default_rng(seed).permutation(np.flatnonzero(source.lengths > 1))
        case_users = np.sort(buyers[: min(max(len(buyers) // 10, 1), MAX_CASES)])
        lengths = source.lengths[case_users]
        given_lengths = lengths - np.maximum(lengths // 4, 1)
        cases = Cases(case_users, given_lengths, source.slice(case_users, given_lengths, lengths))
        others = np.setdiff1d(buyers, case_users)
        lists = np.split(source.take(others).values, np.cumsum(source.lengths[others])[:-1])
        return cls(replace(histories, items=source, train_lengths=source.lengths, scattered=None), cases, lists)

    def ndcg(self, embeddings: Floats) -> metrics.Floats:
        """NDCG@10 of every case among all source items, by the cosine of whitened text embeddings."""
        candidates = np.flatnonzero(self.histories.item_stats.is_source & self.histories.item_stats.trained)
        vectors = np.asarray(unit_rows(Whitening.of(embeddings)(embeddings)))
        text = HistoryFeature("text", vectors, self.histories.item_stats.is_target)

        def scorer(histories: Ragged, tags: Ragged) -> torch.Tensor:
            return torch.from_numpy(products(text.user_vectors(histories, tags), vectors[candidates]))

        ranks = ranked(scorer, self.histories, self.cases, candidates, mask_seen=True)
        return metrics.per_case(ranks, [10])[STOP_ON]
