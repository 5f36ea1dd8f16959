"""Controls of transfer: models without the source, the texts or training, and their scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.checkpoint import Checkpoint
from crossrec_cli.artifacts.files import CASES, TAG_NAMES
from crossrec_cli.artifacts.job import Job, Summary
from crossrec_cli.evaluation import metrics
from crossrec_cli.evaluation.segments import ALL
from crossrec_cli.evaluation.significance import interval
from crossrec_cli.evaluation.validation import scores as scores_of
from crossrec_cli.models.base import TrainingData
from crossrec_cli.models.dataset import after_validation, load_dataset, target_of, texts_of, training_data
from crossrec_cli.models.histories import Cases, load_cases
from crossrec_cli.models.learner import Learner, with_user_encoder
from crossrec_cli.models.neural import neural_scorer
from crossrec_cli.models.neural.tower import InterestModel
from crossrec_cli.models.ragged import Ints
from crossrec_cli.runtime import device
from crossrec_cli.runtime.interrupts import defer_interrupts
from crossrec_cli.text import cache
from crossrec_cli.text.encoders import open_encoder, was_adapted

Floats = npt.NDArray[np.float32]
HR, NDCG = metrics.name("hr", 10), metrics.name("ndcg", 10)


AS_ENCODED, FROZEN, NONE = "as they were read", "as the language model came", "none"
"""Which text embeddings a control uses."""


@dataclass(frozen=True)
class Control:
    """One variant of learning."""

    name: str
    sees_source: bool = True
    texts: str = AS_ENCODED
    trains: bool = True

    def data_for(self, data: TrainingData, embeddings: Floats) -> TrainingData:
        """The data that it may learn from."""
        data = replace(data, embeddings=embeddings)
        if self.texts == NONE:
            texts = pa.nulls(data.items.num_rows, pa.string())
            data = replace(data, items=data.items.set_column(data.items.column_names.index(c.TEXT), c.TEXT, texts))
        if self.sees_source:
            return data
        histories = data.histories
        times = None if data.times is None else data.times[data.is_target[histories.items.values]]
        return replace(data, histories=histories.of_target(), times=times)


SCRATCH = Control("target alone", sees_source=False)
CROSSREC = Control("crossrec")
CONTROLS = (
    SCRATCH,
    Control("without texts", texts=NONE),
    Control("without training", trains=False),
    Control("frozen texts", texts=FROZEN),
    CROSSREC,
)
"""``FROZEN`` is run only where an adapted language model was kept; otherwise it equals ``AS_ENCODED``."""


@dataclass(frozen=True)
class ControlData:
    """The data of all controls, and the cases to evaluate."""

    data: TrainingData
    latest: TrainingData
    """With the held-out purchases of validation."""
    valid: Cases
    test: Cases
    embeddings: Mapping[str, Floats]
    """Embeddings of the items' texts, float32 (items, width), by the ``texts`` of controls."""
    tags: int

    @classmethod
    def of(cls, job: Job, compute: device.Compute) -> ControlData:
        """Read all of it."""
        cases = parquet.read_table(job.inputs[CASES])
        data = training_data(job.inputs, load_dataset(job.inputs))
        latest = after_validation(job.inputs, data)
        valid, test = (load_cases(cases, split) for split in (c.VALID, c.TEST))
        tags = parquet.read_table(job.inputs[TAG_NAMES]).num_rows
        return cls(data, latest, valid, test, _read_texts(job, data, compute), tags)

    def for_control(self, control: Control) -> ControlData:
        """The part of it that a control may see."""
        data, latest = (control.data_for(full, self.embeddings[control.texts]) for full in (self.data, self.latest))
        valid, test = self.valid, self.test
        if not control.sees_source:
            valid, test = (self.data.histories.in_target(cases) for cases in (valid, test))
        return replace(self, data=data, latest=latest, valid=valid, test=test)


Scores = dict[Control, dict[str, list[metrics.Floats]]]
"""For each control and metric, every seed's value for every case."""


