"""One score from the features of several scorers: how much each counts, for users with how much target history.

logit(u, i) = Σ weight(group of u, f) · f(u, i) + shift(group of u). The weights maximise the likelihood of held-out
purchases under a softmax over the catalogue, which is convex. A scale and a shift of each group then turn its logits
into those of a probability, which leaves the order of a user's items as it is.

Shapes: F features, G groups, B users, N sampled items, Q questions (a held-out purchase each).
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

GROUPS = (0, 1, 3, 6)
"""The least target purchases of each group of users."""
Doubles = npt.NDArray[np.float64]

QUESTIONS, SAMPLED = 3_000, 2_000
"""Held-out purchases, and items that each is compared with, at most; 24 MB a feature."""
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
"""What a feature is worth before any question is seen, in standard deviations; others nothing."""
ROUNDING = 1e-6
"""Of float32 scores. In units of a spread that is nothing else, a weight would be as much too large as it is small."""
SIGNED = frozenset({"sales", "recent_sales", "unsold", "tag_sales"})
"""Features whose weights may be negative."""
ENOUGH = 1e-7
"""An optimisation ends where a step makes the loss smaller by less than this share."""
TO_PRIOR, TO_COMMON = 10.0, 100.0
"""Strength of the pull of the mean weights to their prior, and of each group's weights to the mean: what it costs, in
nats, that a weight is 1.4 away."""


@dataclass(frozen=True)
class Questions:
    """Held-out purchases, each to be found among the same sampled items."""

    users: Ragged
    """The histories of the users who are asked, B lists."""
    tags: Ragged
    group: Ints
    """Of each user, (B,), ascending."""
    rows: Ints
    """The user of each question, (Q,)."""
    bought: Ints
    """The item of each question, (Q,)."""
    sampled: Ints
    """Candidates, (N,)."""
    hidden: Bools
    """Where a sampled item is in the user's history, or bought itself; (B, N)."""
    shift: float
    """Logarithm of how many candidates each sampled one stands for."""

    @classmethod
    def of(
        cls,
        histories: Histories,
        cases: Cases,
        candidates: Ints,
        mask_seen: bool,
        seed: int,
        users: int = QUESTIONS,
        sampled_items: int = SAMPLED,
    ) -> Questions:
        """Some of the cases, and some of the candidates where there are many.

        Without any case it is users as they were in training, of whom nothing is asked: how far the features' scores
        of a user differ is to be known all the same.
        """
        rng = np.random.default_rng(seed)
        if not cases.count:
            nothing = Ragged(np.empty(0, np.int64), np.zeros(histories.users, np.int64))
            cases = Cases(np.arange(histories.users), histories.train_lengths, nothing)
        group = group_of(histories.target_lengths(cases.users, cases.history_lengths))
        asked = rng.permutation(cases.count)[:users]
        asked = asked[np.argsort(group[asked], kind="stable")]
        cases, group = cases.of(asked), group[asked]
        sampled = candidates
        if len(candidates) > sampled_items:
            sampled = np.sort(rng.choice(candidates, sampled_items, replace=False))
        given = histories.items.take(cases.users, cases.history_lengths)
        number = numbered(sampled, len(histories.item_stats.is_target))
        hidden = np.zeros((len(asked), len(sampled)), bool)
        for lists in [given, cases.truth] if mask_seen else [cases.truth]:
            there = lists.where(number[lists.values] >= 0)
            hidden[there.rows, number[there.values]] = True
        rows, bought = cases.truth.rows, cases.truth.values
        if mask_seen:  # what was bought before cannot be found
            before = set(zip(given.rows.tolist(), given.values.tolist(), strict=True))
            new = np.array([pair not in before for pair in zip(rows.tolist(), bought.tolist(), strict=True)], bool)
            rows, bought = rows[new], bought[new]
        shift = float(np.log(len(candidates) / len(sampled)))
        return cls(given, histories.tags.take(cases.users), group, rows, bought, sampled, hidden, shift)

    def scores(self, scorer: Scorer, feature: Feature) -> tuple[Floats, Floats]:
        """A feature's scores of the sampled items, (B, N), and of the items that were bought, (Q,)."""
        users = feature.user_vectors(self.users, self.tags)
        own = row_products(users[self.rows], scorer.item_vectors[self.bought])
        return products(users, scorer.item_vectors[self.sampled]), own


