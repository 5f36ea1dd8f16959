"""One score from the features of several scorers: weights for each group of users, by length of target history.

logit(u, i) = Σ weight(group of u, f) · f(u, i) + shift(group of u). The weights maximise the likelihood of held-out
purchases under a softmax over the catalogue; this is convex. A scale and a shift of each group then turn its logits
into those of a probability; the order of a user's items does not change.

Shapes: F features, G groups, B users, N sampled items, P held-out purchases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.optimize
import scipy.special

from crossrec_cli.models.base import Feature, Floats, Scorer, products, row_products
from crossrec_cli.models.histories import Cases, Histories
from crossrec_cli.models.ragged import Bools, Ints, Ragged, numbered

TARGET_LENGTHS = (0, 1, 3, 6)
"""Fewest target purchases in the history of each group of users; they are also segments of the evaluation."""
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
    "neural": 0.3,
}
"""A feature's weight before any held-out purchase is seen, per standard deviation of its scores; others 0."""
ROUNDING = 1e-6
"""Relative rounding error of float32 scores; a spread that is only rounding would make weights far too large."""
SIGNED = frozenset({"sales", "recent_sales", "unsold", "tag_sales"})
"""Features whose weights may be negative."""
TOLERANCE = 1e-7
"""An optimisation ends where a step makes the loss smaller by less than this share."""
TO_PRIOR, TO_COMMON = 10.0, 100.0
"""Strength of the pull of the mean weights to their prior, and of each group's weights to the mean: what it costs, in
nats, that a weight is 1.4 away."""


@dataclass(frozen=True)
class HeldOut:
    """Held-out purchases, each to be ranked among the same sampled candidates."""

    users: Ragged
    """The users' histories before the held-out purchases, B lists."""
    tags: Ragged
    group: Ints
    """The group of each user, (B,), ascending."""
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
        group = group_of(histories.target_lengths(cases.users, cases.history_lengths))
        chosen = rng.permutation(cases.count)[:users]
        chosen = chosen[np.argsort(group[chosen], kind="stable")]
        cases, group = cases.of(chosen), group[chosen]
        sampled = candidates
        if len(candidates) > sampled_items:
            sampled = np.sort(rng.choice(candidates, sampled_items, replace=False))
        seen = histories.items.take(cases.users, cases.history_lengths)
        number = numbered(sampled, len(histories.item_stats.is_target))
        hidden = np.zeros((len(chosen), len(sampled)), bool)
        for lists in [seen, cases.truth] if mask_seen else [cases.truth]:
            sampled_there = lists.where(number[lists.values] >= 0)
            hidden[sampled_there.rows, number[sampled_there.values]] = True
        rows, bought = cases.truth.rows, cases.truth.values
        if mask_seen:  # items of the history are not ranked
            seen_pairs = set(zip(seen.rows.tolist(), seen.values.tolist(), strict=True))
            is_new = np.array(
                [pair not in seen_pairs for pair in zip(rows.tolist(), bought.tolist(), strict=True)], bool
            )
            rows, bought = rows[is_new], bought[is_new]
        shift = float(np.log(len(candidates) / len(sampled)))
        return cls(seen, histories.tags.take(cases.users), group, rows, bought, sampled, hidden, shift)

    def scores(self, scorer: Scorer, feature: Feature) -> tuple[Floats, Floats]:
        """A feature's scores of the sampled items, (B, N), and of the items that were bought, (P,)."""
        users = feature.user_vectors(self.users, self.tags)
        bought_scores = row_products(users[self.rows], scorer.item_vectors[self.bought])
        return products(users, scorer.item_vectors[self.sampled]), bought_scores


def group_labels(starts: Sequence[int] = TARGET_LENGTHS) -> list[str]:
    """``0``, ``1-2``, ``3-5``, ``6+``, from the least number of each group."""
    ends = [start - 1 for start in starts[1:]]
    labels = [f"{start}" if start == end else f"{start}-{end}" for start, end in zip(starts, ends, strict=False)]
    return [*labels, f"{starts[-1]}+"]


