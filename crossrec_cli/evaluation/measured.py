"""The results of evaluate, as its tables."""

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

ITEMS_SHOWN = 10
DECIDING = ("hr", "ndcg")
"""The metrics by which models are compared, and that are in the summary."""

PerCase = dict[str, metrics.Floats]
"""Each measure's value for every case, by names such as ``ndcg@10``."""


def measure_name(job: Job, measure: str) -> str:
    """A ranking metric's name; it has "among" where the ranked items are sampled, or given in a file."""
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
    """The cases that were ranked."""
    tested: Cases
    """All test cases, of which ``cases`` may be a sample."""
    ranks: Mapping[str, Ranks]
    """By model."""
    scores: Mapping[str, PerCase]
    """By model."""

    @property
    def deciding(self) -> list[str]:
        """The measures by which models are compared."""
        ks = self.job.config.evaluate.k
        return [measure_name(self.job, metrics.name(metric, k)) for k in ks for metric in DECIDING]

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
        in_target = self.dataset.histories.target_purchases(cases.users, cases.history_lengths)
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
        """One row for each model, segment and measure; coverage is measured over all cases."""
        flat = [(model, measure) for model, values in self.scores.items() for measure in values]
        table = np.stack([self.scores[model][measure] for model, measure in flat])
        parts = segments(self.dataset.histories, self.cases)
        parts |= described(self.dataset.items, self.dataset.users, self.cases)
        rows: list[tuple[Any, ...]] = []
        for segment, in_segment in parts.items():
            part = table[:, in_segment]
            number = np.isfinite(part).sum(axis=1)
            means = np.where(np.isfinite(part), part, 0).sum(axis=1) / np.maximum(number, 1)
            figures = (column.tolist() for column in (means, *intervals(part.T), number))
            rows += [
                (model, segment, *_metric_and_k(measure), *of_measure)
                for (model, measure), *of_measure in zip(flat, *figures, strict=True)
            ]
        for model, ranks in self.ranks.items():
            for k in self.job.config.evaluate.k:
                share = coverage(ranks.lists, k, len(self.dataset.target_items))
                rows.append((model, ALL, "coverage", k, share, None, None, ranks.cases))
        _write(self.job.output(METRICS), schemas.METRICS, rows)

    def write_significance(self) -> None:
        """Crossrec compared with every other model, by the deciding measures."""
        rows = []
        for measure in self.deciding:
            others = {model: values[measure] for model, values in self.scores.items() if model != c.CROSSREC}
            for model, difference, p in differences(self.scores[c.CROSSREC][measure], others):
                rows.append(
                    (
                        model,
                        *_metric_and_k(measure),
                        difference.mean,
                        difference.low,
                        difference.high,
                        difference.p,
                        p,
                        difference.users,
                    )
                )
        _write(self.job.output(SIGNIFICANCE), schemas.SIGNIFICANCE, rows)

    def write_examples(self) -> None:
        """Random test users, each with the newest items of the history and the first items of the list.

        As many as a page can show, so that the number it does show does not require another evaluation.
        """
        cases, dataset, lists = self.cases, self.dataset, self.ranks[c.CROSSREC].lists
        chosen_cases = np.random.default_rng(self.job.config.seed).permutation(cases.count)[:MOST_EXAMPLES]
        shown: list[tuple[int, str, int, int, bool]] = []
        for case in chosen_cases:
            user, truth = int(cases.users[case]), cases.truth.take(np.array([case])).values
            history = dataset.histories.items.take(np.array([user]), cases.history_lengths[[case]]).values[::-1]
            listed = dataset.target_items[lists[case][lists[case] >= 0]]
            for kind, items in (("history", history), ("list", listed)):
                first = enumerate(items[:ITEMS_SHOWN].tolist(), 1)
                shown += [(user, kind, position, item, item in truth) for position, item in first]
        users, items = (pa.array([row[column] for row in shown], pa.int64()) for column in (0, 3))
        names = dataset.users[c.USER_ID].take(users).to_pylist()
        facts = zip(*(dataset.items[name].take(items).to_pylist() for name in (c.TEXT, c.DOMAIN)), strict=True)
        rows = [
            (name, kind, position, *of_item, bought)
            for name, (_, kind, position, _, bought), of_item in zip(names, shown, facts, strict=True)
        ]
        _write(self.job.output(EXAMPLES), schemas.EXAMPLES, rows)

    def write_accuracy(self, fused: FusedModel) -> Summary:
        """Accuracy of the interest score as a probability, in target and source; and the target's reliability table."""
        rows = []
        bins: dict[str, Any] = {name: [] for name in schemas.CALIBRATION.names}
        summary: Summary = {"expected_calibration_error": None, "auc": None}
        for domain, segment, cases, candidates in self._populations():
            mask_seen = self.job.config.evaluate.mask_seen
            logits, bought = pairs(
                fused.candidate_scorer(candidates), self.dataset.histories, cases, candidates, mask_seen
            )
            if not 0 < bought.sum() < len(bought):
                continue
            probability = expit(logits)
            reliability = Reliability.of(probability, bought)
            figures = asdict(Accuracy.of(probability, bought, reliability))
            rows.append((domain, segment, *figures.values()))
            if (domain, segment) == (c.TARGET, ALL):
                bins = asdict(reliability)
                summary = {name: figures[name] for name in summary}
        parquet.write_table(self.job.output(CALIBRATION), schemas.CALIBRATION, bins)
        _write(self.job.output(ACCURACY), schemas.ACCURACY, rows)
        return summary

    def _populations(self) -> Iterator[tuple[str, str, Cases, Ints]]:
        """For which cases and items the score's accuracy is measured: domain, segment, cases, candidates."""
        candidates, item_stats = self.dataset.target_items, self.dataset.histories.item_stats
        yield c.TARGET, ALL, self.cases, candidates
        for segment, chosen in segments(self.dataset.histories, self.cases).items():
            if segment.startswith("target history"):
                yield c.TARGET, segment, self.cases.of(chosen), candidates
        unsold = candidates[~item_stats.trained[candidates]]
        if len(unsold):
            truth = self.cases.truth.where(~item_stats.trained[self.cases.truth.values])
            yield c.TARGET, "cold item", replace(self.cases, truth=truth), unsold
        if not item_stats.is_target.all():
            yield c.SOURCE, ALL, *_source_cases(self.dataset, self.job.config.seed)

    def write_feedback(self, scorer: ScoreFunction, impressions: Impressions | None) -> None:
        """Off-policy estimates for crossrec's lists; an empty table without a feedback file."""
        chosen, dataset = self.job.config.evaluate, self.dataset
        rows: list[Judgement] = []
        if impressions:
            lists, history_lengths = self._lists_before_the_test(scorer, impressions.user)
            is_hit = lists == impressions.item[:, None]
            rank = np.where(is_hit.any(axis=1), is_hit.argmax(axis=1) + 1, 0)
            in_target = dataset.histories.target_purchases(impressions.user, history_lengths)
            parts = {ALL: np.arange(len(in_target))}
            parts |= {"cold user": np.flatnonzero(in_target == 0), "warm": np.flatnonzero(in_target > 0)}
            rows = impressions.judged(rank, chosen.k, parts | described_users(dataset.users, impressions.user))
        _write(self.job.output(FEEDBACK), schemas.FEEDBACK, rows)

    def _lists_before_the_test(self, scorer: ScoreFunction, users: Ints) -> tuple[Ints, Ints]:
        """Crossrec's lists for users, item indices (n, k), −2 where one ends; and the histories' lengths, (n,)."""
        dataset, chosen = self.dataset, self.job.config.evaluate
        lengths = dataset.histories.train_lengths.copy()
        lengths[self.tested.users] = self.tested.history_lengths
        distinct, row = np.unique(users, return_inverse=True)
        cases = Cases(distinct, lengths[distinct], Ragged.of([[]] * len(distinct)))
        ranks = ranked(scorer, dataset.histories, cases, dataset.target_items, chosen.mask_seen, k=max(chosen.k))
        lists = np.where(ranks.lists < 0, -2, dataset.target_items[ranks.lists])
        return lists[row], lengths[users]


def _source_cases(dataset: Dataset, seed: int) -> tuple[Cases, Ints]:
    """Held-out cases of the source: each user's source purchases after training, among a sample of the source's items.

    The sample is as large as the target, so that as many users can be measured.
    """
    histories, item_stats = dataset.histories, dataset.histories.item_stats
    pool = np.flatnonzero(~item_stats.is_target & item_stats.trained)
    size = min(len(pool), len(dataset.target_items))
    candidates = np.sort(np.random.default_rng(seed).choice(pool, size, replace=False))
    is_candidate = np.zeros(len(item_stats.is_target), bool)
    is_candidate[candidates] = True
    not_trained = histories.items.where(~histories.trains & histories.items.liked)
    held_out = not_trained.where(is_candidate[not_trained.values])
    users = np.flatnonzero(not_trained.lengths)
    return Cases(users, histories.train_lengths[users], held_out.take(users)), candidates


def _metric_and_k(measure: str) -> tuple[str, int]:
    metric, k = measure.split("@")
    return metric, int(k)


def _write(path: Path, schema: pa.Schema, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows, each in the order of the schema's columns."""
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    parquet.write_table(path, schema, dict(zip(schema.names, map(list, columns), strict=True)))