def group_of(target_lengths: Ints) -> Ints:
    """The group of users with so many purchases in the target."""
    return np.searchsorted(GROUPS, target_lengths, side="right") - 1


@dataclass(frozen=True)
class Fusion:
    """How much each feature counts."""

    features: tuple[str, ...]
    weights: Floats
    """(G, F); a feature's score times its weight is in log-odds."""
    shift: Floats
    """(G,)."""
    spread: Floats
    """Standard deviation of a feature's scores over a user's candidates, (F,): times the weight, what it decides."""


def fit(scored: Mapping[str, tuple[Floats, Floats]], questions: Questions) -> Fusion:
    """The weights under which the held-out purchases are most likely, calibrated.

    Args:
        scored: by its name each feature's scores of the sampled and of the bought items, from ``Questions.scores``.
        questions: what was asked; without any the weights are the prior's.
    """
    likelihood, spread = _Likelihood.of(list(scored.values()), questions)
    prior = np.array([PRIOR.get(name, 0.0) for name in scored])
    start = np.tile(prior, len(GROUPS))
    bounds = [(None if name in SIGNED else 0, None) for name in scored] * len(GROUPS)
    found = scipy.optimize.minimize(
        likelihood.penalised, start, args=(prior,), jac=True, method="L-BFGS-B", bounds=bounds, tol=ENOUGH
    )
    weights = found.x.reshape(len(GROUPS), -1).astype(np.float32)
    slope, shift = likelihood.calibrated(weights)
    weights *= slope[:, None] / np.where(spread > 0, spread, np.float32(1))
    return Fusion(tuple(scored), weights, shift, spread)


def log_loss(scored: Sequence[tuple[Floats, Floats]], questions: Questions) -> float:
    """The least mean loss of the softmax in nats that some features reach by weights of at least 0, alike for all."""
    likelihood, _ = _Likelihood.of(scored, questions)

    def loss(weights: Doubles) -> tuple[float, Doubles]:
        value, gradient = likelihood.loss(np.tile(weights, (len(GROUPS), 1)))
        return value, gradient.sum(axis=0)

    start, bounds = np.full(len(scored), 0.2), [(0, None)] * len(scored)
    found = scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, tol=ENOUGH)
    return float(found.fun) / max(len(questions.bought), 1)


def _spread(scores: Floats) -> float:
    """The root mean variance of each user's scores, over the users for whom they differ by more than rounding."""
    variance = scores.var(axis=1, dtype=np.float64)
    differ = variance > (ROUNDING * (1 + np.abs(scores).max(axis=1, initial=0))) ** 2
    return float(np.sqrt(variance[differ].mean())) if differ.any() else 0.0