def group_of(target_lengths: Ints) -> Ints:
    """The group of users with so many purchases in the target."""
    return np.searchsorted(TARGET_LENGTHS, target_lengths, side="right") - 1


@dataclass(frozen=True)
class Fusion:
    """The weight of each feature."""

    features: tuple[str, ...]
    weights: Floats
    """(G, F); a feature's score times its weight is in log-odds."""
    shift: Floats
    """(G,)."""
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
    start = np.tile(prior, len(TARGET_LENGTHS))
    bounds = [(None if name in SIGNED else 0, None) for name in scored] * len(TARGET_LENGTHS)
    optimum = scipy.optimize.minimize(
        likelihood.penalised, start, args=(prior,), jac=True, method="L-BFGS-B", bounds=bounds, tol=TOLERANCE
    )
    weights = optimum.x.reshape(len(TARGET_LENGTHS), -1).astype(np.float32)
    slope, shift = likelihood.calibrated(weights)
    weights *= slope[:, None] / np.where(spread > 0, spread, np.float32(1))
    return Fusion(tuple(scored), weights, shift, spread)


def log_loss(scored: Sequence[tuple[Floats, Floats]], held_out: HeldOut) -> float:
    """The least mean softmax loss, in nats, of some features with weights of at least 0, the same for all groups."""
    likelihood, _ = _Likelihood.of(scored, held_out)

    def loss(weights: Doubles) -> tuple[float, Doubles]:
        value, gradient = likelihood.loss(np.tile(weights, (len(TARGET_LENGTHS), 1)))
        return value, gradient.sum(axis=0)

    start, bounds = np.full(len(scored), 0.2), [(0, None)] * len(scored)
    optimum = scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, tol=TOLERANCE)
    return float(optimum.fun) / max(len(held_out.bought), 1)


def _spread(scores: Floats) -> float:
    """The root mean variance of each user's scores, over the users whose scores differ by more than rounding."""
    variance = scores.var(axis=1, dtype=np.float64)
    differ = variance > (ROUNDING * (1 + np.abs(scores).max(axis=1, initial=0))) ** 2
    return float(np.sqrt(variance[differ].mean())) if differ.any() else 0.0


