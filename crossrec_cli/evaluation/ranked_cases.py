"""Ranking the test cases: their candidates, the rankings, and every measure of these."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts.job import Job
from crossrec_cli.data.extra_files import read_file
from crossrec_cli.errors import ConfigError
from crossrec_cli.evaluation import metrics
from crossrec_cli.evaluation.baselines import BaselineInputs
from crossrec_cli.evaluation.lists import CandidateFacts
from crossrec_cli.evaluation.measured import PerCase, measure_name
from crossrec_cli.evaluation.negatives import NEGATIVES, negatives_of
from crossrec_cli.models.dataset import Dataset
from crossrec_cli.models.histories import Cases, Histories
from crossrec_cli.models.ragged import Ragged, numbered
from crossrec_cli.ranking.topk import Listed, Ranks, Sampled, ScoreFunction, ranked


def candidates_of(job: Job, dataset: Dataset, cases: Cases) -> Sampled | Listed | None:
    """The candidates that the true items are ranked among; None: all."""
    chosen = job.config.evaluate
    if chosen.candidates:
        return Sampled(chosen.candidates, job.config.seed)
    if not chosen.negatives:
        return None
    key = "evaluate.negatives"
    table, source = read_file(Path(chosen.negatives), key, NEGATIVES), f"{key}: {chosen.negatives}"
    candidates, unknown = negatives_of(table, dataset.users, dataset.items, cases, dataset.target_items, source)
    if unknown:
        job.report.warn(f"{source}: removed {unknown:,} of {table.num_rows:,} rows, whose items are not in the target")
    return candidates


def rank_all(
    job: Job, inputs: BaselineInputs, scorers: Mapping[str, ScoreFunction], cases: Cases, among: Sampled | Listed | None
) -> dict[str, Ranks]:
    """The ranks of every model's scorer for every case, by the model's name; in a job the leader's alone are of use."""
    chosen = job.config.evaluate
    with job.report.progress("ranking", len(scorers) * cases.count, "users") as advance:
        rank = partial(ranked, k=max(chosen.k), among=among, advance=advance, shared=True)
        return {
            name: rank(scorer, inputs.histories, cases, inputs.candidates, chosen.mask_seen)
            for name, scorer in scorers.items()
        }


def check_candidates(job: Job, items: int) -> None:
    """Check that the target has enough items for sampled candidates and lists.

    Raises:
        ConfigError: if there are too few items to sample from.
    """
    chosen = job.config.evaluate
    if chosen.candidates and chosen.candidates >= items:
        raise ConfigError([f"evaluate.candidates: {chosen.candidates:,} of the target's {items:,} items are no sample"])
    if max(chosen.k) > items:
        job.report.warn(f"evaluate.k: a list of {max(chosen.k):,} holds all of the target's {items:,} items")


def catalogue_of(inputs: BaselineInputs, dataset: Dataset) -> CandidateFacts:
    """Facts about the candidates, from the tables."""
    training = inputs.histories.training
    bought = np.bincount(training.values, minlength=len(inputs.in_target))[inputs.candidates]
    users = max(int((training.lengths > 0).sum()), 1)
    categories = pc.take(dataset.items[c.CATEGORY], inputs.candidates).combine_chunks().dictionary_encode()
    return CandidateFacts(
        embeddings=inputs.data.embeddings,
        items=inputs.candidates,
        buyers=bought / users,
        users=users,
        cold=~inputs.histories.item_stats.trained[inputs.candidates],
        category=pc.fill_null(categories.indices, -1).to_numpy().astype(np.int64) + 1,
    )


def measure_all(
    job: Job, catalogue: CandidateFacts, histories: Histories, cases: Cases, ranks_by_model: Mapping[str, Ranks]
) -> dict[str, PerCase]:
    """Every measure of every model's lists for every case."""
    number = numbered(catalogue.items, len(histories.item_stats.is_target))
    histories_given = histories.items.take(cases.users, cases.history_lengths).renamed(number)
    owned: Ragged = histories_given.where((histories_given.values >= 0) & histories_given.liked)
    scores = {}
    for name, ranks in ranks_by_model.items():
        values = metrics.per_case(ranks, job.config.evaluate.k)
        scores[name] = {measure_name(job, measure): column for measure, column in values.items()}
        for k in job.config.evaluate.k:
            scores[name] |= catalogue.per_list(ranks.lists, owned, k)
    return scores
