"""Several scorers as one: fitted on validation; it scores candidates and splits a score into its parts.

The scorers' vectors, concatenated, are one for a user and one for an item. Their product, with a shift for the
user, is the log-odds of a purchase.

Shapes: B users, C candidates, H interactions of all their histories, k items listed for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import torch
from scipy.sparse import csr_array, hstack
from torch import Tensor

from crossrec_cli.models.base import Domain, NewItems, Scorer, TrainedTexts, TrainingData, VectorParts
from crossrec_cli.models.fusion import Fusion, HeldOut, fit, knot_shares
from crossrec_cli.models.histories import Cases, purchases_in
from crossrec_cli.models.history_sums import HistorySums
from crossrec_cli.models.popularity import sales
from crossrec_cli.models.ragged import Bools, Ints, Ragged
from crossrec_cli.models.scorers import NEW_VECTORS, SCORERS, choose
from crossrec_cli.models.vectors import Floats, Matrix, columns, multiplied
from crossrec_cli.models.whitening import Whitening

Sums = Mapping[str, HistorySums | None]
"""By scorer, the sums of some histories."""
SELECTION_SIZE = 1_000
"""Users, and items, that are enough to choose a variant; the weights are fitted to more."""


@dataclass(frozen=True)
class ScoreParts:
    """The parts of the scores of some users' listed items."""

    history: Mapping[str, Floats]
    """By scorer, what each interaction adds, (H, k)."""
    falls: Floats
    """The fall of a score without each interaction, (H, k)."""
    total: Mapping[str, Floats]
    """By scorer, its part of the score, (B, k)."""
    shift: Floats
    """The shift of each user, added to all of the user's scores, (B,)."""

    @cached_property
    def logits(self) -> Floats:
        """The scores, (B, k)."""
        logits: Floats = np.sum(list(self.total.values()), axis=0) + self.shift[:, None]
        return logits


