"""evaluate: how well the test purchases are found, for whom, and beside what needs no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import CASES
from crossrec_cli.artifacts.job import Job, Summary
from crossrec_cli.config.schema import Evaluate
from crossrec_cli.data.extra_files import read_file
from crossrec_cli.errors import ConfigError, InputError
from crossrec_cli.evaluation import feedback, metrics
from crossrec_cli.evaluation.baselines import BASELINES, Shop, TooLargeError
from crossrec_cli.evaluation.external import LISTS, external_ranks, see_that_they_are_lists
from crossrec_cli.evaluation.feedback import Impressions
from crossrec_cli.evaluation.learner import STOP_ON
from crossrec_cli.evaluation.lists import Catalogue
from crossrec_cli.evaluation.measured import Measured, PerCase, named
from crossrec_cli.evaluation.negatives import NEGATIVES, negatives_of
from crossrec_cli.models.dataset import World, after_validation, load_fused, load_world, training_data
from crossrec_cli.models.histories import Cases, Histories, load_cases
from crossrec_cli.models.ragged import Ragged, numbered
from crossrec_cli.ranking.topk import Listed, Ranks, Sampled, Scorer, ranked
from crossrec_cli.runtime import device

EXTERNAL = "external"


def run(job: Job) -> Summary:
    """Rank every target item for every test case by each model, and measure the rankings."""
    config = job.config
    device.prepare(config.runtime, config.seed)
    world = load_world(job.inputs)
    lists, impressions = _lists(config.evaluate), _impressions(config.evaluate, world)
    _see_that_there_are_enough(job, len(world.target_items))
    fused = load_fused(job.inputs, config.interest)
    cases = {split: load_cases(parquet.read_table(job.inputs[CASES]), split) for split in (c.VALID, c.TEST)}
    asked = drawn(cases[c.TEST], config.evaluate.users, config.split.seed)
    among = _among(job, world, asked)
    before = training_data(job.inputs, world)
    latest = after_validation(job.inputs, before) if config.finetune.refit else before
    shop = Shop(latest, before, world.target_items, cases[c.VALID], config.evaluate.mask_seen, config.seed)
    scorers, settings = _baselines(job, shop)
    scorers[c.CROSSREC] = fused.among(shop.candidates)
    found = _ranked(job, shop, scorers, asked, among)
    if lists is not None:
        found[EXTERNAL] = _external(job, lists, world, asked)
    scores = _scores(job, _catalogue(shop, world), world.histories, asked, found)
    measured = Measured(job, world, asked, cases[c.TEST], found, scores)
    measured.write_per_user()
    measured.write_metrics()
    measured.write_significance()
    measured.write_examples()
    measured.write_feedback(scorers[c.CROSSREC], impressions)
    users = {"evaluated_users": asked.count, "test_users": cases[c.TEST].count}
    return measured.means() | users | {"settings": settings} | measured.write_accuracy(fused)


def drawn(cases: Cases, most: int | None, seed: int) -> Cases:
    """The cases, or so many of them drawn at random where there are more, in their order."""
    if most is None or cases.count <= most:
        return cases
    return cases.of(np.sort(np.random.default_rng(seed).choice(cases.count, most, replace=False)))


def _baselines(job: Job, shop: Shop) -> tuple[dict[str, Scorer], dict[str, float]]:
    """The baselines' scorers, and the settings that validation chose for them."""
    scorers: dict[str, Scorer] = {}
    settings: dict[str, float] = {}

    def quality(scorer: Scorer) -> float:
        ranks = ranked(scorer, shop.histories, shop.valid, shop.candidates, shop.mask_seen)
        return metrics.mean(metrics.per_case(ranks, [10])[STOP_ON])

    names = _different(job.config.evaluate.baselines, shop)
    with job.report.progress("making what it is compared with", len(names), "models") as advance:
        for name in names:
            baseline = BASELINES[name]
            try:
                scorers[name], setting = baseline.tuned(shop, quality)
            except TooLargeError as error:
                job.report.warn(f"{baseline.title} is left out: it needs {error}")
            else:
                if len(baseline.settings) > 1:
                    settings[name] = setting
            advance(1, baseline.title)
    return scorers, settings


def _different(names: Sequence[str], shop: Shop) -> list[str]:
    """The baselines' names, without those that are another one on these data: without tags, or without a source."""
    same = {"ease_target", "ease_weighted"} if "ease" in names and shop.in_target.all() else set()
    if "popularity" in names and not len(shop.histories.tags.values):
        same.add("tag_popularity")
    return [name for name in names if name not in same]


