"""How well the cases of validation, or any others, are found: the figure that settings are chosen by."""

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


def scores(scorer: Ranking, histories: Histories, cases: Cases, mask_seen: bool) -> dict[str, metrics.Floats]:
    """Every metric at 10 of every case, among all target items."""
    ranks = ranked(scorer, histories, cases, target_of(histories), mask_seen)
    return metrics.per_case(ranks, [10])


def ndcg(scorer: Ranking, histories: Histories, cases: Cases, mask_seen: bool) -> float | None:
    """NDCG@10 among all target items, or among those that are not in the history; None without cases."""
    if not cases.count:
        return None
    mine = np.arange(cases.count)[distributed.strided_shard()]
    found = torch.zeros(cases.count, dtype=torch.float64)
    found[mine] = torch.from_numpy(scores(scorer, histories, cases.of(mine), mask_seen)[STOP_ON])
    distributed.add([found])
    return metrics.mean(found.numpy())
