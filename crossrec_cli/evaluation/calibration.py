"""Calibration of the interest score as a probability, and how well it separates purchases from other pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import entropy

from crossrec_cli.evaluation.metrics import Floats
from crossrec_cli.models.histories import Cases, Histories
from crossrec_cli.models.ragged import Bools, Ints
from crossrec_cli.ranking.topk import ScoreFunction, chunks

PAIRS = 2_000_000
"""About so many pairs of a user and an item are sampled; more would not change the figures visibly."""
BINS = 10


def pairs(
    scorer: ScoreFunction, histories: Histories, cases: Cases, candidates: Ints, mask_seen: bool
) -> tuple[Floats, Floats]:
    """Logits of the items that may be recommended to a case's user, and whether they are the case's true items.

    Args:
        scorer: gives the logits.
        histories: of all users.
        cases: every n-th of them is taken, so that there are about ``PAIRS`` pairs.
        candidates: item indices, sorted, int64 (C,).
        mask_seen: whether items in the history are excluded.

    Returns:
        Logits, and 1.0 or 0.0; float64 (n,) each.
    """
    sampled = np.arange(cases.count)[:: max(-(-cases.count * len(candidates) // PAIRS), 1)]
    users, lengths, truth = cases.users[sampled], cases.history_lengths[sampled], cases.truth.take(sampled)
    logits, bought = [torch.empty(0, dtype=torch.float64)], [torch.empty(0, dtype=torch.float64)]
    for chunk in chunks(scorer, histories, users, lengths, candidates, mask_seen=False):
        truth_of_chunk = truth.take(np.arange(chunk.begin, chunk.begin + len(chunk.scores)))
        hit = torch.zeros(chunk.scores.shape, dtype=torch.float64)
        hit[
            torch.from_numpy(truth_of_chunk.rows), torch.from_numpy(np.searchsorted(candidates, truth_of_chunk.values))
        ] = 1.0
        kept = torch.ones(chunk.scores.shape, dtype=torch.bool)
        if mask_seen:
            kept[chunk.seen] = False
        logits.append(chunk.scores[kept].double())
        bought.append(hit[kept])
    return torch.cat(logits).numpy(), torch.cat(bought).numpy()


@dataclass(frozen=True)
class Reliability:
    """Pairs sorted by probability and cut into bins with equal expected purchases.

    With bins of equal width or equal size (Naeini et al. 2015, https://doi.org/10.1609/aaai.v29i1.9602) all purchases
    of a large catalogue would fall into one.
    """

    predicted: Floats
    """Mean probability in each bin, ascending; float64 (bins,)."""
    observed: Floats
    """Share that was bought; float64 (bins,)."""
    pairs: npt.NDArray[np.int64]
    """Pairs in each bin; int64 (bins,)."""

    @classmethod
    def of(cls, probability: Floats, bought: Floats) -> Reliability:
        """From each pair's probability and whether it was bought; float64 (n,), n at least 1."""
        order = np.argsort(probability, kind="stable")
        sorted_ = probability[order]
        expected = np.cumsum(sorted_)
        total_expected = max(expected[-1], np.finfo(np.float64).tiny)  # where all probabilities underflow to 0
        bin_index = np.minimum((BINS * (expected - sorted_ / 2) / total_expected).astype(np.int64), BINS - 1)
        bin_sizes = np.bincount(bin_index, minlength=BINS)
        filled = bin_sizes > 0
        sums = (np.bincount(bin_index, values, minlength=BINS)[filled] for values in (sorted_, bought[order]))
        predicted, observed = (bin_sum / bin_sizes[filled] for bin_sum in sums)
        return cls(predicted, observed, bin_sizes[filled])

    @property
    def error(self) -> float:
        """Expected calibration error: |observed − predicted|, the mean over all pairs."""
        return float(np.average(np.abs(self.observed - self.predicted), weights=self.pairs))


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of probabilities, pair by pair."""

    auc: float
    """The chance that a pair that was bought has the higher one of two (Hanley & McNeil 1982)."""
    log_loss: float
    """Mean −ln of the probability of the outcome, in nats."""
    base_log_loss: float
    """The log loss if each pair's probability were the share that was bought."""
    brier: float
    """Mean squared error (Brier 1950)."""
    expected_calibration_error: float
    pairs: int
    bought: int

    @classmethod
    def of(cls, probability: Floats, bought: Floats, reliability: Reliability) -> Accuracy:
        """From each pair's probability and whether it was bought; float64 (n,), both kinds at least once."""
        probability_of_outcome = np.where(bought > 0, probability, 1 - probability)
        bought_count = int(bought.sum())
        return cls(
            auc=_auc(probability, bought > 0),
            log_loss=float(-np.log(np.maximum(probability_of_outcome, np.finfo(np.float64).tiny)).mean()),
            base_log_loss=float(entropy([bought_count / len(bought), 1 - bought_count / len(bought)])),
            brier=float(((bought - probability) ** 2).mean()),
            expected_calibration_error=reliability.error,
            pairs=len(bought),
            bought=bought_count,
        )


def _auc(probability: Floats, bought: Bools) -> float:
    """From how many pairs are below each that was bought; a tie is half a win. The sort is faster than a rank test."""
    ordered, hits = np.sort(probability), np.sort(probability[bought])
    below, not_above = (np.searchsorted(ordered, hits, side) for side in ("left", "right"))
    wins = (below + not_above).sum() / 2 - len(hits) ** 2 / 2  # without the comparisons among those that were bought
    return float(wins / (len(hits) * (len(ordered) - len(hits))))
