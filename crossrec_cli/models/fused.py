"""Several scorers as one: fitted on validation, then scoring candidates and taking a score apart.

Shapes: B users, C candidates, H interactions of all their histories, k items listed for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from crossrec_cli.interest.batches import Bools, Cases, Ints, Ragged
from crossrec_cli.models.base import Feature, Floats, Matrix, Scorer, TrainingData, products, scaled_rows
from crossrec_cli.models.fusion import Fusion, Questions, fit, group_of
from crossrec_cli.models.popularity import sales
from crossrec_cli.models.scorers import SCORERS, choose

CHOOSING = 1_000
"""Users, and items, that suffice to choose a variant; the weights are fitted to more."""


@dataclass(frozen=True)
class Fused:
    """Scorers, and how much each of their features counts."""

    scorers: Sequence[Scorer]
    fusion: Fusion
    is_target: Bools

    @classmethod
    def fitted(
        cls, names: Sequence[str], data: TrainingData, valid: Cases, candidates: Ints, mask_seen: bool, seed: int
    ) -> Fused:
        """The named scorers in their best variants, weighed.

        Args:
            names: of ``SCORERS``.
            data: what they may learn from.
            valid: held-out purchases that chose nothing else.
            candidates: item indices, int64 (C,).
            mask_seen: whether what a user has is no candidate.
            seed: of what is sampled, and of the scorers.
        """
        asked = data.histories, valid, candidates, mask_seen, seed
        few = Questions.of(*asked, users=CHOOSING, sampled_items=CHOOSING)
        base = sales(data)
        scorers = [choose(SCORERS[name](data, seed), few, (base, base.features[0])) for name in names]
        questions = Questions.of(*asked)
        scored = {one.name: questions.scores(scorer, one) for scorer in scorers for one in scorer.features}
        return cls(scorers, fit(scored, questions), data.is_target)

    def among(self, candidates: Ints) -> FusedAmong:
        """What scores some items; int64 (C,)."""
        return FusedAmong(self, [scorer.item_vectors[candidates] for scorer in self.scorers])

    def weighted(self, histories: Ragged) -> Iterator[tuple[Scorer, list[tuple[Feature, Floats]]]]:
        """Each scorer with its features, and each feature with its weight for these users, (B,)."""
        group, number = self.groups(histories), 0
        for scorer in self.scorers:
            some = self.fusion.weights[group, number : number + len(scorer.features)]
            number += len(scorer.features)
            yield scorer, list(zip(scorer.features, some.T, strict=True))

    def groups(self, histories: Ragged) -> Ints:
        """By how much target history users have, (B,)."""
        return group_of(histories.where(self.is_target[histories.values]).lengths)

    def parts(self, histories: Ragged, tags: Ragged, listed: Ints) -> dict[str, Floats]:
        """By scorer, what each interaction adds to the logits of the items listed for its user, (H, k)."""
        found = {}
        for scorer, features in self.weighted(histories):
            parts = (weight[histories.rows, None] * one.parts(histories, tags, listed) for one, weight in features)
            found[scorer.name] = np.sum(list(parts), axis=0)
        return found


@dataclass(frozen=True)
class FusedAmong:
    """Scores candidates: a ``ranking.topk.Scorer``."""

    fused: Fused
    vectors: Sequence[Matrix]
    """Each scorer's, of the candidates."""

    def __call__(self, histories: Ragged, tags: Ragged) -> Tensor:
        """Logits, float32 (B, C)."""
        logits = self.fused.fusion.shift[self.fused.groups(histories)][:, None]
        for (_, features), vectors in zip(self.fused.weighted(histories), self.vectors, strict=True):
            users = [scaled_rows(feature.user_vectors(histories, tags), weight) for feature, weight in features]
            logits = logits + products(sum(users[1:], start=users[0]), vectors)
        return torch.from_numpy(logits)
