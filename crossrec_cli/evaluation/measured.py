"""What evaluate measured, as its tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import expit

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet, schemas
from crossrec_cli.artifacts.files import ACCURACY, CALIBRATION, EXAMPLES, FEEDBACK, METRICS, PER_USER, SIGNIFICANCE
from crossrec_cli.artifacts.job import Job, Summary
from crossrec_cli.config.schema import MOST_EXAMPLES
from crossrec_cli.evaluation import metrics
from crossrec_cli.evaluation.calibration import Accuracy, Reliability, pairs
from crossrec_cli.evaluation.feedback import Impressions, Judgement
from crossrec_cli.evaluation.lists import coverage
from crossrec_cli.evaluation.segments import ALL, described, described_users, segments
from crossrec_cli.evaluation.significance import differences, intervals
from crossrec_cli.models.dataset import Dataset
from crossrec_cli.models.fused import FusedModel
from crossrec_cli.models.histories import Cases
from crossrec_cli.models.ragged import Ints, Ragged
from crossrec_cli.ranking.topk import Ranks, ScoreFunction, ranked

PLACES_SHOWN = 10
DECIDING = ("hr", "ndcg")
"""The metrics in which models are compared, and which the summary has."""

PerCase = dict[str, metrics.Floats]
"""Each measure's value for every case, by names such as ``ndcg@10``."""


def named(job: Job, measure: str) -> str:
    """A ranking metric's name says so where the items it ranks are sampled, or given in a file."""
    metric, k = measure.split("@")
    chosen = job.config.evaluate
    among = "given" if chosen.negatives else chosen.candidates
    return f"{metric}_among_{among}@{k}" if among else measure


