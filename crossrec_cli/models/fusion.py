"""One score from the features of several scorers, with weights that follow the length of a user's target history.

logit(u, i) = Σ weight(u, f) · f(u, i) + shift(u). The weights maximise the likelihood of held-out purchases under a
softmax over the catalogue; this is convex. A scale and shifts then turn the logits into those of a probability; the
order of a user's items does not change. Weights and shifts are fitted at some lengths, the knots, and interpolated
between them: with one purchase more or less, a score does not jump.

Shapes: F features, K knots, B users, N sampled items, P held-out purchases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from crossrec_cli.models.base import Feature, Scorer
from crossrec_cli.models.histories import Cases, Histories, purchases_in
from crossrec_cli.models.ragged import Bools, Ints, Ragged, numbered
from crossrec_cli.models.vectors import Floats, products, row_products

KNOTS = (0, 1, 3, 10)
"""Lengths of target history at which weights are fitted; the last one's are those of all longer histories."""
Doubles = npt.NDArray[np.float64]

MAX_CASES, MAX_CANDIDATES = 3_000, 2_000
"""Held-out cases, and candidates that each purchase is compared with, at most; 24 MB a feature."""
PRIOR = {
    "text": 0.1,
    "text_target": 0.2,
    "words": 0.1,
    "words_target": 0.2,
    "attributes": 0.05,
    "attributes_target": 0.05,
    "sales": 0.2,
    "neighbours": 0.2,
    "linear": 0.3,
    "federated": 0.1,
    "federated_target": 0.1,
    "neural": 0.3,
}
"""A feature's weight before any held-out purchase is seen, per standard deviation of its scores; of those not
listed, 0."""
ROUNDING = 1e-6
"""Relative rounding error of float32 scores; a spread that is only rounding would make weights far too large."""
SIGNED = frozenset({"sales", "recent_sales", "unsold", "tag_sales"})
"""Features whose weights may be negative."""
LARGEST_LOGIT = np.float32(30)
"""Of an item that was not bought, while probabilities are fitted; its exponential is far below the limit of float32."""
TOLERANCE = 1e-7
"""An optimisation ends where a step makes the loss smaller by less than this share."""
TO_PRIOR, TO_COMMON = 10.0, 100.0
"""Strength of the pull of the mean weights to their prior, and of each knot's weights to the mean: half of it times the
squared distance is added to the loss, in nats."""


@dataclass(frozen=True)
class HeldOut:
    """Held-out purchases, each to be ranked among the same sampled candidates."""

    users: Ragged
    """The users' histories before the held-out purchases, B lists."""
    tags: Ragged
    knots: Floats
    """``knot_shares`` of each user, (B, K)."""
    rows: Ints
    """The user of each held-out purchase, (P,)."""
    bought: Ints
    """The item of each held-out purchase, (P,)."""
    sampled: Ints
    """Candidates, (N,)."""
    hidden: Bools
    """Where a sampled item is in the user's history, or is a held-out purchase; (B, N)."""
    shift: float
    """Logarithm of the number of candidates that each sampled one represents."""

    @classmethod
    def of(
        cls,
        histories: Histories,
        cases: Cases,
        candidates: Ints,
        mask_seen: bool,
        seed: int,
        users: int = MAX_CASES,
        sampled_items: int = MAX_CANDIDATES,
    ) -> HeldOut:
        """Some of the cases, and some of the candidates where there are many.

        Without any case the users are taken as they were in training, without held-out purchases: the spread of the
        features' scores is needed all the same.
        """
        rng = np.random.default_rng(seed)
        if not cases.count:
            no_truth = Ragged(np.empty(0, np.int64), np.zeros(histories.users, np.int64))
            cases = Cases(np.arange(histories.users), histories.train_lengths, no_truth)
        cases = cases.of(np.sort(rng.permutation(cases.count)[:users]))
        sampled = candidates
        if len(candidates) > sampled_items:
            sampled = np.sort(rng.choice(candidates, sampled_items, replace=False))
        seen = histories.items.take(cases.users, cases.history_lengths)
        knots = knot_shares(purchases_in(seen, histories.item_stats.is_target))
        number = numbered(sampled, len(histories.item_stats.is_target))
        hidden = np.zeros((cases.count, len(sampled)), bool)
        for lists in [seen, cases.truth] if mask_seen else [cases.truth]:
            sampled_there = lists.where(number[lists.values] >= 0)
            hidden[sampled_there.rows, number[sampled_there.values]] = True
        rows, bought = cases.truth.rows, cases.truth.values
        if mask_seen:  # items of the history are not ranked
            is_new = ~np.isin(rows * len(number) + bought, seen.rows * len(number) + seen.values)
            rows, bought = rows[is_new], bought[is_new]
        shift = float(np.log(len(candidates) / len(sampled)))
        return cls(seen, histories.tags.take(cases.users), knots, rows, bought, sampled, hidden, shift)

    def scores(self, scorer: Scorer, feature: Feature) -> tuple[Floats, Floats]:
        """A feature's scores of the sampled items, (B, N), and of the items that were bought, (P,)."""
        users = feature.user_vectors(self.users, self.tags)
        bought_scores = row_products(users[self.rows], scorer.item_vectors[self.bought])
        return products(users, scorer.item_vectors[self.sampled]), bought_scores


