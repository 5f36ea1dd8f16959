"""Ranking metrics over exact ranks.

For a case with true items T, found at ranks r(t) from 1:

- HR@k: 1 if some r(t) ≤ k.
- Recall@k: |{t: r(t) ≤ k}| / |T|.
- Precision@k: |{t: r(t) ≤ k}| / k.
- NDCG@k: Σ 1/log₂(1 + r(t)) over r(t) ≤ k, divided by the same sum for the ranks 1 … min(|T|, k)
  (Järvelin & Kekäläinen 2002, https://doi.org/10.1145/582415.582418).
- MRR@k: 1 / min r(t) if that is ≤ k, else 0 (Voorhees 1999).
- MAP@k: Σ Precision@r(t) over r(t) ≤ k, divided by min(|T|, k), so that a list can be perfect
  (Buckley & Voorhees 2000, https://doi.org/10.1145/345508.345543).

Ties stand at mid-rank. A case with nothing to find counts in no metric.
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
    """Every metric at every k for every case, float64 (cases,); nan where there is nothing to find."""
    wanted = np.bincount(ranks.case, minlength=ranks.cases)
    nothing = np.where(wanted > 0, 0.0, np.nan)
    best = np.full(ranks.cases, np.inf)
    np.minimum.at(best, ranks.case, ranks.rank)
    precision = _found_so_far(ranks) / ranks.rank
    gain_of_first = np.concatenate([[0.0], np.cumsum(1 / np.log2(1 + np.arange(1, wanted.max(initial=0) + 1)))])
    columns: dict[str, Floats] = {}
    for k in ks:
        found = ranks.rank <= k
        hits = np.bincount(ranks.case[found], minlength=ranks.cases)
        gains = np.bincount(ranks.case[found], 1 / np.log2(1 + ranks.rank[found]), minlength=ranks.cases)
        ideal = gain_of_first[np.minimum(wanted, k)]
        columns[name("hr", k)] = (hits > 0).astype(np.float64) + nothing
        columns[name("recall", k)] = hits / np.maximum(wanted, 1) + nothing
        columns[name("precision", k)] = hits / k + nothing
        columns[name("ndcg", k)] = gains / np.maximum(ideal, 1e-12) + nothing
        columns[name("mrr", k)] = np.where(best <= k, 1 / best, 0.0) + nothing
        precisions = np.bincount(ranks.case[found], precision[found], minlength=ranks.cases)
        columns[name("map", k)] = precisions / np.clip(wanted, 1, k) + nothing
    return columns


def _found_so_far(ranks: Ranks) -> npt.NDArray[np.int64]:
    """For each true item, how many of its case's stand at its rank or before it."""
    order = np.lexsort((ranks.rank, ranks.case))
    first = np.searchsorted(ranks.case[order], ranks.case[order])
    place: npt.NDArray[np.int64] = np.empty(len(order), np.int64)
    place[order] = np.arange(1, len(order) + 1) - first
    return place


def mean(values: Floats) -> float:
    """The mean over cases with something to find; 0 if there is none."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0