@dataclass(frozen=True)
class _Likelihood:
    """Of weights (G, F), given features in units of their spread."""

    questions: Questions
    others: Floats
    """(B, N, F)."""
    bought: Floats
    """(Q, F)."""

    @classmethod
    def of(cls, scored: Sequence[tuple[Floats, Floats]], questions: Questions) -> tuple[_Likelihood, Floats]:
        """From scores in any unit; and their spreads, (F,), 0 where a feature tells no items apart."""
        spread = np.array([_spread(others) for others, _ in scored], np.float32)
        scale = np.where(spread > 0, spread, 1)
        others = np.stack([other / by for (other, _), by in zip(scored, scale, strict=True)], axis=2)
        bought = np.stack([own / by for (_, own), by in zip(scored, scale, strict=True)], axis=1)
        return cls(questions, others, bought), spread

    def penalised(self, flat: Doubles, prior: Doubles) -> tuple[float, Doubles]:
        """The loss of flattened weights with what it costs to be unlike the prior and each other, and its gradient."""
        weights = flat.reshape(len(GROUPS), -1)
        loss, gradient = self.loss(weights)
        mean = weights.mean(axis=0)
        apart, away = weights - mean, mean - prior
        loss += (TO_COMMON * (apart**2).sum() + TO_PRIOR * (away**2).sum()) / 2
        gradient += TO_COMMON * apart + TO_PRIOR * away / len(GROUPS)
        return loss, gradient.reshape(-1)

    def loss(self, weights: Doubles) -> tuple[float, Doubles]:
        """Σ −log softmax over the questions, and its gradient (G, F)."""
        total, gradient = 0.0, np.zeros(weights.shape)
        group, rows = self.questions.group, self.questions.rows
        for number, weight in enumerate(weights.astype(np.float32)):
            begin, end = np.searchsorted(group, [number, number + 1])
            first, last = np.searchsorted(rows, [begin, end])
            if first == last:
                continue
            others = self.others[begin:end].reshape(-1, weights.shape[1])
            scores = (others @ weight).reshape(end - begin, -1)
            scores[self.questions.hidden[begin:end]] = -np.inf
            largest = scores.max(axis=1, keepdims=True, initial=-1e30)
            share = np.exp(scores - largest)
            summed = share.sum(axis=1, keepdims=True)
            rest = np.log(np.maximum(summed, 1e-30)) + largest + self.questions.shift
            row, own = rows[first:last] - begin, self.bought[first:last] @ weight
            behind = rest[row, 0] - own
            total += float(np.logaddexp(0, behind).sum())
            missed = scipy.special.expit(behind)  # the probability of all other items together
            pull = np.bincount(row, missed, minlength=end - begin).astype(np.float32)
            share *= pull[:, None] / np.maximum(summed, 1e-30)
            gradient[number] = others.T @ share.reshape(-1) - self.bought[first:last].T @ missed
        return total, gradient

    def calibrated(self, weights: Floats) -> tuple[Floats, Floats]:
        """Scale and shift of each group, (G,) each, that make its scores the log-odds of a purchase.

        Each group's are pulled towards those of all together, which few questions would not change.
        """
        flat, questions = weights[self.questions.group], self.questions
        others = np.where(questions.hidden, -np.inf, np.einsum("bnf,bf->bn", self.others, flat))
        bought = np.einsum("qf,qf->q", self.bought, flat[questions.rows])
        start = np.array([1.0, -np.log(max(len(questions.sampled), 1)) - questions.shift])
        if not len(bought):
            scale, shift = np.repeat(start.astype(np.float32)[:, None], len(GROUPS), axis=1)
            return scale, shift
        common = _platt(others, bought, questions.shift, start, 0.0)
        found = []
        for number in range(len(GROUPS)):
            ours = questions.group == number
            found.append(_platt(others[ours], bought[ours[questions.rows]], questions.shift, common, TO_PRIOR))
        scale, shift = np.array(found, np.float32).T
        return scale, shift


def _platt(others: Floats, bought: Floats, shift: float, prior: Doubles, pull: float) -> Doubles:
    """Scale (at least 0) and shift of the most likely σ(scale · score + shift), with a pull towards a prior; (2,).

    Args:
        others: scores of sampled items that were not bought, −inf where there is none; (B, N).
        bought: scores of items that were, (Q,).
        shift: logarithm of how many items each sampled one stands for.
        prior: (2,).
        pull: its strength.
    """
    there = others[np.isfinite(others)].astype(np.float64)
    each = np.exp(shift)

    def loss(chosen: Doubles) -> tuple[float, Doubles]:
        no, yes = (chosen[0] * scores + chosen[1] for scores in (there, bought))
        total = each * np.logaddexp(0, no).sum() + np.logaddexp(0, -yes).sum()
        up, down = each * scipy.special.expit(no), scipy.special.expit(-yes)
        away = chosen - prior
        gradient = np.array([up @ there - down @ bought, up.sum() - down.sum()])
        return float(total + pull * (away**2).sum() / 2), gradient + pull * away

    found: Doubles = scipy.optimize.minimize(
        loss, prior, jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)]
    ).x
    return found
