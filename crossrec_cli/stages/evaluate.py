"""evaluate: how well the test purchases are found, for whom, and beside what needs no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from crossrec_cli import runtime
from crossrec_cli.artifacts import tables as t
from crossrec_cli.evaluation import feedback, metrics
from crossrec_cli.evaluation.baselines import BASELINES, Shop, TooLargeError
from crossrec_cli.evaluation.calibration import Accuracy, Reliability, pairs
from crossrec_cli.evaluation.external import LISTS, external_ranks
from crossrec_cli.evaluation.feedback import Impressions, Judgement
from crossrec_cli.evaluation.lists import Catalogue, coverage
from crossrec_cli.evaluation.segments import ALL, described, described_users, segments
from crossrec_cli.evaluation.significance import Difference, holm, intervals
from crossrec_cli.interest.batches import Bools, Cases, Histories, Ints, Ragged, load_cases
from crossrec_cli.interest.model import InterestModel, Items
from crossrec_cli.ranking.topk import Ranks, Sampled, Scorer, interest_scorer, ranked
from crossrec_cli.stages import (
    ACCURACY,
    CALIBRATION,
    CASES,
    EXAMPLES,
    FEEDBACK,
    FINETUNED,
    METRICS,
    PER_USER,
    SIGNIFICANCE,
    Job,
    Summary,
)
from crossrec_cli.stages.files import read_file
from crossrec_cli.stages.learn import STOP_ON
from crossrec_cli.stages.load import World, load_embeddings, load_model, load_world

CROSSREC = "crossrec"
EXTERNAL = "external"
EXAMPLES_SHOWN, PLACES_SHOWN = 10, 10
DECIDING = ("hr", "ndcg")
"""The metrics in which models are compared, and which the summary has."""

PerCase = dict[str, metrics.Floats]
"""Each measure's value for every case, by names such as ``ndcg@10``."""


def run(job: Job) -> Summary:
    """Rank every target item for every test case by each model, and measure the rankings."""
    config = job.config
    compute = runtime.prepare(config.runtime, config.seed)
    world = load_world(job.inputs)
    model = load_model(job.inputs, FINETUNED, config.interest).to(compute.device)
    known = model.tower.known()
    model.tower.release()
    cases = {split: load_cases(t.read_table(job.inputs[CASES]), split) for split in (t.VALID, t.TEST)}
    shop = Shop(world.histories, world.target_items, load_embeddings(job.inputs), config.seed)
    scorers, settings = _baselines(job, shop, cases[t.VALID])
    scorers[CROSSREC] = interest_scorer(model, shop.candidates, known)
    found = _ranked(job, shop, scorers, cases[t.TEST])
    if config.evaluate.external:
        found[EXTERNAL] = _external(job, world, cases[t.TEST])
    scores = _scores(job, _catalogue(shop, world), world.histories, cases[t.TEST], found)
    _write_per_user(job, world, cases[t.TEST], scores)
    _write_metrics(job, _parts(world, cases[t.TEST]), scores, found, len(shop.candidates))
    _write_significance(job, scores)
    _write_examples(job, world, cases[t.TEST], found[CROSSREC].lists)
    _write_feedback(job, world, scorers[CROSSREC], cases[t.TEST])
    told = {
        f"{name}_{measure}": metrics.mean(values[measure])
        for name, values in scores.items()
        for measure in _deciding(job)
    }
    return told | {"settings": settings} | _write_accuracy(job, model, known, world, cases[t.TEST])


def _baselines(job: Job, shop: Shop, valid: Cases) -> tuple[dict[str, Scorer], dict[str, float]]:
    """The baselines' scorers, and the settings that validation chose for them."""
    scorers: dict[str, Scorer] = {}
    settings: dict[str, float] = {}

    def quality(scorer: Scorer) -> float:
        ranks = ranked(scorer, shop.histories, valid, shop.candidates, job.config.evaluate.mask_seen)
        return metrics.mean(metrics.per_case(ranks, [10])[STOP_ON])

    for name in job.config.evaluate.baselines:
        baseline = BASELINES[name]
        try:
            scorers[name], setting = baseline.tuned(shop, quality)
        except TooLargeError as error:
            job.report.warn(f"{baseline.title} is left out: it needs {error}")
            continue
        if len(baseline.settings) > 1:
            settings[name] = setting
        job.report.log(f"{baseline.title} is ready")
    return scorers, settings


def _ranked(job: Job, shop: Shop, scorers: Mapping[str, Scorer], cases: Cases) -> dict[str, Ranks]:
    chosen = job.config.evaluate
    sampled = Sampled(chosen.candidates, job.config.seed) if chosen.candidates else None
    with job.report.progress("ranking", len(scorers) * cases.count, "users") as advance:
        rank = partial(ranked, k=max(chosen.k), sampled=sampled, advance=advance)
        return {
            name: rank(scorer, shop.histories, cases, shop.candidates, chosen.mask_seen)
            for name, scorer in scorers.items()
        }