def knot_shares(target_lengths: Ints) -> Floats:
    """How much each knot counts for users with so many purchases in the target, (B, K); rows sum to 1.

    The user's length lies between two knots, which share it in proportion to its distance on a logarithmic scale.
    """
    lengths, knots = np.log1p(target_lengths)[:, None], np.log1p(KNOTS)
    passed = np.clip((lengths - knots[:-1]) / np.diff(knots), 0, 1)
    shares: Floats = -np.diff(passed, axis=1, prepend=1, append=0).astype(np.float32)
    return shares


@dataclass(frozen=True)
class Fusion:
    """The weight of each feature."""

    features: tuple[str, ...]
    weights: Floats
    """At each knot, (K, F); a feature's score times its weight is in log-odds."""
    shift: Floats
    """At each knot, (K,)."""
    spread: Floats
    """Standard deviation of a feature's scores over a user's candidates, (F,); times the weight, its influence."""


def fit(scored: Mapping[str, tuple[Floats, Floats]], held_out: HeldOut) -> Fusion:
    """The weights under which the held-out purchases are most likely, calibrated.

    Args:
        scored: by name, each feature's scores of the sampled and of the bought items, from ``HeldOut.scores``.
        held_out: the purchases; without any, the weights are the prior's.
    """
    likelihood, spread = _Likelihood.of(list(scored.values()), held_out)
    prior = np.array([PRIOR.get(name, 0.0) for name in scored])
    start = np.tile(prior, len(KNOTS))
    bounds = [(None if name in SIGNED else 0, None) for name in scored] * len(KNOTS)
    optimum, _ = _minimum(lambda flat: likelihood.penalised(flat, prior), start, bounds, TOLERANCE)
    weights = optimum.reshape(len(KNOTS), -1).astype(np.float32)
    scale, shift = likelihood.calibrated(weights)
    weights *= scale / np.where(spread > 0, spread, np.float32(1))
    return Fusion(tuple(scored), weights, shift, spread)


def log_loss(scored: Sequence[tuple[Floats, Floats]], held_out: HeldOut, start: Doubles) -> tuple[float, Doubles]:
    """The least mean softmax loss, in nats, of some features with weights of at least 0, the same for all users.

    Args:
        scored: each feature's scores, as for ``fit``.
        held_out: the purchases.
        start: weights near those of the least loss, (F,).

    Returns:
        The loss, and its weights, (F,).
    """
    likelihood, _ = _Likelihood.of(scored, held_out)

    def loss(weights: Doubles) -> tuple[float, Doubles]:
        value, gradient = likelihood.loss(np.tile(weights.astype(np.float32), (len(held_out.knots), 1)))
        return value, gradient.sum(axis=0, dtype=np.float64)

    weights, least = _minimum(loss, start, [(0, None)] * len(scored), TOLERANCE)
    return least / max(len(held_out.bought), 1), weights


def _minimum(
    loss: Callable[[Doubles], tuple[float, Doubles]],
    start: Doubles,
    bounds: Sequence[tuple[int | None, int | None]],
    tolerance: float | None = None,
) -> tuple[Doubles, float]:
    """Where a loss, which also gives its gradient, is least, and how much it is there."""
    from scipy.optimize import minimize  # noqa: PLC0415  takes a moment to import, and a fitted model does not need it

    optimum = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, tol=tolerance)
    return optimum.x, float(optimum.fun)