@dataclass(frozen=True)
class _Likelihood:
    """The likelihood of weights (G, F), for features in units of their spread."""

    held_out: HeldOut
    others: Floats
    """(B, N, F)."""
    bought: Floats
    """(P, F)."""

    @classmethod
    def of(cls, scored: Sequence[tuple[Floats, Floats]], held_out: HeldOut) -> tuple[_Likelihood, Floats]:
        """From scores in any unit; also their spreads, (F,), 0 where a feature gives all items the same score."""
        spread = np.array([_spread(others) for others, _ in scored], np.float32)
        scale = np.where(spread > 0, spread, 1)
        others = np.stack([other / unit for (other, _), unit in zip(scored, scale, strict=True)], axis=2)
        bought = np.stack(
            [bought_scores / unit for (_, bought_scores), unit in zip(scored, scale, strict=True)], axis=1
        )
        return cls(held_out, others, bought), spread

    def penalised(self, flat: Doubles, prior: Doubles) -> tuple[float, Doubles]:
        """The loss of flattened weights plus penalties for the distance to the prior and their mean; its gradient."""
        weights = flat.reshape(len(TARGET_LENGTHS), -1)
        loss, gradient = self.loss(weights)
        mean = weights.mean(axis=0)
        from_mean, from_prior = weights - mean, mean - prior
        loss += (TO_COMMON * (from_mean**2).sum() + TO_PRIOR * (from_prior**2).sum()) / 2
        gradient += TO_COMMON * from_mean + TO_PRIOR * from_prior / len(TARGET_LENGTHS)
        return loss, gradient.reshape(-1)

    def loss(self, weights: Doubles) -> tuple[float, Doubles]:
        """Σ −log softmax over the held-out purchases, and its gradient (G, F)."""
        total, gradient = 0.0, np.zeros(weights.shape)
        group, rows = self.held_out.group, self.held_out.rows
        for number, weight in enumerate(weights.astype(np.float32)):
            begin, end = np.searchsorted(group, [number, number + 1])
            first, last = np.searchsorted(rows, [begin, end])
            if first == last:
                continue
            others = self.others[begin:end].reshape(-1, weights.shape[1])
            scores = (others @ weight).reshape(end - begin, -1)
            scores[self.held_out.hidden[begin:end]] = -np.inf
            largest = scores.max(axis=1, keepdims=True, initial=-1e30)
            share = np.exp(scores - largest)
            summed = share.sum(axis=1, keepdims=True)
            rest = np.log(np.maximum(summed, 1e-30)) + largest + self.held_out.shift
            row, bought_score = rows[first:last] - begin, self.bought[first:last] @ weight
            gap = rest[row, 0] - bought_score
            total += float(np.logaddexp(0, gap).sum())
            miss_probability = scipy.special.expit(gap)  # the probability of all other items together
            pull = np.bincount(row, miss_probability, minlength=end - begin).astype(np.float32)
            share *= pull[:, None] / np.maximum(summed, 1e-30)
            gradient[number] = others.T @ share.reshape(-1) - self.bought[first:last].T @ miss_probability
        return total, gradient

    def calibrated(self, weights: Floats) -> tuple[Floats, Floats]:
        """Scale and shift of each group, (G,) each, that make its scores the log-odds of a purchase.

        Each group's are pulled towards those of all groups together, so that few purchases change them little.
        """
        weights_of_users, held_out = weights[self.held_out.group], self.held_out
        others = np.where(held_out.hidden, -np.inf, np.einsum("bnf,bf->bn", self.others, weights_of_users))
        bought = np.einsum("qf,qf->q", self.bought, weights_of_users[held_out.rows])
        start = np.array([1.0, -np.log(max(len(held_out.sampled), 1)) - held_out.shift])
        if not len(bought):
            scale, shift = np.repeat(start.astype(np.float32)[:, None], len(TARGET_LENGTHS), axis=1)
            return scale, shift
        common = _platt(others, bought, held_out.shift, start, 0.0)
        calibrations = []
        for number in range(len(TARGET_LENGTHS)):
            in_group = held_out.group == number
            calibrations.append(
                _platt(others[in_group], bought[in_group[held_out.rows]], held_out.shift, common, TO_PRIOR)
            )
        scale, shift = np.array(calibrations, np.float32).T
        return scale, shift


def _platt(others: Floats, bought: Floats, shift: float, prior: Doubles, pull: float) -> Doubles:
    """Scale (at least 0) and shift of the most likely σ(scale · score + shift), with a pull towards a prior; (2,).

    Args:
        others: scores of sampled items that were not bought, −inf where there is none; (B, N).
        bought: scores of items that were, (P,).
        shift: logarithm of the number of items that each sampled one represents.
        prior: (2,).
        pull: its strength.
    """
    not_bought = others[np.isfinite(others)].astype(np.float64)
    items_each = np.exp(shift)

    def loss(parameters: Doubles) -> tuple[float, Doubles]:
        not_bought_logits, bought_logits = (parameters[0] * scores + parameters[1] for scores in (not_bought, bought))
        total = items_each * np.logaddexp(0, not_bought_logits).sum() + np.logaddexp(0, -bought_logits).sum()
        up, down = items_each * scipy.special.expit(not_bought_logits), scipy.special.expit(-bought_logits)
        from_prior = parameters - prior
        gradient = np.array([up @ not_bought - down @ bought, up.sum() - down.sum()])
        return float(total + pull * (from_prior**2).sum() / 2), gradient + pull * from_prior

    optimum: Doubles = scipy.optimize.minimize(
        loss, prior, jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)]
    ).x
    return optimum
