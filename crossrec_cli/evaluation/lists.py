"""What lists are like, beyond whether they hold what was bought next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from crossrec_cli.evaluation.metrics import Floats, name
from crossrec_cli.models.ragged import Bools, Ints, Ragged

LISTS_TOGETHER = 1024
"""Lists whose texts are held at once: 80 MB at 50 items each."""
SMOOTHING = 0.01
"""Share of the history's categories mixed into the list's, so that a category it lacks costs no infinity."""


@dataclass(frozen=True)
class CandidateFacts:
    """What is known of the C candidates, in their order."""

    embeddings: npt.NDArray[np.float32]
    """Every item's text, (I, width)."""
    items: Ints
    """The candidates' item indices, (C,)."""
    buyers: Floats
    """The share of training's users that bought each, (C,)."""
    users: int
    """How many users that is a share of."""
    cold: Bools
    """Those that nobody bought in training, (C,)."""
    category: Ints
    """Each one's category, numbered from 0, (C,)."""

    def per_list(self, lists: Ints, histories: Ragged, k: int) -> dict[str, Floats]:
        """What each list's first k are like; nan where a measure says nothing.

        - novelty: the mean surprise −log₂ of the share that bought an item, which for one that nobody bought is half a
          user (Vargas & Castells 2011, https://doi.org/10.1145/2043932.2043955).
        - diversity: 1 minus the mean cosine of two texts in the list (Ziegler et al. 2005,
          https://doi.org/10.1145/1060745.1060754).
        - popularity: the mean share of users that bought an item (Yin et al. 2012,
          https://doi.org/10.14778/2311906.2311916); what lies far above the shoppers' own is popularity bias.
        - miscalibration: how far the list's categories are from the history's in the target, as the Kullback–Leibler
          divergence in nats, 0 where they agree (Steck 2018, https://doi.org/10.1145/3240323.3240372).
        - cold_items: the share of items that nobody bought in training.

        Args:
            lists: places among the candidates, best first, −1 where there is none; int64 (n, at least k).
            histories: for each list, the places of what its user has of the candidates.
            k: how much of each list is looked at.
        """
        shown = lists[:, :k]
        there = shown >= 0
        length = np.where(there.any(axis=1), there.sum(axis=1), np.nan)
        surprise = -np.log2(np.maximum(self.buyers, 0.5 / self.users))
        found = {
            "novelty": np.where(there, surprise[shown], 0).sum(axis=1) / length,
            "popularity": np.where(there, self.buyers[shown], 0).sum(axis=1) / length,
            "cold_items": (there & self.cold[shown]).sum(axis=1) / length,
            "diversity": np.concatenate([*self._diversity(shown, there)]),
            "miscalibration": self._miscalibration(shown, there, histories),
        }
        return {name(measure, k): values for measure, values in found.items()}

    def _diversity(self, shown: Ints, there: Bools) -> Iterator[Floats]:
        """|Σ v|² is the number of items plus the sum over all pairs of their cosines."""
        yield np.empty(0)
        for begin in range(0, len(shown), LISTS_TOGETHER):
            some = slice(begin, begin + LISTS_TOGETHER)
            vectors = self.embeddings[self.items[shown[some]]]
            inverse = there[some] / np.maximum(np.linalg.norm(vectors, axis=2), 1e-12)
            sums = np.einsum("nkw,nk->nw", vectors, inverse)
            number = there[some].sum(axis=1).astype(np.float64)
            pairs = np.where(number > 1, number * (number - 1), np.nan)
            yield 1 - ((sums**2).sum(axis=1) - number) / pairs

    def _miscalibration(self, shown: Ints, there: Bools, histories: Ragged) -> Floats:
        liked = self._shares(histories.rows, histories.values, len(shown))
        rows, _ = np.nonzero(there)
        listed = self._shares(rows, shown[there], len(shown))
        smoothed = ((1 - SMOOTHING) * listed + SMOOTHING * liked).tocsr()
        row = np.repeat(np.arange(len(shown)), np.diff(liked.indptr))
        share, mixed = liked.data, np.asarray(smoothed[row, liked.indices]).ravel()
        divergence = np.bincount(row, share * np.log(share / mixed), minlength=len(shown))
        known = (np.diff(liked.indptr) > 0) & there.any(axis=1)
        return np.where(known, divergence, np.nan)

    def _shares(self, rows: Ints, places: Ints, lists: int) -> csr_array[np.float64]:
        """How a list's items fall into categories, (lists, categories), each row with sum 1."""
        each = 1 / np.bincount(rows, minlength=lists)[rows] if len(rows) else np.empty(0)
        shape = (lists, int(self.category.max(initial=0)) + 1)
        return csr_array((each, (rows, self.category[places])), shape=shape)


def coverage(lists: Ints, k: int, candidates: int) -> float:
    """The share of candidates that somebody's first k hold (Herlocker et al. 2004, https://doi.org/10.1145/963770.963772)."""
    shown = lists[:, :k]
    return len(np.unique(shown[shown >= 0])) / candidates