@dataclass(frozen=True)
class Measured:
    """Every model's rankings of the test, and their measures."""

    job: Job
    dataset: Dataset
    cases: Cases
    """Those that were ranked."""
    tested: Cases
    """All there are, of which those may be a sample."""
    ranks: Mapping[str, Ranks]
    """By model."""
    scores: Mapping[str, PerCase]
    """By model."""

    @property
    def deciding(self) -> list[str]:
        """The measures in which models are compared."""
        ks = self.job.config.evaluate.k
        return [named(self.job, metrics.name(metric, k)) for k in ks for metric in DECIDING]

    def means(self) -> Summary:
        """Every model's deciding measures."""
        return {
            f"{model}_{measure}": metrics.mean(values[measure])
            for model, values in self.scores.items()
            for measure in self.deciding
        }

    def write_per_user(self) -> None:
        """One row for each model and case."""
        cases, models = self.cases, list(self.scores)
        in_target = self.dataset.histories.target_lengths(cases.users, cases.history_lengths)
        names = list(self.scores[c.CROSSREC])
        columns: dict[str, object] = {
            c.MODEL: pa.array(np.repeat(models, cases.count), pa.string()),
            c.USER_ID: pc.take(self.dataset.users[c.USER_ID], np.tile(cases.users, len(models))),
            c.HISTORY_LENGTH: np.tile(cases.history_lengths, len(models)),
            c.TARGET_HISTORY_LENGTH: np.tile(in_target, len(models)),
        }
        for name in names:
            columns[name] = np.concatenate([values[name] for values in self.scores.values()])
        parquet.write_table(self.job.output(PER_USER), schemas.per_user(names), columns)

    def write_metrics(self) -> None:
        """One row for each model, segment and measure; coverage is of all cases together."""
        flat = [(model, measure) for model, values in self.scores.items() for measure in values]
        table = np.column_stack([self.scores[model][measure] for model, measure in flat])
        parts = segments(self.dataset.histories, self.cases)
        parts |= described(self.dataset.items, self.dataset.users, self.cases)
        rows: list[tuple[Any, ...]] = []
        for segment, chosen in parts.items():
            part = table[chosen]
            for (model, measure), values, low, high in zip(flat, part.T, *intervals(part), strict=True):
                known = int(np.isfinite(values).sum())
                rows.append((model, segment, *_metric_and_k(measure), metrics.mean(values), low, high, known))
        for model, ranks in self.ranks.items():
            for k in self.job.config.evaluate.k:
                share = coverage(ranks.lists, k, len(self.dataset.target_items))
                rows.append((model, ALL, "coverage", k, share, None, None, ranks.cases))
        _write(self.job.output(METRICS), schemas.METRICS, rows)

    def write_significance(self) -> None:
        """Crossrec beside every other model, in the deciding measures."""
        rows = []
        for measure in self.deciding:
            others = {name: values[measure] for name, values in self.scores.items() if name != c.CROSSREC}
            for name, one, p in differences(self.scores[c.CROSSREC][measure], others):
                rows.append((name, *_metric_and_k(measure), one.mean, one.low, one.high, one.p, p, one.users))
        _write(self.job.output(SIGNIFICANCE), schemas.SIGNIFICANCE, rows)

    def write_examples(self) -> None:
        """Test users drawn at random, each with the newest of the history and the best of the list.

        As many as a page may show: how many it does show is no reason to evaluate again.
        """
        cases, dataset, lists = self.cases, self.dataset, self.ranks[c.CROSSREC].lists
        some = np.random.default_rng(self.job.config.seed).permutation(cases.count)[:MOST_EXAMPLES]
        rows = []
        for case in some:
            user, truth = cases.users[case], cases.truth.take(np.array([case])).values
            history = dataset.histories.items.take(np.array([user]), cases.history_lengths[[case]]).values[::-1]
            shown = dataset.target_items[lists[case][lists[case] >= 0]]
            for kind, items in (("history", history), ("list", shown)):
                for place, item in enumerate(items[:PLACES_SHOWN].tolist(), 1):
                    facts = (dataset.items[name][item].as_py() for name in (c.TEXT, c.DOMAIN))
                    rows.append((dataset.users[c.USER_ID][int(user)].as_py(), kind, place, *facts, item in truth))
        _write(self.job.output(EXAMPLES), schemas.EXAMPLES, rows)

    def write_accuracy(self, fused: FusedModel) -> Summary:
        """How good the interest score is by itself, in target and source; the target's reliability table."""
        rows = []
        bins: dict[str, Any] = {name: [] for name in schemas.CALIBRATION.names}
        summary: Summary = {"expected_calibration_error": None, "auc": None}
        for domain, segment, cases, candidates in self._asked():
            masked = self.job.config.evaluate.mask_seen
            logits, bought = pairs(
                fused.candidate_scorer(candidates), self.dataset.histories, cases, candidates, masked
            )
            if not 0 < bought.sum() < len(bought):
                continue
            probability = expit(logits)
            found = asdict(Accuracy.of(probability, bought))
            rows.append((domain, segment, *found.values()))
            if (domain, segment) == (c.TARGET, ALL):
                bins = asdict(Reliability.of(probability, bought))
                summary = {name: found[name] for name in summary}
        parquet.write_table(self.job.output(CALIBRATION), schemas.CALIBRATION, bins)
        _write(self.job.output(ACCURACY), schemas.ACCURACY, rows)
        return summary

    def _asked(self) -> Iterator[tuple[str, str, Cases, Ints]]:
        """Of whom, and of which items, the score's probabilities are looked at: domain, segment, cases, candidates."""
        candidates, item_stats = self.dataset.target_items, self.dataset.histories.item_stats
        yield c.TARGET, ALL, self.cases, candidates
        for segment, chosen in segments(self.dataset.histories, self.cases).items():
            if segment.startswith("target history"):
                yield c.TARGET, segment, self.cases.of(np.flatnonzero(chosen)), candidates
        unsold = candidates[~item_stats.trained[candidates]]
        if len(unsold):
            truth = self.cases.truth.where(~item_stats.trained[self.cases.truth.values])
            yield c.TARGET, "cold item", replace(self.cases, truth=truth), unsold
        if not item_stats.is_target.all():
            yield c.SOURCE, ALL, *_source_cases(self.dataset, self.job.config.seed)

    def write_feedback(self, scorer: ScoreFunction, found: Impressions | None) -> None:
        """What users would think of crossrec's lists; an empty table without a feedback file."""
        chosen, dataset = self.job.config.evaluate, self.dataset
        rows: list[Judgement] = []
        if found:
            lists, given = self._lists_before_the_test(scorer, found.user)
            there = lists == found.item[:, None]
            rank = np.where(there.any(axis=1), there.argmax(axis=1) + 1, 0)
            in_target = dataset.histories.target_lengths(found.user, given)
            parts = {ALL: np.ones(len(given), bool), "cold user": in_target == 0, "warm": in_target > 0}
            rows = found.judged(rank, chosen.k, parts | described_users(dataset.users, found.user))
        _write(self.job.output(FEEDBACK), schemas.FEEDBACK, rows)

    def _lists_before_the_test(self, scorer: ScoreFunction, users: Ints) -> tuple[Ints, Ints]:
        """Crossrec's lists for users, item indices (n, k), −2 where one ends; and how much history was given, (n,)."""
        dataset, chosen = self.dataset, self.job.config.evaluate
        lengths = dataset.histories.train_lengths.copy()
        lengths[self.tested.users] = self.tested.history_lengths
        distinct, row = np.unique(users, return_inverse=True)
        nothing = Cases(distinct, lengths[distinct], Ragged.of([[]] * len(distinct)))
        found = ranked(scorer, dataset.histories, nothing, dataset.target_items, chosen.mask_seen, k=max(chosen.k))
        lists = np.where(found.lists < 0, -2, dataset.target_items[found.lists])
        return lists[row], lengths[users]


def _source_cases(dataset: Dataset, seed: int) -> tuple[Cases, Ints]:
    """What was held out of the source: each user's purchases there after what trains, among a sample of its items.

    The sample is as large as the target, so that as many users can be looked at.
    """
    histories, item_stats = dataset.histories, dataset.histories.item_stats
    pool = np.flatnonzero(~item_stats.is_target & item_stats.trained)
    size = min(len(pool), len(dataset.target_items))
    candidates = np.sort(np.random.default_rng(seed).choice(pool, size, replace=False))
    chosen = np.zeros(len(item_stats.is_target), bool)
    chosen[candidates] = True
    later = histories.items.where(~histories.trains)
    wanted = later.where(chosen[later.values])
    users = np.flatnonzero(later.lengths)
    return Cases(users, histories.train_lengths[users], wanted.take(users)), candidates


def _metric_and_k(measure: str) -> tuple[str, int]:
    metric, k = measure.split("@")
    return metric, int(k)


def _write(path: Path, schema: pa.Schema, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows, each in the order of the schema's columns."""
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    parquet.write_table(path, schema, dict(zip(schema.names, map(list, columns), strict=True)))
