"""The weights of text and interest in a search, fitted on purchases after queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.job import Job
from crossrec_cli.data.extra_files import read_file
from crossrec_cli.evaluation import metrics
from crossrec_cli.evaluation.significance import interval
from crossrec_cli.models.ragged import Ints
from crossrec_cli.ranking.search_score import DEFAULT, Signals, Weights, Words, fit
from crossrec_cli.ranking.searcher import QUERIES, WHO, Searcher
from crossrec_cli.ranking.topk import Ranks, mid_ranks
from crossrec_cli.runtime.progress import Reporter

KEY = "search.queries"
PAIRS = pa.schema([*QUERIES, pa.field(c.ITEM_ID, pa.string(), nullable=False)])
MIN_PAIRS = 10
"""The least number of pairs to fit weights on."""
HELD_OUT_SHARE = 0.2
"""Share of the pairs that are held out to measure the weights."""
CELLS = 2**24
"""Scores held at once while weights are fitted; there are three such matrices, 200 MB."""
MEASURE = metrics.name("ndcg", 10)
WeightsRow = dict[str, Any]


@dataclass(frozen=True)
class QueryPurchases:
    """Queries, and the item bought after each."""

    queries: list[str]
    bought: Ints
    user_indices: Ints
    """Each one's user; −1 for an unknown user."""

    @classmethod
    def read(cls, path: Path, searcher: Searcher, report: Reporter) -> QueryPurchases:
        """Read the pairs of a file; those that cannot be used are counted in a warning."""
        table = read_file(path, KEY, PAIRS, WHO)
        queries = table[c.QUERY].to_pylist()
        no_users = pa.nulls(len(queries), pa.string())
        users = (table[c.USER_ID] if c.USER_ID in table.column_names else no_users).to_pylist()
        bought, user_indices = (
            parquet.row_indices(table[c.ITEM_ID], searcher.dataset.items[c.ITEM_ID]),
            searcher.known_users(users),
        )
        trained_histories = searcher.trained_histories(user_indices)
        trained = (
            np.bincount(
                trained_histories.rows[trained_histories.values == bought[trained_histories.rows]],
                minlength=len(user_indices),
            )
            > 0
        )
        for count, reason in (
            ((bought < 0).sum(), "name items that are not in the data"),
            (trained.sum(), "are of purchases that interest was trained on, and would overstate it"),
        ):
            if count:
                report.warn(f"{KEY}: {count:,} of {len(queries):,} pairs {reason}; they are removed")
        kept = np.flatnonzero((bought >= 0) & ~trained)
        return cls([queries[index] for index in kept], bought[kept], user_indices[kept])

    def subset(self, indices: Ints) -> QueryPurchases:
        """Some of the pairs, by index."""
        return QueryPurchases(
            [self.queries[index] for index in indices], self.bought[indices], self.user_indices[indices]
        )

    def signals(self, searcher: Searcher) -> Iterator[tuple[Signals, Ints]]:
        """The signals of all items, from histories as of the end of training, and the items bought; in batches."""
        for part in searcher.chunks(len(self.queries)):
            logits = searcher.interest_of(
                searcher.trained_histories(self.user_indices[part]), searcher.tags(self.user_indices[part])
            )
            yield searcher.signals(self.queries[part], logits), self.bought[part]


def tuned_weights(job: Job, words: Words) -> list[WeightsRow]:
    """The weights fitted on most of the pairs, and the NDCG of these and other weights on the rest."""
    searcher = Searcher(job.config, job.inputs, words, DEFAULT)
    pairs = QueryPurchases.read(Path(job.config.search.queries or ""), searcher, job.report)
    if len(pairs.queries) < MIN_PAIRS:
        job.report.warn(f"{KEY}: {len(pairs.queries)} pairs are too few to tune on ({MIN_PAIRS}); the default stays")
        return [weights_row("default", DEFAULT, used=True)]
    order = np.random.default_rng(job.config.seed).permutation(len(pairs.queries))
    held_out = int(len(order) * HELD_OUT_SHARE)
    signals, bought = zip(*pairs.subset(order[held_out:][: CELLS // words.size + 1]).signals(searcher), strict=True)
    fit_signals, fit_purchases = Signals.joined(signals), np.concatenate(bought)
    without_interest = replace(fit_signals, interest=torch.zeros_like(fit_signals.interest))
    weightings = {
        "tuned": fit(fit_signals, fit_purchases),
        "without interest": replace(fit(without_interest, fit_purchases), interest=0.0),
        "default": DEFAULT,
        "meaning alone": Weights(1, 0, 0),
        "words alone": Weights(0, 1, 0),
        "interest alone": Weights(0, 0, 1),
    }
    del signals, fit_signals, without_interest
    job.report.say(
        f"weights fitted on {len(fit_purchases):,} pairs of a query and a purchase, measured on {held_out:,} others"
    )
    ndcg = _ndcg(pairs.subset(order[:held_out]), searcher, weightings)
    return [weights_row(name, weights, ndcg[name], used=name == "tuned") for name, weights in weightings.items()]


def _ndcg(pairs: QueryPurchases, searcher: Searcher, weightings: Mapping[str, Weights]) -> dict[str, metrics.Floats]:
    """NDCG@10 of every pair among all items, for each weighting of the parts of the score."""
    ranks: dict[str, list[metrics.Floats]] = {name: [] for name in weightings}
    for signals, bought in pairs.signals(searcher):
        rows, columns = torch.arange(len(bought)), torch.from_numpy(bought)
        for name, weights in weightings.items():
            ranks[name].append(mid_ranks(signals.score(weights), rows, columns)[0])
    case, no_lists = np.arange(len(pairs.queries)), np.empty((0, 0), np.int64)
    ranks_of = {
        name: Ranks(case, np.concatenate(of_batches), len(case), no_lists) for name, of_batches in ranks.items()
    }
    return {name: metrics.per_case(of_batches, [10])[MEASURE] for name, of_batches in ranks_of.items()}


def weights_row(blend: str, weights: Weights, ndcg: metrics.Floats | None = None, *, used: bool) -> WeightsRow:
    """A row of ``schemas.BLEND``; without figures where nothing was measured."""
    low, high = (None, None) if ndcg is None else interval(ndcg)
    value, n = (None, 0) if ndcg is None else (metrics.mean(ndcg), len(ndcg))
    figures = {MEASURE: value, c.LOW: low, c.HIGH: high, c.N: n}
    return {"blend": blend} | asdict(weights) | figures | {c.USED: used}
