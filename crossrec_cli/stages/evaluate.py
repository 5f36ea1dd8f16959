"""evaluate: how well the test purchases are found, beside what needs no model."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pyarrow.compute as pc
import torch

from crossrec_cli import runtime
from crossrec_cli.artifacts import tables as t
from crossrec_cli.evaluation import metrics
from crossrec_cli.evaluation.baselines import popularity_scorer
from crossrec_cli.evaluation.calibration import Reliability, pairs
from crossrec_cli.interest.batches import Cases, load_cases
from crossrec_cli.interest.model import InterestModel
from crossrec_cli.ranking.topk import Scorer, interest_scorer, ranked
from crossrec_cli.stages import CALIBRATION, CASES, FINETUNED, METRICS, PER_USER, Job, Summary
from crossrec_cli.stages.load import World, load_model, load_world

CROSSREC = "crossrec"
POPULARITY = "popularity"


def run(job: Job) -> Summary:
    """Rank every target item for every test case, by the model and by popularity."""
    config = job.config
    compute = runtime.prepare(config.runtime, config.seed)
    world = load_world(job.inputs)
    model = load_model(job.inputs, FINETUNED, config.interest).to(compute.device)
    cases = load_cases(t.read_table(job.inputs[CASES]), t.TEST)
    scorers = {
        POPULARITY: popularity_scorer(world.histories, world.target_items),
        CROSSREC: interest_scorer(model, world.target_items),
    }
    scores = {}
    for name, scorer in scorers.items():
        ranks = ranked(scorer, world.histories, cases, world.target_items, config.evaluate.mask_seen)
        scores[name] = metrics.per_case(ranks, config.evaluate.k)
    _write_per_user(job, world, cases, scores)
    return _write_metrics(job, scores) | _write_calibration(job, model, scorers[CROSSREC], world, cases)


def _write_metrics(job: Job, scores: dict[str, dict[str, metrics.Floats]]) -> Summary:
    """One row for each model, metric and k; the same as a summary."""
    flat = {(model, name): values for model, columns in scores.items() for name, values in columns.items()}
    means = {f"{model}_{name}": metrics.mean(values) for (model, name), values in flat.items()}
    columns = {
        t.MODEL: [model for model, _ in flat],
        t.METRIC: [name.partition("@")[0] for _, name in flat],
        t.K: [int(name.partition("@")[2]) for _, name in flat],
        t.VALUE: list(means.values()),
        "cases": [int(np.isfinite(values).sum()) for values in flat.values()],
    }
    t.write_table(job.output(METRICS), t.METRICS, columns)
    return means


def _write_calibration(job: Job, model: InterestModel, scorer: Scorer, world: World, cases: Cases) -> Summary:
    """The reliability table of test, where nothing was fitted, and its one figure."""
    logits, bought = pairs(scorer, world.histories, cases, world.target_items)
    if not len(logits):
        t.write_table(job.output(CALIBRATION), t.CALIBRATION, {name: [] for name in t.CALIBRATION.names})
        return {"expected_calibration_error": None}
    probability = model.calibrated(torch.from_numpy(logits).to(model.device)).cpu().numpy()
    found = Reliability.of(probability, bought)
    t.write_table(job.output(CALIBRATION), t.CALIBRATION, asdict(found))
    return {"expected_calibration_error": found.error}


def _write_per_user(job: Job, world: World, cases: Cases, scores: dict[str, dict[str, metrics.Floats]]) -> None:
    in_target = world.histories.target_lengths(cases.users, cases.history_lengths)
    names = list(next(iter(scores.values())))
    columns: dict[str, object] = {
        t.MODEL: np.repeat(list(scores), cases.count),
        t.USER_ID: pc.take(world.users[t.USER_ID], np.tile(cases.users, len(scores))),
        t.HISTORY_LENGTH: np.tile(cases.history_lengths, len(scores)),
        t.TARGET_HISTORY_LENGTH: np.tile(in_target, len(scores)),
    }
    for name in names:
        columns[name] = np.concatenate([columns_of[name] for columns_of in scores.values()])
    t.write_table(job.output(PER_USER), t.per_user(names), columns)