def _among(job: Job, world: World, cases: Cases) -> Sampled | Listed | None:
    """What the true items are ranked among, where that is not all."""
    chosen = job.config.evaluate
    if chosen.candidates:
        return Sampled(chosen.candidates, job.config.seed)
    if not chosen.negatives:
        return None
    key = "evaluate.negatives"
    table, where = read_file(Path(chosen.negatives), key, NEGATIVES), f"{key}: {chosen.negatives}"
    found, unknown = negatives_of(table, world.users, world.items, cases, world.target_items, where)
    if unknown:
        job.report.warn(f"{where}: left out {unknown:,} of {table.num_rows:,} rows, whose items are not in the target")
    return found


def _ranked(
    job: Job, shop: Shop, scorers: Mapping[str, Scorer], cases: Cases, among: Sampled | Listed | None
) -> dict[str, Ranks]:
    chosen = job.config.evaluate
    with job.report.progress("ranking", len(scorers) * cases.count, "users") as advance:
        rank = partial(ranked, k=max(chosen.k), among=among, advance=advance)
        return {
            name: rank(scorer, shop.histories, cases, shop.candidates, chosen.mask_seen)
            for name, scorer in scorers.items()
        }


def _see_that_there_are_enough(job: Job, items: int) -> None:
    """Sampled candidates and lists are of the target's items.

    Raises:
        ConfigError: if there are not so many to sample from.
    """
    chosen = job.config.evaluate
    if chosen.candidates and chosen.candidates >= items:
        raise ConfigError([f"evaluate.candidates: {chosen.candidates:,} of the target's {items:,} items are no sample"])
    if max(chosen.k) > items:
        job.report.warn(f"evaluate.k: a list of {max(chosen.k):,} holds all of the target's {items:,} items")


def _lists(chosen: Evaluate) -> pa.Table | None:
    """Another system's lists, read before anything is computed."""
    if not chosen.external:
        return None
    key = "evaluate.external"
    lists = read_file(Path(chosen.external), key, LISTS)
    see_that_they_are_lists(lists, f"{key}: {chosen.external}")
    return lists


def _impressions(chosen: Evaluate, world: World) -> Impressions | None:
    """What users thought of what they were shown, likewise."""
    if not chosen.feedback:
        return None
    key = "evaluate.feedback"
    table = read_file(Path(chosen.feedback), key, feedback.REQUIRED, feedback.OPTIONAL)
    return Impressions.of(table, world.users, world.items, f"{key}: {chosen.feedback}")


def _external(job: Job, lists: pa.Table, world: World, cases: Cases) -> Ranks:
    chosen, key = job.config.evaluate, f"evaluate.external: {job.config.evaluate.external}"
    items = (world.users, world.items, world.histories, cases, world.target_items)
    ranks = external_ranks(lists, *items, chosen.mask_seen, max(chosen.k))
    listed = (ranks.lists >= 0).any(axis=1)
    if not listed.any():
        raise InputError(f"{key}: none of its {lists.num_rows:,} rows is of a test user and an item to recommend")
    if not listed.all():
        job.report.warn(f"{key}: has lists for {listed.sum():,} of {cases.count:,} test users; the others score 0")
    if not np.isfinite(ranks.rank).any():
        job.report.warn(f"{key}: no list holds what its user bought in the test; they have to be made as of before it")
    return ranks


def _catalogue(shop: Shop, world: World) -> Catalogue:
    """What the tables say of the candidates."""
    training = shop.histories.training
    bought = np.bincount(training.values, minlength=len(shop.in_target))[shop.candidates]
    users = max(int((training.lengths > 0).sum()), 1)
    categories = pc.take(world.items[c.CATEGORY], shop.candidates).combine_chunks().dictionary_encode()
    return Catalogue(
        embeddings=shop.data.embeddings,
        items=shop.candidates,
        buyers=bought / users,
        users=users,
        cold=~shop.histories.domain.trained[shop.candidates],
        category=pc.fill_null(categories.indices, -1).to_numpy().astype(np.int64) + 1,
    )


def _scores(
    job: Job, catalogue: Catalogue, histories: Histories, cases: Cases, found: Mapping[str, Ranks]
) -> dict[str, PerCase]:
    """Every measure of every model's lists for every case."""
    number = numbered(catalogue.items, len(histories.domain.is_target))
    given = histories.items.take(cases.users, cases.history_lengths).renamed(number)
    owned: Ragged = given.where(given.values >= 0)
    scores = {}
    for name, ranks in found.items():
        values = metrics.per_case(ranks, job.config.evaluate.k)
        scores[name] = {named(job, measure): column for measure, column in values.items()}
        for k in job.config.evaluate.k:
            scores[name] |= catalogue.per_list(ranks.lists, owned, k)
    return scores
