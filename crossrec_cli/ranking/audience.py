"""Audiences: the users who are likeliest to buy some items.

Shapes: U users, C items, n users of the audience.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import schemas
from crossrec_cli.data.ids import known_indices
from crossrec_cli.models.dataset import Dataset
from crossrec_cli.models.fused import FusedModel
from crossrec_cli.models.ragged import Ints
from crossrec_cli.models.vectors import Floats
from crossrec_cli.ranking.recommender import Recommender
from crossrec_cli.ranking.topk import ScoreFunction, chunks
from crossrec_cli.runtime import device
from crossrec_cli.runtime.progress import Advance
from crossrec_cli.text.encode import TextEncoder
from crossrec_cli.text.encoders import load_encoder

USERS_AT_ONCE = 500
"""Whose reasons are computed together."""


@dataclass(frozen=True)
class Audience:
    """The likeliest buyers of some items, and how many of them are expected to buy."""

    items: Ints
    """Indices, sorted, int64 (C,); empty where the audience is of a text."""
    users: Ints
    """Indices, the likeliest buyer first, int64 (n,)."""
    probability: Floats
    """That each buys at least one of the items, (n,)."""
    likeliest: Ints
    """The position in ``items`` of the one that is likeliest, int64 (n,)."""
    owners: int
    """How many users have all of the items, and are left out."""
    mean_of_all: float
    """The mean probability of all users who are not left out."""

    @classmethod
    def of(
        cls, scorer: ScoreFunction, dataset: Dataset, items: Ints, size: int, advance: Advance | None = None
    ) -> Audience:
        """The likeliest of all users, by their whole histories.

        Args:
            scorer: scores the items, or a text.
            dataset: has the users.
            items: as the field.
            size: how many users at most.
            advance: gets the number of users scored since the last call.
        """
        histories, users = dataset.histories, dataset.known_users
        probability, likeliest = np.zeros(len(users), np.float32), np.zeros(len(users), np.int64)
        for chunk in chunks(scorer, histories, users, histories.items.lengths[users], items, True, advance):
            each = torch.sigmoid(chunk.scores.double()).numpy()  # 0 for an item that the user has
            part = slice(chunk.begin, chunk.begin + len(each))
            probability[part] = -np.expm1(np.log1p(-each).sum(axis=1))
            likeliest[part] = each.argmax(axis=1)
        others = probability > 0
        best = np.argsort(-probability, kind="stable")[: min(size, int(others.sum()))]
        mean = float(probability[others].mean(dtype=np.float64)) if others.any() else 0.0
        return cls(items, users[best], probability[best], likeliest[best], int((~others).sum()), mean)

    @property
    def expected_buyers(self) -> float:
        """How many of its users are expected to buy."""
        return float(self.probability.sum(dtype=np.float64))

    @property
    def expected_lift(self) -> float:
        """How many times as many of its users are expected to buy as of as many random ones."""
        return self.expected_buyers / len(self.users) / self.mean_of_all if len(self.users) else 1.0


class AudienceMaker:
    """Makes audiences from one model in memory."""

    def __init__(self, recommender: Recommender) -> None:
        self.fused, self.dataset, self.why = recommender.fused, recommender.dataset, recommender.why
        self.config = recommender.config

    def of_items(self, named: Sequence[str], size: int, advance: Advance | None = None) -> Audience:
        """The likeliest buyers of items of the data.

        Raises:
            InputError: if one of them is not there.
        """
        items = np.unique(known_indices(named, self.dataset.items[c.ITEM_ID], "item"))
        return Audience.of(self.fused.candidate_scorer(items), self.dataset, items, size, advance)

    def of_text(self, text: str, inputs: Mapping[str, Path], size: int, advance: Advance | None = None) -> Audience:
        """The likeliest buyers of an item that has only a text; ``inputs`` are the files that search reads."""
        encoder = load_encoder(self.config.encoder, inputs, device.prepare(self.config.runtime, self.config.seed))
        nothing = np.empty(0, np.int64)
        return Audience.of(text_scorer(self.fused, encoder, text), self.dataset, nothing, size, advance)

    def rows(self, audience: Audience, advance: Advance | None = None) -> Iterator[pa.Table]:
        """Rows of ``schemas.AUDIENCE``, some users at a time, with reasons where the config has them."""
        for begin in range(0, len(audience.users), USERS_AT_ONCE):
            part = slice(begin, begin + USERS_AT_ONCE)
            users, probability = audience.users[part], audience.probability[part]
            item = because = pa.nulls(len(users), pa.string())
            if len(audience.items):
                listed = audience.items[audience.likeliest[part]]
                item = pc.take(self.dataset.items[c.ITEM_ID], listed)
                if self.why.most:
                    because = self.why.of_lists(users, listed[:, None], np.ones((len(users), 1), bool))[c.BECAUSE]
            values = {
                c.USER_ID: pc.take(self.dataset.users[c.USER_ID], users),
                c.RANK: np.arange(begin + 1, begin + len(users) + 1),
                c.SCORE: probability,
                c.ITEM_ID: item,
                c.BECAUSE: because,
            }
            yield pa.table(values).cast(schemas.AUDIENCE)
            if advance:
                advance(len(users))


def text_scorer(fused: FusedModel, encoder: TextEncoder, text: str) -> ScoreFunction:
    """Scores a text as an item that is new in the target."""
    row = {field.name: pa.nulls(1, field.type) for field in schemas.ITEMS}
    row |= {c.DOMAIN: pa.array([c.TARGET]), c.TEXT: pa.array([text])}
    item = pa.table(row, schema=schemas.ITEMS)
    return fused.scorer_of(fused.new_vectors(item, encoder.embed([text], lambda *_: None)))