def _read_texts(job: Job, data: TrainingData, compute: device.Compute) -> dict[str, Floats]:
    """The text embeddings by ``texts`` of controls; ``FROZEN`` only where the language model was adapted."""
    config, encoded = job.config, data.embeddings
    embeddings = {AS_ENCODED: encoded, NONE: np.zeros_like(encoded)}
    if was_adapted(job.inputs):
        texts = texts_of(data.items)
        encoder = open_encoder(config.encoder, texts, compute, job.report)
        embeddings[FROZEN] = cache.embed(encoder, texts, config.run_path / "embeddings", job.report)
    return embeddings


def train_once(control: Control, learner: Learner, control_data: ControlData) -> dict[str, metrics.Floats]:
    """HR and NDCG from ``train``, or those that an interrupted earlier run saved."""
    path = learner.checkpoint
    kept = Checkpoint(path, learner.config.runtime.checkpoint_every)
    if saved := kept.load():
        return {name: values.numpy() for name, values in saved[0].items()}
    scores = train(control, learner, control_data.for_control(control))
    main_scores = {name: scores[name] for name in (HR, NDCG)}
    with defer_interrupts():
        kept.save({name: torch.from_numpy(values) for name, values in main_scores.items()}, {})
        for state in path.parent.glob(f"{path.stem}-*"):  # checkpoints of its trainings
            state.unlink()
    return main_scores


def train(control: Control, learner: Learner, control_data: ControlData) -> dict[str, metrics.Floats]:
    """Train and fuse one control; returns its metrics for each test case.

    A control without the source trains on the target for as many epochs as the others on both.
    """
    data, histories = control_data.data, control_data.data.histories
    learner = replace(learner, config=with_user_encoder(learner.config, data, control_data.valid, learner.seed))
    config = learner.config
    device.prepare(config.runtime, learner.seed)
    model = None
    if control.trains and neural_scorer.NAME in config.interest.scorers:
        model = InterestModel(config.interest, data.texts, histories.item_stats, control_data.tags).to(
            learner.compute.device
        )
        learner.from_both(model, histories)
    fused, _ = learner.fused(model, data, control_data.valid)
    if config.finetune.refit:
        fused = learner.refitted(fused, model, control_data.latest)
    return scores_of(
        fused.candidate_scorer(target_of(histories)), histories, control_data.test, config.evaluate.mask_seen
    )


def row(control: Control, segment: str, in_segment: Ints, scores: Scores) -> dict[str, Any]:
    """One line of ``schemas.TRANSFER``: means over seeds, and the gain over the target alone, user by user."""
    hr, ndcg = (np.mean(scores[control][name], axis=0)[in_segment] for name in (HR, NDCG))
    gain = ndcg - np.mean(scores[SCRATCH][NDCG], axis=0)[in_segment]
    low, high = interval(gain)
    return {
        c.SEGMENT: segment,
        c.CONTROL: control.name,
        HR: metrics.mean(hr),
        NDCG: metrics.mean(ndcg),
        c.GAIN: metrics.mean(gain),
        c.GAIN_LOW: low,
        c.GAIN_HIGH: high,
        c.N: int(np.isfinite(ndcg).sum()),
        c.SEEDS: len(scores[control][NDCG]),
    }


def summary(rows: list[dict[str, Any]]) -> Summary:
    """Crossrec's own row, and the segments in which it is worse than the target alone."""
    crossrec_rows = {line[c.SEGMENT]: line for line in rows if line[c.CONTROL] == CROSSREC.name}
    overall = crossrec_rows[ALL]
    negative = [segment for segment, line in crossrec_rows.items() if line[c.GAIN_HIGH] < 0]
    gain = {name: overall[name] for name in (c.GAIN, c.GAIN_LOW, c.GAIN_HIGH)}
    return {NDCG: overall[NDCG], HR: overall[HR], **gain, "negative_transfer": negative}
