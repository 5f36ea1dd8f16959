"""The weights of a search's text and interest, fitted on what people bought after their queries."""

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
FEWEST = 10
"""Pairs; from fewer nothing is learned."""
HELD_OUT = 0.2
"""Share of the pairs that the weights are not fitted on, but measured."""
CELLS = 2**24
"""Scores of queries that the weights are fitted on at once; three such matrices are held, 200 MB."""
MEASURE = metrics.name("ndcg", 10)
WeightsRow = dict[str, Any]


@dataclass(frozen=True)
class QueryPurchases:
    """Queries, and what was bought after each."""

    queries: list[str]
    bought: Ints
    who: Ints
    """Each one's user; −1 for somebody unknown."""

    @classmethod
    def read(cls, path: Path, searcher: Searcher, report: Reporter) -> QueryPurchases:
        """Those of a file that can be learned from; what is left out is counted in a warning."""
        table = read_file(path, KEY, PAIRS, WHO)
        queries = table[c.QUERY].to_pylist()
        nobody = pa.nulls(len(queries), pa.string())
        users = (table[c.USER_ID] if c.USER_ID in table.column_names else nobody).to_pylist()
        bought, who = parquet.places(table[c.ITEM_ID], searcher.dataset.items[c.ITEM_ID]), searcher.known_users(users)
        before = searcher.trained_histories(who)
        trained = np.bincount(before.rows[before.values == bought[before.rows]], minlength=len(who)) > 0
        for count, why in (
            ((bought < 0).sum(), "name items that are not in the data"),
            (trained.sum(), "are of purchases that interest was trained on, and would make it look better than it is"),
        ):
            if count:
                report.warn(f"{KEY}: {count:,} of {len(queries):,} pairs {why}; they are left out")
        kept = np.flatnonzero((bought >= 0) & ~trained)
        return cls([queries[place] for place in kept], bought[kept], who[kept])

    def some(self, places: Ints) -> QueryPurchases:
        """A part of them."""
        return QueryPurchases([self.queries[place] for place in places], self.bought[places], self.who[places])

    def signals(self, searcher: Searcher) -> Iterator[tuple[Signals, Ints]]:
        """The parts of the score of all items as they were at the end of training, and what was bought."""
        for part in searcher.chunks(len(self.queries)):
            logits = searcher.interest_of(searcher.trained_histories(self.who[part]), searcher.tags(self.who[part]))
            yield searcher.signals(self.queries[part], logits), self.bought[part]


def tuned_weights(job: Job, words: Words) -> list[WeightsRow]:
    """The weights fitted on most of the pairs, and how well they and others find what was bought in the rest."""
    searcher = Searcher(job.config, job.inputs, words, DEFAULT)
    pairs = QueryPurchases.read(Path(job.config.search.queries or ""), searcher, job.report)
    if len(pairs.queries) < FEWEST:
        job.report.warn(f"{KEY}: {len(pairs.queries)} pairs are too few to tune on ({FEWEST}); the default stays")
        return [weights_row("default", DEFAULT, used=True)]
    order = np.random.default_rng(job.config.seed).permutation(len(pairs.queries))
    held = int(len(order) * HELD_OUT)
    signals, bought = zip(*pairs.some(order[held:][: CELLS // words.size + 1]).signals(searcher), strict=True)
    given, truth = Signals.joined(signals), np.concatenate(bought)
    silent = replace(given, interest=torch.zeros_like(given.interest))
    ways = {
        "tuned": fit(given, truth),
        "without interest": replace(fit(silent, truth), interest=0.0),
        "default": DEFAULT,
        "meaning alone": Weights(1, 0, 0),
        "words alone": Weights(0, 1, 0),
        "interest alone": Weights(0, 0, 1),
    }
    del signals, given, silent
    job.report.say(f"weights fitted on {len(truth):,} pairs of a query and a purchase, measured on {held:,} others")
    found = _ndcg(pairs.some(order[:held]), searcher, ways)
    return [weights_row(name, weights, found[name], used=name == "tuned") for name, weights in ways.items()]


def _ndcg(pairs: QueryPurchases, searcher: Searcher, ways: Mapping[str, Weights]) -> dict[str, metrics.Floats]:
    """NDCG@10 of every pair among all items, for each way to weigh the parts of the score."""
    ranks: dict[str, list[metrics.Floats]] = {name: [] for name in ways}
    for signals, bought in pairs.signals(searcher):
        rows, columns = torch.arange(len(bought)), torch.from_numpy(bought)
        for name, weights in ways.items():
            ranks[name].append(mid_ranks(signals.score(weights), rows, columns)[0])
    case, none = np.arange(len(pairs.queries)), np.empty((0, 0), np.int64)
    each = {name: Ranks(case, np.concatenate(found), len(case), none) for name, found in ranks.items()}
    return {name: metrics.per_case(found, [10])[MEASURE] for name, found in each.items()}


def weights_row(blend: str, weights: Weights, ndcg: metrics.Floats | None = None, *, used: bool) -> WeightsRow:
    """A row of ``schemas.BLEND``; without figures where nothing was measured."""
    low, high = (None, None) if ndcg is None else interval(ndcg)
    value, n = (None, 0) if ndcg is None else (metrics.mean(ndcg), len(ndcg))
    figures = {MEASURE: value, c.LOW: low, c.HIGH: high, c.N: n}
    return {"blend": blend} | asdict(weights) | figures | {c.USED: used}