def _expit(logits: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The probabilities of log-odds."""
    from scipy.special import expit  # noqa: PLC0415  as above

    return expit(logits)


def _spread(scores: Floats) -> float:
    """The root mean variance of each user's scores, over the users whose scores differ by more than rounding."""
    variance = scores.var(axis=1, dtype=np.float64)
    differ = variance > (ROUNDING * (1 + np.abs(scores).max(axis=1, initial=0))) ** 2
    return float(np.sqrt(variance[differ].mean())) if differ.any() else 0.0


@dataclass(frozen=True)
class _Likelihood:
    """The likelihood of weights, for features in units of their spread."""

    held_out: HeldOut
    others: Floats
    """(B, F, N): a feature's scores lie together, which halves the time of the products."""
    bought: Floats
    """(P, F)."""

    @classmethod
    def of(cls, scored: Sequence[tuple[Floats, Floats]], held_out: HeldOut) -> tuple[_Likelihood, Floats]:
        """From scores in any unit; also their spreads, (F,), 0 where a feature gives all items the same score."""
        spread = np.array([_spread(others) for others, _ in scored], np.float32)
        scale = np.where(spread > 0, spread, 1)
        others = np.stack([other / unit for (other, _), unit in zip(scored, scale, strict=True)], axis=1)
        bought = np.stack(
            [bought_scores / unit for (_, bought_scores), unit in zip(scored, scale, strict=True)], axis=1
        )
        return cls(held_out, others, bought), spread

    def penalised(self, flat: Doubles, prior: Doubles) -> tuple[float, Doubles]:
        """The loss of flattened weights (K, F) with penalties for the distance to prior and mean, and its gradient."""
        weights, knots = flat.reshape(len(KNOTS), -1), self.held_out.knots
        loss, user_gradient = self.loss(knots @ weights.astype(np.float32))
        gradient = knots.T.astype(np.float64) @ user_gradient
        mean = weights.mean(axis=0)
        from_mean, from_prior = weights - mean, mean - prior
        loss += (TO_COMMON * (from_mean**2).sum() + TO_PRIOR * (from_prior**2).sum()) / 2
        gradient += TO_COMMON * from_mean + TO_PRIOR * from_prior / len(KNOTS)
        return loss, gradient.reshape(-1)

    def loss(self, weights: Floats) -> tuple[float, Floats]:
        """Σ −log softmax over the held-out purchases, for each user's weights (B, F), and its gradient (B, F)."""
        rows = self.held_out.rows
        scores, bought_score = self.scores(weights)
        largest = scores.max(axis=1, keepdims=True, initial=-1e30)
        share = np.exp(np.subtract(scores, largest, out=scores), out=scores)
        summed = share.sum(axis=1, keepdims=True)
        rest = np.log(np.maximum(summed, 1e-30)) + largest + self.held_out.shift
        gap = rest[rows, 0] - bought_score
        miss_probability = _expit(gap)  # the probability of all other items together
        pull = np.bincount(rows, miss_probability, minlength=len(weights)).astype(np.float32)
        gradient = np.matmul(self.others, share[:, :, None])[:, :, 0] * (pull[:, None] / np.maximum(summed, 1e-30))
        np.subtract.at(gradient, rows, self.bought * miss_probability[:, None].astype(np.float32))
        return float(np.logaddexp(0, gap).sum()), gradient

    def scores(self, weights: Floats) -> tuple[Floats, Floats]:
        """Scores of the sampled items, −inf where hidden, (B, N), and of those bought, (P,), for weights (B, F)."""
        others = np.matmul(weights[:, None, :], self.others)[:, 0]
        np.copyto(others, -np.inf, where=self.held_out.hidden)
        return others, np.einsum("pf,pf->p", self.bought, weights[self.held_out.rows])

    def calibrated(self, weights: Floats) -> tuple[np.float32, Floats]:
        """The scale, and the shift at each knot, (K,), that make the scores of weights (K, F) log-odds of a purchase.

        The shifts are pulled towards their common value, so that few purchases change them little.
        """
        held_out = self.held_out
        others, bought = self.scores(held_out.knots @ weights)
        start = np.array([1.0, -np.log(max(len(held_out.sampled), 1)) - held_out.shift, *np.zeros(len(KNOTS))])
        scale, shift, *of_knots = _platt(others, bought, held_out, start) if len(bought) else start
        return np.float32(scale), (shift + np.array(of_knots)).astype(np.float32)


def _platt(others: Floats, bought: Floats, held_out: HeldOut, start: Doubles) -> Doubles:
    """Scale (at least 0), shift, and what each knot adds to the shift, of the most likely probabilities; (2 + K,).

    Args:
        others: scores of sampled items that were not bought, −inf where there is none; (B, N).
        bought: scores of items that were, (P,).
        held_out: where they come from.
        start: where the search starts, (2 + K,).
    """
    knots, items_each, shown = held_out.knots.astype(np.float64), np.exp(held_out.shift), np.isfinite(others)
    score = bought.astype(np.float64)
    not_bought = np.where(shown, others, 0)

    def loss(parameters: Doubles) -> tuple[float, Doubles]:
        scale, of_knots = parameters[0], parameters[2:]
        user_shift = parameters[1] + knots @ of_knots
        odds = np.float32(scale) * not_bought
        odds += user_shift.astype(np.float32)[:, None]
        odds = np.exp(np.minimum(odds, LARGEST_LOGIT, out=odds), out=odds)
        odds *= shown
        bought_logits = scale * score + user_shift[held_out.rows]
        down = _expit(-bought_logits)
        total = items_each * np.log(1 + odds).sum(dtype=np.float64) + np.logaddexp(0, -bought_logits).sum()
        missed = np.divide(odds, 1 + odds, out=odds)
        by_user = items_each * missed.sum(axis=1, dtype=np.float64) - np.bincount(held_out.rows, down, len(knots))
        along = items_each * np.einsum("bn,bn->b", missed, not_bought).sum(dtype=np.float64)
        gradient = np.concatenate([[along - down @ score, by_user.sum()], by_user @ knots])
        gradient[2:] += TO_PRIOR * of_knots
        return float(total + TO_PRIOR * (of_knots**2).sum() / 2), gradient

    bounds = [(0, None)] + [(None, None)] * (1 + len(KNOTS))
    optimum, _ = _minimum(loss, start, bounds, TOLERANCE)
    return optimum
