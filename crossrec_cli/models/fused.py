"""Several scorers as one: fitted on validation, then scoring candidates and taking a score apart.

Laid end to end the scorers' vectors are one for a user and one for an item, and their product, with a shift for the
user's group, is the log-odds of a purchase.

Shapes: B users, C candidates, H interactions of all their histories, k items listed for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import torch
from scipy.sparse import csr_array, hstack
from torch import Tensor

from crossrec_cli.models.base import (
    Feature,
    Floats,
    KnownTexts,
    Matrix,
    NewItems,
    Scorer,
    TrainingData,
    products,
    row_products,
    scaled_rows,
)
from crossrec_cli.models.fusion import Fusion, Questions, fit, group_of
from crossrec_cli.models.histories import Cases
from crossrec_cli.models.popularity import sales
from crossrec_cli.models.ragged import Bools, Ints, Ragged
from crossrec_cli.models.scorers import PLACE, SCORERS, choose
from crossrec_cli.models.whitening import Whitening

CHOOSING = 1_000
"""Users, and items, that suffice to choose a variant; the weights are fitted to more."""


@dataclass(frozen=True)
class Explained:
    """What the scores of some users' listed items are made of."""

    history: Mapping[str, Floats]
    """By scorer, what each interaction adds, (H, k)."""
    falls: Floats
    """By how much a score falls without each interaction, (H, k)."""
    whole: Mapping[str, Floats]
    """By scorer, all that it adds, (B, k)."""
    shift: Floats
    """What is added to everything of a user, (B,)."""

    @cached_property
    def logits(self) -> Floats:
        """The scores, (B, k)."""
        found: Floats = np.sum(list(self.whole.values()), axis=0) + self.shift[:, None]
        return found


