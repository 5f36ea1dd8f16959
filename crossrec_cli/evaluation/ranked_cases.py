"""The test cases, among what their items are ranked, and every measure of the rankings."""

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
from crossrec_cli.evaluation.baselines import Shop
from crossrec_cli.evaluation.lists import CandidateFacts
from crossrec_cli.evaluation.measured import PerCase, named
from crossrec_cli.evaluation.negatives import NEGATIVES, negatives_of
from crossrec_cli.models.dataset import Dataset
from crossrec_cli.models.histories import Cases, Histories
from crossrec_cli.models.ragged import Ragged, numbered
from crossrec_cli.ranking.topk import Listed, Ranks, Sampled, ScoreFunction, ranked


def drawn(cases: Cases, most: int | None, seed: int) -> Cases:
    """The cases, or so many of them drawn at random where there are more, in their order."""
    if most is None or cases.count <= most:
        return cases
    return cases.of(np.sort(np.random.default_rng(seed).choice(cases.count, most, replace=False)))


def candidates_of(job: Job, dataset: Dataset, cases: Cases) -> Sampled | Listed | None:
    """What the true items are ranked among, where that is not all."""
    chosen = job.config.evaluate
    if chosen.candidates:
        return Sampled(chosen.candidates, job.config.seed)
    if not chosen.negatives:
        return None
    key = "evaluate.negatives"
    table, where = read_file(Path(chosen.negatives), key, NEGATIVES), f"{key}: {chosen.negatives}"
    found, unknown = negatives_of(table, dataset.users, dataset.items, cases, dataset.target_items, where)
    if unknown:
        job.report.warn(f"{where}: left out {unknown:,} of {table.num_rows:,} rows, whose items are not in the target")
    return found


def rank_all(
    job: Job, shop: Shop, scorers: Mapping[str, ScoreFunction], cases: Cases, among: Sampled | Listed | None
) -> dict[str, Ranks]:
    """The ranks of every model's scorer for every case, by the model's name."""
    chosen = job.config.evaluate
    with job.report.progress("ranking", len(scorers) * cases.count, "users") as advance:
        rank = partial(ranked, k=max(chosen.k), among=among, advance=advance)
        return {
            name: rank(scorer, shop.histories, cases, shop.candidates, chosen.mask_seen)
            for name, scorer in scorers.items()
        }


def check_candidates(job: Job, items: int) -> None:
    """Sampled candidates and lists are of the target's items.

    Raises:
        ConfigError: if there are not so many to sample from.
    """
    chosen = job.config.evaluate
    if chosen.candidates and chosen.candidates >= items:
        raise ConfigError([f"evaluate.candidates: {chosen.candidates:,} of the target's {items:,} items are no sample"])
    if max(chosen.k) > items:
        job.report.warn(f"evaluate.k: a list of {max(chosen.k):,} holds all of the target's {items:,} items")


def catalogue_of(shop: Shop, dataset: Dataset) -> CandidateFacts:
    """What the tables say of the candidates."""
    training = shop.histories.training
    bought = np.bincount(training.values, minlength=len(shop.in_target))[shop.candidates]
    users = max(int((training.lengths > 0).sum()), 1)
    categories = pc.take(dataset.items[c.CATEGORY], shop.candidates).combine_chunks().dictionary_encode()
    return CandidateFacts(
        embeddings=shop.data.embeddings,
        items=shop.candidates,
        buyers=bought / users,
        users=users,
        cold=~shop.histories.item_stats.trained[shop.candidates],
        category=pc.fill_null(categories.indices, -1).to_numpy().astype(np.int64) + 1,
    )


def measure_all(
    job: Job, catalogue: CandidateFacts, histories: Histories, cases: Cases, found: Mapping[str, Ranks]
) -> dict[str, PerCase]:
    """Every measure of every model's lists for every case."""
    number = numbered(catalogue.items, len(histories.item_stats.is_target))
    given = histories.items.take(cases.users, cases.history_lengths).renamed(number)
    owned: Ragged = given.where(given.values >= 0)
    scores = {}
    for name, ranks in found.items():
        values = metrics.per_case(ranks, job.config.evaluate.k)
        scores[name] = {named(job, measure): column for measure, column in values.items()}
        for k in job.config.evaluate.k:
            scores[name] |= catalogue.per_list(ranks.lists, owned, k)
    return scores
