"""Metrics of validation cases, or any others: the figures by which settings are chosen."""

from __future__ import annotations

import numpy as np
import torch

from crossrec_cli.evaluation import metrics
from crossrec_cli.models.dataset import target_of
from crossrec_cli.models.histories import Cases, Histories
from crossrec_cli.ranking.topk import ScoreFunction as Ranking
from crossrec_cli.ranking.topk import ranked
from crossrec_cli.runtime import distributed

STOP_ON = metrics.name("ndcg", 10)
MOST_SCORES = 2**30
"""Scores of target items by which settings are chosen; of more cases some are drawn, a thousand for a million items."""


def drawn(cases: Cases, histories: Histories) -> Cases:
    """The cases; a random sample where ranking the target items for all of them makes more than ``MOST_SCORES``."""
    return cases.sample(MOST_SCORES // max(len(target_of(histories)), 1), seed=0)


def scores(scorer: Ranking, histories: Histories, cases: Cases, mask_seen: bool) -> dict[str, metrics.Floats]:
    """Every metric at 10 of every case, among all target items."""
    ranks = ranked(scorer, histories, cases, target_of(histories), mask_seen)
    return metrics.per_case(ranks, [10])


def ndcg(scorer: Ranking, histories: Histories, cases: Cases, mask_seen: bool) -> float | None:
    """NDCG@10 of ``drawn`` cases among all target items, or those that are not in the history; None without cases."""
    if not cases.count:
        return None
    cases = drawn(cases, histories)
    shard = np.arange(cases.count)[distributed.strided_shard()]
    values = torch.zeros(cases.count, dtype=torch.float64)
    values[shard] = torch.from_numpy(scores(scorer, histories, cases.of(shard), mask_seen)[STOP_ON])
    distributed.add([values])
    return metrics.mean(values.numpy())
