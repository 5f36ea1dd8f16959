"""Controls of transfer: what is learned without the source, the texts or training, and what each is worth."""

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
from crossrec_cli.artifacts.files import CASES, LANGUAGE_MODEL, TAG_NAMES
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
from crossrec_cli.models.ragged import Bools
from crossrec_cli.runtime import device
from crossrec_cli.runtime.interrupts import defer_interrupts
from crossrec_cli.text import cache
from crossrec_cli.text.encode import TextEncoder
from crossrec_cli.text.find import locate

Floats = npt.NDArray[np.float32]
HR, NDCG = metrics.name("hr", 10), metrics.name("ndcg", 10)


READ, FROZEN, NONE = "as they were read", "as the language model came", "none"
"""What an item's text is to a control."""


@dataclass(frozen=True)
class Control:
    """One way to learn."""

    name: str
    sees_source: bool = True
    texts: str = READ
    trains: bool = True

    def part_of(self, data: TrainingData, embeddings: Floats) -> TrainingData:
        """What it may learn from."""
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
"""``FROZEN`` is there only where an adapted language model was kept: else it is ``READ``."""


@dataclass(frozen=True)
class ControlData:
    """What may be learned from, and what is asked."""

    data: TrainingData
    latest: TrainingData
    """With what validation held back."""
    valid: Cases
    test: Cases
    embeddings: Mapping[str, Floats]
    """Of the items' texts, float32 (items, width), for each way that a control may see them."""
    tags: int

    @classmethod
    def of(cls, job: Job, compute: device.Compute) -> ControlData:
        """All of it."""
        cases = parquet.read_table(job.inputs[CASES])
        data = training_data(job.inputs, load_dataset(job.inputs))
        latest = after_validation(job.inputs, data)
        valid, test = (load_cases(cases, split) for split in (c.VALID, c.TEST))
        tags = parquet.read_table(job.inputs[TAG_NAMES]).num_rows
        return cls(data, latest, valid, test, _read_texts(job, data, compute), tags)

    def for_control(self, control: Control) -> ControlData:
        """The part of it that a control may see."""
        data, latest = (control.part_of(one, self.embeddings[control.texts]) for one in (self.data, self.latest))
        valid, test = self.valid, self.test
        if not control.sees_source:
            valid, test = (self.data.histories.in_target(cases) for cases in (valid, test))
        return replace(self, data=data, latest=latest, valid=valid, test=test)


Scores = dict[Control, dict[str, list[metrics.Floats]]]
"""For each control and metric, every seed's value for every case."""


def _read_texts(job: Job, data: TrainingData, compute: device.Compute) -> dict[str, Floats]:
    """The texts' embeddings, and where these are an adapted language model's, those of the one that it came from."""
    config, read = job.config, data.embeddings
    found = {READ: read, NONE: np.zeros_like(read)}
    if LANGUAGE_MODEL in job.inputs:
        encoder = TextEncoder(locate(config.encoder), config.encoder, compute)
        found[FROZEN] = cache.embed(encoder, texts_of(data.items), config.run_path / "embeddings", job.report)
    return found


def train_once(control: Control, learner: Learner, problem: ControlData) -> dict[str, metrics.Floats]:
    """HR and NDCG as ``train`` finds them, or as it found them in an earlier run that did not come to its end."""
    path = learner.checkpoint
    kept = Checkpoint(path, learner.config.runtime.checkpoint_every)
    if saved := kept.load():
        return {name: values.numpy() for name, values in saved[0].items()}
    found = train(control, learner, problem.for_control(control))
    chosen = {name: found[name] for name in (HR, NDCG)}
    with defer_interrupts():
        kept.save({name: torch.from_numpy(values) for name, values in chosen.items()}, {})
        for state in path.parent.glob(f"{path.stem}-*"):  # of its trainings, which are needed no more
            state.unlink()
    return chosen


def train(control: Control, learner: Learner, problem: ControlData) -> dict[str, metrics.Floats]:
    """Train and fuse one control; what it scores in each test case.

    Who does not see the source may learn from the target for as many epochs as the others from both.
    """
    data, histories = problem.data, problem.data.histories
    learner = replace(learner, config=with_user_encoder(learner.config, data, problem.valid))
    config = learner.config
    device.prepare(config.runtime, learner.seed)
    model = None
    if control.trains and neural_scorer.NAME in config.interest.scorers:
        model = InterestModel(config.interest, data.texts, histories.item_stats, problem.tags).to(
            learner.compute.device
        )
        learner.from_both(model, histories)
    fused, _ = learner.fused(model, data, problem.valid)
    if config.finetune.refit:
        fused = learner.refitted(fused, model, problem.latest)
    return scores_of(fused.candidate_scorer(target_of(histories)), histories, problem.test, config.evaluate.mask_seen)


def row(control: Control, segment: str, chosen: Bools, scores: Scores) -> dict[str, Any]:
    """One line of ``schemas.TRANSFER``: means over seeds, and the gain over the target alone, user by user."""
    hr, ndcg = (np.mean(scores[control][name], axis=0)[chosen] for name in (HR, NDCG))
    gain = ndcg - np.mean(scores[SCRATCH][NDCG], axis=0)[chosen]
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
    """The line of crossrec itself, and where it loses to the target alone."""
    ours = {found[c.SEGMENT]: found for found in rows if found[c.CONTROL] == CROSSREC.name}
    whole = ours[ALL]
    negative = [segment for segment, found in ours.items() if found[c.GAIN_HIGH] < 0]
    gain = {name: whole[name] for name in (c.GAIN, c.GAIN_LOW, c.GAIN_HIGH)}
    return {NDCG: whole[NDCG], HR: whole[HR], **gain, "negative_transfer": negative}