def _external(job: Job, world: World, cases: Cases) -> Ranks:
    chosen = job.config.evaluate
    lists = read_file(Path(chosen.external or ""), "evaluate.external", LISTS)
    items = (world.users, world.items, world.histories, cases, world.target_items)
    return external_ranks(lists, *items, chosen.mask_seen, max(chosen.k))


def _catalogue(shop: Shop, world: World) -> Catalogue:
    """What the tables say of the candidates."""
    training = shop.histories.training
    bought = np.bincount(training.values, minlength=len(shop.in_target))[shop.candidates]
    users = max(int((training.lengths > 0).sum()), 1)
    categories = pc.take(world.items[t.CATEGORY], shop.candidates).combine_chunks().dictionary_encode()
    return Catalogue(
        embeddings=shop.embeddings,
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
    number = np.full(len(histories.domain.is_target), -1)
    number[histories.domain.is_target] = np.arange(int(histories.domain.is_target.sum()))
    given = histories.items.take(cases.users, cases.history_lengths).renamed(number)
    owned: Ragged = given.where(given.values >= 0)
    scores = {}
    for name, ranks in found.items():
        values = metrics.per_case(ranks, job.config.evaluate.k)
        scores[name] = {_named(job, measure): column for measure, column in values.items()}
        for k in job.config.evaluate.k:
            scores[name] |= catalogue.per_list(ranks.lists, owned, k)
    return scores


def _named(job: Job, measure: str) -> str:
    """A ranking metric's name says so where the items it ranks are sampled."""
    metric, k = measure.split("@")
    sampled = job.config.evaluate.candidates
    return f"{metric}_among_{sampled}@{k}" if sampled else measure


def _deciding(job: Job) -> list[str]:
    return [_named(job, metrics.name(metric, k)) for k in job.config.evaluate.k for metric in DECIDING]


def _parts(world: World, cases: Cases) -> dict[str, Bools]:
    return segments(world.histories, cases) | described(world.items, world.users, cases)


def _write_metrics(
    job: Job, parts: Mapping[str, Bools], scores: Mapping[str, PerCase], found: Mapping[str, Ranks], candidates: int
) -> None:
    """One row for each model, segment and measure; coverage is of all cases together."""
    flat = [(model, measure) for model, values in scores.items() for measure in values]
    table = np.column_stack([scores[model][measure] for model, measure in flat])
    rows = []
    for segment, chosen in parts.items():
        part = table[chosen]
        for (model, measure), column, low, high in zip(flat, part.T, *intervals(part), strict=True):
            rows.append(
                (model, segment, *measure.split("@"), metrics.mean(column), low, high, np.isfinite(column).sum())
            )
    for model, ranks in found.items():
        for k in job.config.evaluate.k:
            rows.append((model, ALL, "coverage", k, coverage(ranks.lists, k, candidates), None, None, ranks.cases))
    columns = dict(zip(t.METRICS.names, map(list, zip(*rows, strict=True)), strict=True))
    columns[t.K] = [int(k) for k in columns[t.K]]
    t.write_table(job.output(METRICS), t.METRICS, columns)


def _write_significance(job: Job, scores: Mapping[str, PerCase]) -> None:
    """Crossrec beside every other model, in the deciding measures."""
    others = [name for name in scores if name != CROSSREC]
    rows = []
    for measure in _deciding(job):
        found = [Difference.of(scores[CROSSREC][measure], scores[name][measure]) for name in others]
        raised = holm(np.array([difference.p for difference in found]))
        for name, one, p in zip(others, found, raised, strict=True):
            rows.append((name, *measure.split("@"), one.mean, one.low, one.high, one.p, p, one.users))
    columns = {name: [row[place] for row in rows] for place, name in enumerate(t.SIGNIFICANCE.names)}
    columns[t.K] = [int(k) for k in columns[t.K]]
    t.write_table(job.output(SIGNIFICANCE), t.SIGNIFICANCE, columns)


def _write_feedback(job: Job, world: World, scorer: Scorer, cases: Cases) -> None:
    """What users would think of crossrec's lists, made from what they had done before the test."""
    chosen, rows = job.config.evaluate, list[Judgement]()
    if chosen.feedback:
        key = "evaluate.feedback"
        table = read_file(Path(chosen.feedback), key, feedback.REQUIRED, feedback.OPTIONAL)
        found = Impressions.of(table, world.users, world.items, f"{key}: {chosen.feedback}")
        users, row = np.unique(found.user, return_inverse=True)
        lengths = world.histories.train_lengths.copy()
        lengths[cases.users] = cases.history_lengths
        nothing = Cases(users, lengths[users], Ragged.of([[]] * len(users)))
        ranks = ranked(
            scorer, world.histories, nothing, world.target_items, mask_seen=chosen.mask_seen, k=max(chosen.k)
        )
        lists = np.where(ranks.lists < 0, -2, world.target_items[ranks.lists])
        in_target = world.histories.target_lengths(found.user, lengths[found.user])
        parts = {ALL: np.ones(len(row), bool), "cold user": in_target == 0, "warm": in_target > 0}
        parts |= described_users(world.users, found.user)
        rows = found.judged({k: (lists[row, :k] == found.item[:, None]).any(axis=1) for k in chosen.k}, parts)
    columns = {name: [row[number] for row in rows] for number, name in enumerate(t.FEEDBACK.names)}
    t.write_table(job.output(FEEDBACK), t.FEEDBACK, columns)


def _write_examples(job: Job, world: World, cases: Cases, lists: Ints) -> None:
    """Test users drawn at random, each with the newest of the history and the best of the list."""
    some = np.sort(np.random.default_rng(job.config.seed).permutation(cases.count)[:EXAMPLES_SHOWN])
    rows = []
    for case in some:
        user, truth = cases.users[case], cases.truth.take(np.array([case])).values
        history = world.histories.items.take(np.array([user]), cases.history_lengths[[case]]).values[::-1]
        shown = world.target_items[lists[case][lists[case] >= 0]]
        for kind, items in (("history", history), ("list", shown)):
            for place, item in enumerate(items[:PLACES_SHOWN].tolist(), 1):
                facts = (world.items[name][item].as_py() for name in (t.TEXT, t.DOMAIN))
                rows.append((world.users[t.USER_ID][int(user)].as_py(), kind, place, *facts, item in truth))
    columns = {name: [row[number] for row in rows] for number, name in enumerate(t.EXAMPLES.names)}
    t.write_table(job.output(EXAMPLES), t.EXAMPLES, columns)


def _write_accuracy(job: Job, model: InterestModel, known: Items, world: World, cases: Cases) -> Summary:
    """How good the interest score is by itself, in the target and in the source; the target's reliability table."""
    asked = {t.TARGET: (cases, world.target_items), t.SOURCE: _source_cases(world, job.config.seed)}
    rows: dict[str, dict[str, Any]] = {}
    bins: dict[str, Any] = {name: [] for name in t.CALIBRATION.names}
    for domain, (some, candidates) in asked.items():
        logits, bought = pairs(interest_scorer(model, candidates, known), world.histories, some, candidates)
        if not 0 < bought.sum() < len(bought):
            continue
        probability = model.calibrated(torch.from_numpy(logits).to(model.device)).cpu().numpy()
        rows[domain] = asdict(Accuracy.of(probability, bought))
        if domain == t.TARGET:
            bins = asdict(Reliability.of(probability, bought))
    t.write_table(job.output(CALIBRATION), t.CALIBRATION, bins)
    columns = {name: [row[name] for row in rows.values()] for name in t.ACCURACY.names[1:]}
    t.write_table(job.output(ACCURACY), t.ACCURACY, {t.DOMAIN: list(rows)} | columns)
    return {name: rows.get(t.TARGET, {}).get(name) for name in ("expected_calibration_error", "auc")}


def _source_cases(world: World, seed: int) -> tuple[Cases, Ints]:
    """What was held out of the source: each user's purchases there after what trains, among a sample of its items.

    The sample is as large as the target, so that as many users can be looked at.
    """
    histories, domain = world.histories, world.histories.domain
    pool = np.flatnonzero(~domain.is_target & domain.trained)
    size = min(len(pool), len(world.target_items))
    candidates = np.sort(np.random.default_rng(seed).choice(pool, size, replace=False))
    chosen = np.zeros(len(domain.is_target), bool)
    chosen[candidates] = True
    everybody = np.arange(histories.users)
    later = histories.items.slice(everybody, histories.train_lengths, histories.items.lengths)
    wanted = later.where(chosen[later.values])
    users = np.flatnonzero(later.lengths)
    return Cases(users, histories.train_lengths[users], wanted.take(users)), candidates


def _write_per_user(job: Job, world: World, cases: Cases, scores: Mapping[str, PerCase]) -> None:
    in_target = world.histories.target_lengths(cases.users, cases.history_lengths)
    names = list(next(iter(scores.values())))
    columns: dict[str, object] = {
        t.MODEL: pa.array(np.repeat(list(scores), cases.count), pa.string()),
        t.USER_ID: pc.take(world.users[t.USER_ID], np.tile(cases.users, len(scores))),
        t.HISTORY_LENGTH: np.tile(cases.history_lengths, len(scores)),
        t.TARGET_HISTORY_LENGTH: np.tile(in_target, len(scores)),
    }
    for name in names:
        columns[name] = np.concatenate([values[name] for values in scores.values()])
    t.write_table(job.output(PER_USER), t.per_user(names), columns)
