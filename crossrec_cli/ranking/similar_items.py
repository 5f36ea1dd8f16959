"""Similar items: what somebody who bought one item alone would buy next, and how the two are related.

Shapes: B items asked about, k items listed for each, I items.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import schemas
from crossrec_cli.models.histories import Histories
from crossrec_cli.models.ragged import Ints, Ragged
from crossrec_cli.ranking.recommender import Recommender
from crossrec_cli.ranking.topk import chunks, top_k
from crossrec_cli.runtime.progress import Advance

BOUGHT: Final = "bought together"
"""Purchases speak for the two, which are of one category."""
ADDITION: Final = "in addition"
"""Purchases speak for the two, which are of different categories."""
ALIKE: Final = "reads alike"
"""Texts, brands and categories speak for the two."""
INSTEAD: Final = "instead"
"""The two are of one category, at prices that are near."""
OF_TEXTS = ("text", "words", "attributes")
OF_PURCHASES = ("neighbours", "linear", "federated", "neural")
ITEMS_AT_ONCE = 256
"""Whose lists are taken apart together."""
NEAR = 1.5
"""Two prices are near if the higher is at most so many times the lower."""


@dataclass(frozen=True)
class SimilarItems:
    """Lists for a history of one item, of what may be recommended."""

    recommender: Recommender

    def lists(self, items: Ints, k: int, advance: Advance | None = None) -> Iterator[pa.Table]:
        """Rows of ``schemas.SIMILAR``, some items at a time, each one's list best first and without itself.

        Args:
            items: indices, int64 (B,).
            k: how long a list is.
            advance: gets the number of items done since the last call.
        """
        candidates, scorer = self.recommender.pool.items, self.recommender.scorer
        item_stats = self.recommender.dataset.histories.item_stats
        for begin in range(0, len(items), ITEMS_AT_ONCE):
            asked = items[begin : begin + ITEMS_AT_ONCE]
            alone, everything = _alone(asked), np.arange(len(asked))
            histories = Histories(alone, alone.lengths, _nothing(len(asked)), item_stats)
            for chunk in chunks(scorer, histories, everything, alone.lengths, candidates, True, advance):
                scores, columns = top_k(chunk, k)
                yield self._rows(asked[chunk.begin :][: len(scores)], scores, candidates[columns.numpy()])

    def _rows(self, items: Ints, scores: Tensor, listed: Ints) -> pa.Table:
        """The lists (B, k) of some items as rows."""
        shown, ids = (scores > -torch.inf).numpy(), self.recommender.dataset.items[c.ITEM_ID]
        values = {
            c.ITEM_ID: pc.take(ids, np.broadcast_to(items[:, None], shown.shape)[shown]),
            c.RANK: np.broadcast_to(np.arange(1, shown.shape[1] + 1), shown.shape)[shown],
            c.SIMILAR_ITEM_ID: pc.take(ids, listed[shown]),
            c.SCORE: torch.sigmoid(scores).numpy()[shown],
            c.KIND: self._kinds(items, listed)[shown].tolist(),
            c.TEXT: pc.take(self.recommender.dataset.items[c.TEXT], listed[shown]),
        }
        return pa.table(values).cast(schemas.SIMILAR)

    def _kinds(self, items: Ints, listed: Ints) -> npt.NDArray[np.str_]:
        """How each listed item, (B, k), is related to the item that its list is of."""
        parts = self.recommender.fused.score_parts(_alone(items), _nothing(len(items)), listed).history
        of_texts, of_purchases = (
            np.sum([parts[name] for name in names if name in parts], axis=0) for names in (OF_TEXTS, OF_PURCHASES)
        )
        own, others = self._category[items][:, None], self._category[listed]
        price, prices = self._price[items][:, None], self._price[listed]
        known = (own >= 0) & (others >= 0)
        near = np.abs(np.log(price / prices)) <= np.log(NEAR)  # never where one is unknown
        by_evidence = np.where(of_texts > of_purchases, ALIKE, np.where(known & (own != others), ADDITION, BOUGHT))
        return np.where(known & (own == others) & near, INSTEAD, by_evidence)

    @cached_property
    def _category(self) -> Ints:
        """A number for each item's category, −1 where it has none; int64 (I,)."""
        encoded = self.recommender.dataset.items[c.CATEGORY].combine_chunks().dictionary_encode()
        numbers: Ints = pc.fill_null(encoded.indices, -1).to_numpy().astype(np.int64)
        return numbers

    @cached_property
    def _price(self) -> npt.NDArray[np.float64]:
        """Each item's price, NaN where it is unknown or not above 0; float64 (I,)."""
        prices = pc.fill_null(self.recommender.dataset.items[c.PRICE], float("nan")).to_numpy()
        return np.where(prices > 0, prices, np.nan)


def _alone(items: Ints) -> Ragged:
    """A history of one item for each item."""
    return Ragged(items, np.ones(len(items), np.int64))


def _nothing(users: int) -> Ragged:
    """No tags."""
    return Ragged(np.empty(0, np.int64), np.zeros(users, np.int64))