@dataclass(frozen=True)
class FusedModel:
    """Scorers, and the weight of each of their features."""

    scorers: Sequence[Scorer]
    fusion: Fusion
    is_target: Bools
    """The items to recommend, (I,)."""
    whitening: Whitening
    """How text embeddings are whitened."""

    @classmethod
    def fitted(
        cls,
        names: Sequence[str],
        data: TrainingData,
        valid: Cases,
        candidates: Ints,
        mask_seen: bool,
        seed: int,
        trained: Sequence[Scorer] = (),
    ) -> FusedModel:
        """Choose the best variants of the named scorers, and fit the weights of these and the trained ones.

        Args:
            names: of ``SCORERS``.
            data: what they may learn from.
            valid: held-out purchases that were used to choose nothing else.
            candidates: item indices, int64 (C,).
            mask_seen: whether items in the user's history are excluded.
            seed: of the sampling, and of the scorers.
            trained: further scorers, as they are.
        """
        return Fitting(data, valid, candidates, mask_seen, seed).model(names, trained)

    @classmethod
    def weighed(cls, scorers: Sequence[Scorer], data: TrainingData, held_out: HeldOut) -> FusedModel:
        """Fit the weights of scorers on held-out purchases."""
        scored = {one.name: held_out.scores(scorer, one) for scorer in scorers for one in scorer.features}
        return cls(scorers, fit(scored, held_out), data.is_target, data.whitening)

    def refitted(self, data: TrainingData, seed: int, trained: Sequence[Scorer] = ()) -> FusedModel:
        """The same variants, decays and weights, with scorers that learned from more data; trained ones are given."""
        learned = {scorer.name: scorer for scorer in trained}
        scorers = [
            learned.get(scorer.name) or scorer.like(SCORERS[scorer.name](data, seed)[scorer.variant])
            for scorer in self.scorers
        ]
        return replace(self, scorers=scorers, is_target=data.is_target)

    @property
    def names(self) -> list[str]:
        """The scorers' names."""
        return [scorer.name for scorer in self.scorers]

    @cached_property
    def text_vectors(self) -> Floats | None:
        """Whitened text embeddings, (I, r); None where texts are not scored."""
        text_scorers = [scorer.item_vectors for scorer in self.scorers if scorer.name == "text"]
        return np.asarray(text_scorers[0]) if text_scorers else None

    def new_vectors(self, items: pa.Table, embeddings: Floats) -> dict[str, Matrix]:
        """Each scorer's vectors of items that came after training.

        Args:
            items: rows of ``schemas.ITEMS``, n of them.
            embeddings: of their texts, (n, width).
        """
        trained = None if self.text_vectors is None else TrainedTexts(self.text_vectors, self.is_target)
        new = NewItems(items, self.whitening.directions(embeddings, items), trained)
        return {scorer.name: NEW_VECTORS[scorer.name](scorer, new) for scorer in self.scorers}

    def candidate_scorer(self, candidates: Ints) -> CandidateScorer:
        """Scores some items for any user; ``candidates`` is int64 (C,)."""
        return self.scorer_of({scorer.name: scorer.item_vectors[candidates] for scorer in self.scorers})

    def scorer_of(self, vectors: Mapping[str, Matrix]) -> CandidateScorer:
        """Scores items for any user, by their vectors as each scorer has them, (C, d)."""
        return CandidateScorer(self, concatenated([vectors[scorer.name] for scorer in self.scorers]))

    def user_vectors(self, histories: Ragged, tags: Ragged) -> list[Matrix]:
        """Weighted, for each scorer (B, d)."""
        knots = self._knots(histories)
        return [scorer.user_vectors(knots @ weights, histories, tags) for scorer, weights in self._weights()]

    def sums(self, histories: Ragged) -> Sums:
        """What ``vector_parts`` and ``score_parts`` share."""
        return {scorer.name: scorer.sums(histories) for scorer in self.scorers}

    def vector_parts(self, histories: Ragged, tags: Ragged, domain: Domain, sums: Sums) -> list[VectorParts]:
        """``user_vectors``, and what of them comes from one domain."""
        knots = self._knots(histories)
        return [
            scorer.vector_parts(knots @ weights, histories, tags, domain, sums[scorer.name])
            for scorer, weights in self._weights()
        ]

    def shift(self, histories: Ragged) -> Floats:
        """The shift of each user's scores, (B,)."""
        return self._knots(histories) @ self.fusion.shift

    def score_parts(self, histories: Ragged, tags: Ragged, listed: Ints, sums: Sums | None = None) -> ScoreParts:
        """The parts of the scores of the items listed for each user, int64 (B, k).

        A fall counts that with one target purchase fewer other weights and another shift apply.
        """
        bought, rows = (self.is_target[histories.values] & histories.liked)[:, None], histories.rows
        knots, shorter, sums = self._knots(histories), self._knots(histories, fewer=1), sums or self.sums(histories)
        without, fewer = np.where(bought, shorter[rows], knots[rows]), knots - shorter
        history, total, falls = {}, {}, np.zeros((len(rows), listed.shape[1]), np.float32)
        change = np.repeat(fewer @ self.fusion.shift, listed.shape[1]).reshape(listed.shape)
        for scorer, weights in self._weights():
            of_users = knots @ weights
            of_scorer = sums[scorer.name]
            scores, parts = scorer.explained(of_users, without @ weights, histories, tags, listed, of_scorer)
            total[scorer.name] = np.einsum("bkf,bf->bk", scores, of_users)
            change += np.einsum("bkf,bf->bk", scores, fewer @ weights)
            history[scorer.name] = parts.added
            falls += parts.falls
        falls += np.where(bought, change[rows], np.float32(0))
        return ScoreParts(history, falls, total, knots @ self.fusion.shift)

    def _weights(self) -> Iterator[tuple[Scorer, Floats]]:
        """Each scorer with the weights of its features at each knot, (K, F)."""
        number = 0
        for scorer in self.scorers:
            yield scorer, self.fusion.weights[:, number : number + len(scorer.features)]
            number += len(scorer.features)

    def _knots(self, histories: Ragged, fewer: int = 0) -> Floats:
        """``fusion.knot_shares`` of each user, (B, K), with so many fewer purchases in the target."""
        return knot_shares(np.maximum(purchases_in(histories, self.is_target) - fewer, 0))