@dataclass(frozen=True)
class Fused:
    """Scorers, and how much each of their features counts."""

    scorers: Sequence[Scorer]
    fusion: Fusion
    is_target: Bools
    """The items to recommend, (I,)."""
    whitening: Whitening
    """How texts are read."""

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
    ) -> Fused:
        """The named scorers in their best variants, and those that are trained already, weighed.

        Args:
            names: of ``SCORERS``.
            data: what they may learn from.
            valid: held-out purchases that chose nothing else.
            candidates: item indices, int64 (C,).
            mask_seen: whether what a user has is no candidate.
            seed: of what is sampled, and of the scorers.
            trained: further scorers, as they are.
        """
        asked = data.histories, valid, candidates, mask_seen, seed
        few = Questions.of(*asked, users=CHOOSING, sampled_items=CHOOSING)
        base = sales(data)
        scorers = [choose(SCORERS[name](data, seed), few, (base, base.features[0])) for name in names]
        return cls.weighed([*scorers, *trained], data, Questions.of(*asked))

    @classmethod
    def weighed(cls, scorers: Sequence[Scorer], data: TrainingData, questions: Questions) -> Fused:
        """Scorers as they are, weighed on held-out purchases."""
        scored = {one.name: questions.scores(scorer, one) for scorer in scorers for one in scorer.features}
        return cls(scorers, fit(scored, questions), data.is_target, data.whitening)

    def refitted(self, data: TrainingData, seed: int, trained: Sequence[Scorer] = ()) -> Fused:
        """The same variants, decays and weights, of scorers that learned from more; those trained are given."""
        again = {scorer.name: scorer for scorer in trained}
        scorers = [
            again.get(scorer.name) or scorer.like(SCORERS[scorer.name](data, seed)[scorer.variant])
            for scorer in self.scorers
        ]
        return replace(self, scorers=scorers)

    @property
    def names(self) -> list[str]:
        """The scorers' names."""
        return [scorer.name for scorer in self.scorers]

    @cached_property
    def text_vectors(self) -> Floats | None:
        """What the items' texts say, (I, r); None where texts are not scored."""
        found = [scorer.item_vectors for scorer in self.scorers if scorer.name == "text"]
        return np.asarray(found[0]) if found else None

    def placed(self, items: pa.Table, embeddings: Floats) -> dict[str, Matrix]:
        """Each scorer's vectors of items that came after training.

        Args:
            items: rows of ``schemas.ITEMS``, n of them.
            embeddings: of their texts, (n, width).
        """
        known = None if self.text_vectors is None else KnownTexts(self.text_vectors, self.is_target)
        new = NewItems(items, self.whitening.directions(embeddings, items), known)
        return {scorer.name: PLACE[scorer.name](scorer, new) for scorer in self.scorers}

    def among(self, candidates: Ints) -> FusedAmong:
        """What scores some items; int64 (C,)."""
        return FusedAmong(self, _laid_end_to_end([scorer.item_vectors[candidates] for scorer in self.scorers]))

    def user_vectors(self, histories: Ragged, tags: Ragged) -> list[Matrix]:
        """Weighted, for each scorer (B, d)."""
        found = []
        for _, features in self._weighted(histories):
            users = [scaled_rows(feature.user_vectors(histories, tags), weight) for feature, weight in features]
            found.append(sum(users[1:], start=users[0]))
        return found

    def shift(self, histories: Ragged) -> Floats:
        """What is added to all scores of users, (B,)."""
        return self.fusion.shift[self._groups(histories)]

    def explained(self, histories: Ragged, tags: Ragged, listed: Ints) -> Explained:
        """What the scores of the items listed for each user, int64 (B, k), are made of."""
        history, whole = {}, {}
        falls = np.zeros((len(histories.values), listed.shape[1]), np.float32)
        for scorer, features in self._weighted(histories):
            weights = [weight for _, weight in features]
            history[scorer.name], of_scorer = scorer.parts(weights, histories, tags, listed)
            falls += of_scorer
        for scorer, users in zip(self.scorers, self.user_vectors(histories, tags), strict=True):
            of_columns = [row_products(users, scorer.item_vectors[column]) for column in listed.T]
            whole[scorer.name] = np.stack(of_columns, axis=1) if of_columns else np.zeros(listed.shape, np.float32)
        return Explained(history, falls, whole, self.shift(histories))

    def _weighted(self, histories: Ragged) -> Iterator[tuple[Scorer, list[tuple[Feature, Floats]]]]:
        """Each scorer with its features, and each feature with its weight for these users, (B,)."""
        group, number = self._groups(histories), 0
        for scorer in self.scorers:
            some = self.fusion.weights[group, number : number + len(scorer.features)]
            number += len(scorer.features)
            yield scorer, list(zip(scorer.features, some.T, strict=True))

    def _groups(self, histories: Ragged) -> Ints:
        """By how much target history users have, (B,)."""
        return group_of(histories.where(self.is_target[histories.values]).lengths)


@dataclass(frozen=True)
class FusedAmong:
    """Scores candidates: a ``ranking.topk.ScoreFunction``."""

    fused: Fused
    vectors: list[Matrix]
    """The candidates' dense ones, (C, D), and their sparse ones, (C, V), where there are any."""

    def __call__(self, histories: Ragged, tags: Ragged) -> Tensor:
        """Logits, float32 (B, C)."""
        users = _laid_end_to_end(self.fused.user_vectors(histories, tags))
        logits = self.fused.shift(histories)[:, None]
        for some, items in zip(users, self.vectors, strict=True):
            logits = logits + products(some, items)
        return torch.from_numpy(logits)


def _laid_end_to_end(matrices: Sequence[Matrix]) -> list[Matrix]:
    """The dense ones as one matrix, and the sparse ones as another."""
    dense = [one for one in matrices if isinstance(one, np.ndarray)]
    sparse = [one for one in matrices if not isinstance(one, np.ndarray)]
    found: list[Matrix] = [np.concatenate(dense, axis=1)] if dense else []
    return [*found, csr_array(hstack(sparse))] if sparse else found
