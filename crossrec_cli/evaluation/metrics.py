"""Ranking metrics over exact ranks.

For a case with true items T at ranks r(t) from 1:

- HR@k: 1 if some r(t) ≤ k.
- Recall@k: |{t: r(t) ≤ k}| / |T|.
- Precision@k: |{t: r(t) ≤ k}| / k.
- NDCG@k: Σ 1/log₂(1 + r(t)) over r(t) ≤ k, divided by the same sum for the ranks 1 … min(|T|, k)
  (Järvelin & Kekäläinen 2002, https://doi.org/10.1145/582415.582418).
- MRR@k: 1 / min r(t) if that is ≤ k, else 0 (Voorhees 1999).
- MAP@k: Σ Precision@r(t) over r(t) ≤ k, divided by min(|T|, k), so that a list can be perfect
  (Buckley & Voorhees 2000, https://doi.org/10.1145/345508.345543).

Ties have their mean rank. A case without true items counts in no metric.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from crossrec_cli.ranking.topk import Ranks

Floats = npt.NDArray[np.float64]


def name(metric: str, k: int) -> str:
    """A metric's column name, as in ``ndcg@10``."""
    return f"{metric}@{k}"


def per_case(ranks: Ranks, ks: Sequence[int]) -> dict[str, Floats]:
    """Every metric at every k for every case, float64 (cases,); nan for a case without true items."""
    true_counts = np.bincount(ranks.case, minlength=ranks.cases)
    nan_without_truth = np.where(true_counts > 0, 0.0, np.nan)
    first_rank = np.full(ranks.cases, np.inf)
    np.minimum.at(first_rank, ranks.case, ranks.rank)
    precision = _hits_up_to(ranks) / ranks.rank
    gain_of_first = np.concatenate([[0.0], np.cumsum(1 / np.log2(1 + np.arange(1, true_counts.max(initial=0) + 1)))])
    columns: dict[str, Floats] = {}
    for k in ks:
        in_top_k = ranks.rank <= k
        hits = np.bincount(ranks.case[in_top_k], minlength=ranks.cases)
        gains = np.bincount(ranks.case[in_top_k], 1 / np.log2(1 + ranks.rank[in_top_k]), minlength=ranks.cases)
        ideal = gain_of_first[np.minimum(true_counts, k)]
        columns[name("hr", k)] = (hits > 0).astype(np.float64) + nan_without_truth
        columns[name("recall", k)] = hits / np.maximum(true_counts, 1) + nan_without_truth
        columns[name("precision", k)] = hits / k + nan_without_truth
        columns[name("ndcg", k)] = gains / np.maximum(ideal, 1e-12) + nan_without_truth
        columns[name("mrr", k)] = np.where(first_rank <= k, 1 / first_rank, 0.0) + nan_without_truth
        precisions = np.bincount(ranks.case[in_top_k], precision[in_top_k], minlength=ranks.cases)
        columns[name("map", k)] = precisions / np.clip(true_counts, 1, k) + nan_without_truth
    return columns


def _hits_up_to(ranks: Ranks) -> npt.NDArray[np.int64]:
    """For each true item, how many true items of its case have this rank or a better one."""
    order = np.lexsort((ranks.rank, ranks.case))
    first = np.searchsorted(ranks.case[order], ranks.case[order])
    position: npt.NDArray[np.int64] = np.empty(len(order), np.int64)
    position[order] = np.arange(1, len(order) + 1) - first
    return position


def mean(values: Floats) -> float:
    """The mean over cases with true items; 0 if there are none."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0
