"""What source purchases and what target purchases add to scores, without a part for each purchase.

Where a score is a sum over the history, this is exact. A sequence is no sum: its target part is what target purchases
add for somebody without any purchase, its source part what the source purchases add after that.

Shapes: B users, k items listed for each.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

from crossrec_cli.artifacts.columns import SOURCE, TARGET
from crossrec_cli.models import popularity
from crossrec_cli.models.base import Domain, VectorParts
from crossrec_cli.models.fused import CandidateScorer, FusedModel, Sums, concatenated
from crossrec_cli.models.ragged import Bools, Ints, Ragged
from crossrec_cli.models.vectors import Floats, Matrix, listed_products

CHUNK_CELLS = 2**21
"""Numbers of listed items' vectors that are held at once, 8 MB in float32."""
NOTHING = 1e-4
"""Log-odds below which a history says nothing of an item."""


class DomainParts(NamedTuple):
    """The parts of the scores of listed items, as log-odds, (B, k) each."""

    source: Floats
    target: Floats
    rest: Floats
    """From no interaction, without what the scorer popularity knows."""

    @property
    def source_share(self) -> Floats:
        """|source| / (|source| + |target|), from 0 to 1; nan where the history says nothing; (B, k)."""
        source, both = abs(self.source), abs(self.source) + abs(self.target)
        share: Floats = np.where(both > NOTHING, source / np.maximum(both, NOTHING), np.nan).astype(np.float32)
        return share


@dataclass(frozen=True)
class PartedUsers:
    """Users' vectors, and what of them comes from where."""

    fused: FusedModel
    vectors: Sequence[VectorParts]
    """By scorer, weighted."""
    domain: Domain
    """Whose part ``vectors`` has: the one with fewer interactions, which is computed faster."""
    has_own: Bools
    """Which users have interactions in that domain, (B,)."""
    has_other: Bools
    shift: Floats
    """Of each user's scores, (B,)."""
    sums: Sums
    """Of the users' histories."""

    @classmethod
    def of(cls, fused: FusedModel, histories: Ragged, tags: Ragged) -> PartedUsers:
        """From complete histories."""
        in_target = fused.is_target[histories.values]
        domain: Domain = SOURCE if 2 * in_target.sum() > len(in_target) else TARGET
        own = in_target == (domain == TARGET)
        has_own, has_other = (histories.where(some).lengths > 0 for some in (own, ~own))
        sums = fused.sums(histories)
        vectors = fused.vector_parts(histories, tags, domain, sums)
        return cls(fused, vectors, domain, has_own, has_other, fused.shift(histories), sums)

    def parts(self, listed: Ints, logits: Floats | None = None) -> DomainParts:
        """The parts of the scores of the items listed for each user.

        Args:
            listed: item indices, int64 (B, k).
            logits: their scores, (B, k), where these are known; what is not finite has no parts that mean anything.
        """
        everybody, names = np.ones(len(listed), bool), self.fused.names
        if logits is None:
            logits = self._summed("total", names, listed, everybody) + self.shift[:, None]
        own = self._summed("of_domain", names, listed, self.has_own)
        rest = self._summed("rest", [name for name in names if name != popularity.NAME], listed, everybody)
        sales = self._summed("rest", [popularity.NAME], listed, everybody)
        other = logits - self.shift[:, None] - sales - rest - own
        other = np.where(self.has_other[:, None] & np.isfinite(logits), other, np.float32(0))
        source, target = (own, other) if self.domain == SOURCE else (other, own)
        return DomainParts(source, target, rest)

    def _summed(self, part: str, scorers: Collection[str], listed: Ints, chosen: Bools) -> Floats:
        """One part of the listed items' scores by some scorers, (B, k); 0 for users who are not chosen, (B,)."""
        scores, rows = np.zeros(listed.shape, np.float32), np.flatnonzero(chosen)
        for scorer, vectors in zip(self.fused.scorers, self.vectors, strict=True):
            users: Matrix | None = getattr(vectors, part)
            if scorer.name in scorers and users is not None and len(rows):
                scores[rows] += _listed_products(users[rows], scorer.item_vectors, listed[rows])
        return scores


class PartedScorer:
    """Scores candidates, as a ``CandidateScorer`` does, and keeps the parts of the users that it scored last."""

    users: PartedUsers

    def __init__(self, scorer: CandidateScorer) -> None:
        """For one thread; ``scorer`` gives the scores."""
        self.scorer = scorer

    def __call__(self, histories: Ragged, tags: Ragged) -> Tensor:
        """Logits, float32 (B, C)."""
        self.users = PartedUsers.of(self.scorer.fused, histories, tags)
        return self.scorer.logits(concatenated([some.total for some in self.users.vectors]), self.users.shift)


def _listed_products(users: Matrix, vectors: Matrix, listed: Ints) -> Floats:
    """The inner product of each user with each of the items listed for that user, (B, k)."""
    size = max(CHUNK_CELLS // max(listed.shape[1] * vectors.shape[1], 1), 1)
    inner = np.empty(listed.shape, np.float32)
    for begin in range(0, len(listed), size):
        chunk = slice(begin, begin + size)
        inner[chunk] = listed_products(users[chunk], vectors[listed[chunk].ravel()])
    return inner