@dataclass(frozen=True)
class Fitting:
    """Chooses scorers and weighs them, for several models alike: what these share is computed once."""

    data: TrainingData
    """What scorers may learn from."""
    valid: Cases
    """Held-out purchases that were used to choose nothing else."""
    candidates: Ints
    """Item indices, int64 (C,)."""
    mask_seen: bool
    """Whether items in the user's history are excluded."""
    seed: int
    """Of the sampling, and of the scorers."""
    learned: Sequence[Scorer] = ()
    """Scorers whose decays were chosen by the same purchases, and are not chosen again."""
    chosen: dict[str, Scorer] = field(default_factory=dict)
    """By name, so far."""

    def model(self, names: Sequence[str], trained: Sequence[Scorer] = ()) -> FusedModel:
        """The best variants of the named scorers, and the trained ones, with their weights."""
        scorers = [self._choice(name) for name in names]
        return FusedModel.weighed([*scorers, *trained], self.data, self._held_out)

    def _choice(self, name: str) -> Scorer:
        if name not in self.chosen:
            base, decided = sales(self.data), {scorer.name: scorer for scorer in self.learned}
            variants = SCORERS[name](self.data, self.seed)
            self.chosen[name] = choose(variants, self._selection, (base, base.features[0]), decided.get(name))
        return self.chosen[name]

    @cached_property
    def _held_out(self) -> HeldOut:
        return HeldOut.of(self.data.histories, self.valid, self.candidates, self.mask_seen, self.seed)

    @cached_property
    def _selection(self) -> HeldOut:
        """The users, and items, by which variants and decays are chosen."""
        sources = self.data.histories, self.valid, self.candidates, self.mask_seen, self.seed
        return HeldOut.of(*sources, users=SELECTION_SIZE, sampled_items=SELECTION_SIZE)


@dataclass(frozen=True)
class CandidateScorer:
    """Scores candidates: a ``ranking.topk.ScoreFunction``."""

    fused: FusedModel
    vectors: list[Matrix]
    """The candidates' dense vectors, (C, D), and their sparse ones, (C, V), where there are any."""

    def __call__(self, histories: Ragged, tags: Ragged) -> Tensor:
        """Logits, float32 (B, C)."""
        return self.logits(self.user_blocks(histories, tags), self.fused.shift(histories))

    def logits(self, users: Sequence[Matrix], shift: Floats) -> Tensor:
        """Logits, float32 (B, C), from the users' vectors as in ``user_blocks``, and their shifts, (B,)."""
        logits, *more = (multiplied(*blocks) for blocks in zip(users, self._columns, strict=True))
        for part in more:
            logits += part
        logits += shift[:, None]
        return torch.from_numpy(logits)

    @cached_property
    def _columns(self) -> list[Matrix]:
        return [columns(block) for block in self.vectors]

    def user_blocks(self, histories: Ragged, tags: Ragged) -> list[Matrix]:
        """The users' vectors, of the same blocks as ``vectors``: (B, D), (B, V)."""
        return concatenated(self.fused.user_vectors(histories, tags))


def concatenated(matrices: Sequence[Matrix]) -> list[Matrix]:
    """The columns of all dense matrices in one, and those of all sparse ones in another."""
    dense = [matrix for matrix in matrices if isinstance(matrix, np.ndarray)]
    sparse = [matrix for matrix in matrices if not isinstance(matrix, np.ndarray)]
    blocks: list[Matrix] = [np.concatenate(dense, axis=1)] if dense else []
    return [*blocks, csr_array(hstack(sparse))] if sparse else blocks
