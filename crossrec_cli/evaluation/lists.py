"""Beyond-accuracy measures of lists: novelty, diversity, popularity, miscalibration, cold-start items."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from crossrec_cli.evaluation.metrics import Floats, name
from crossrec_cli.models.ragged import Bools, Ints, Ragged

LIST_CHUNK = 1024
"""Lists whose texts are held at once: 80 MB at 50 items each."""
SMOOTHING = 0.01
"""Share of the history's categories mixed into the list's, so that a missing category does not cost infinity."""


@dataclass(frozen=True)
class CandidateFacts:
    """Facts about the C candidates, in their order."""

    embeddings: npt.NDArray[np.float32]
    """Every item's text, (I, width)."""
    items: Ints
    """The candidates' item indices, (C,)."""
    buyers: Floats
    """The share of training's users that bought each, (C,)."""
    users: int
    """The number of these users."""
    cold: Bools
    """Cold-start items, which nobody bought in training; (C,)."""
    category: Ints
    """Each one's category, numbered from 0, (C,)."""

    def per_list(self, lists: Ints, histories: Ragged, k: int) -> dict[str, Floats]:
        """The measures of each list's first k items; nan where a measure is not defined.

        - novelty: the mean surprise −log₂ of the share of users that bought an item; an item without buyers counts as
          bought by half a user (Vargas & Castells 2011, https://doi.org/10.1145/2043932.2043955).
        - diversity: 1 minus the mean cosine of two texts in the list (Ziegler et al. 2005,
          https://doi.org/10.1145/1060745.1060754).
        - popularity: the mean share of users that bought an item (Yin et al. 2012,
          https://doi.org/10.14778/2311906.2311916); far above the histories' own mean it is popularity bias.
        - miscalibration: how far the list's categories are from the history's in the target, as the Kullback–Leibler
          divergence in nats, 0 where they agree (Steck 2018, https://doi.org/10.1145/3240323.3240372).
        - cold_items: the share of items that nobody bought in training.

        Args:
            lists: indices into the candidates, best first, −1 for none; int64 (n, at least k).
            histories: for each list, the indices of candidates in the user's history.
            k: how many items of each list count.
        """
        shown = lists[:, :k]
        filled = shown >= 0
        length = np.where(filled.any(axis=1), filled.sum(axis=1), np.nan)
        surprise = -np.log2(np.maximum(self.buyers, 0.5 / self.users))
        measures = {
            "novelty": np.where(filled, surprise[shown], 0).sum(axis=1) / length,
            "popularity": np.where(filled, self.buyers[shown], 0).sum(axis=1) / length,
            "cold_items": (filled & self.cold[shown]).sum(axis=1) / length,
            "diversity": np.concatenate([*self._diversity(shown, filled)]),
            "miscalibration": self._miscalibration(shown, filled, histories),
        }
        return {name(measure, k): values for measure, values in measures.items()}

    def _diversity(self, shown: Ints, filled: Bools) -> Iterator[Floats]:
        """|Σ v|² is the number of items plus the sum over all pairs of their cosines."""
        yield np.empty(0)
        for begin in range(0, len(shown), LIST_CHUNK):
            chunk = slice(begin, begin + LIST_CHUNK)
            vectors = self.embeddings[self.items[shown[chunk]]]
            inverse = filled[chunk] / np.maximum(np.linalg.norm(vectors, axis=2), 1e-12)
            sums = np.einsum("nkw,nk->nw", vectors, inverse)
            number = filled[chunk].sum(axis=1).astype(np.float64)
            pairs = np.where(number > 1, number * (number - 1), np.nan)
            yield 1 - ((sums**2).sum(axis=1) - number) / pairs

    def _miscalibration(self, shown: Ints, filled: Bools, histories: Ragged) -> Floats:
        history_shares = self._shares(histories.rows, histories.values, len(shown))
        rows, _ = np.nonzero(filled)
        list_shares = self._shares(rows, shown[filled], len(shown))
        smoothed = ((1 - SMOOTHING) * list_shares + SMOOTHING * history_shares).tocsr()
        row = np.repeat(np.arange(len(shown)), np.diff(history_shares.indptr))
        share, listed_share = history_shares.data, np.asarray(smoothed[row, history_shares.indices]).ravel()
        divergence = np.bincount(row, share * np.log(share / listed_share), minlength=len(shown))
        has_both = (np.diff(history_shares.indptr) > 0) & filled.any(axis=1)
        return np.where(has_both, divergence, np.nan)

    def _shares(self, rows: Ints, columns: Ints, lists: int) -> csr_array[np.float64]:
        """The shares of categories among each list's items, (lists, categories); each row sums to 1."""
        weight = 1 / np.bincount(rows, minlength=lists)[rows] if len(rows) else np.empty(0)
        shape = (lists, int(self.category.max(initial=0)) + 1)
        return csr_array((weight, (rows, self.category[columns])), shape=shape)


def coverage(lists: Ints, k: int, candidates: int) -> float:
    """The share of candidates in at least one user's first k (Herlocker et al. 2004, https://doi.org/10.1145/963770.963772)."""
    shown = lists[:, :k]
    return len(np.unique(shown[shown >= 0])) / candidates
