"""An approximate index of the items, for catalogues so large that scoring all of them takes too long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crossrec_cli.errors import UnavailableError
from crossrec_cli.interest.batches import Ints, Ragged, numbered
from crossrec_cli.interest.ensemble import Ensemble
from crossrec_cli.interest.model import Items
from crossrec_cli.ranking.rules import POOL_LEAST, POOL_PLACES
from crossrec_cli.ranking.topk import Scorer

CONNECTIVITY, EXPANSION = 16, 128
"""Neighbours of an item in the graph, and candidates that are kept while it is added or looked for."""


class Graph:
    """Scores the nearest candidates alone, found in a graph of small worlds; to all others it gives −∞.

    HNSW (Malkov & Yashunin 2018, https://arxiv.org/abs/1603.09320), by usearch. As many are found as rules choose from,
    and for each candidate in the history one more. It is built by one thread, so that it is the same each time.
    """

    def __init__(self, model: Ensemble, candidates: Ints, known: Sequence[Items], k: int) -> None:
        """Build it.

        Args:
            model: the members, whose mean interest is one product with their vectors side by side.
            candidates: item indices, sorted, int64 (C,).
            known: the model's items.
            k: how long lists are.

        Raises:
            UnavailableError: if there is no usearch.
        """
        try:
            from usearch.index import Index  # noqa: PLC0415  an extra
        except ImportError:
            raise UnavailableError("recommend.index: hnsw needs usearch; pip install 'crossrec[hnsw]'") from None
        self.model, self.known, self.size = model.eval(), known, len(candidates)
        self.number = numbered(candidates, len(known[0].bias))
        self.found = max(POOL_PLACES * k, POOL_LEAST)
        chosen = torch.from_numpy(candidates)
        bias = torch.stack([items.bias for items in known]).sum(dim=0)
        vectors = torch.cat([*(items.vectors[chosen] for items in known), bias[chosen].unsqueeze(1)], dim=1)
        self.index = Index(
            ndim=vectors.shape[1],
            metric="ip",
            dtype="f32",
            connectivity=CONNECTIVITY,
            expansion_add=EXPANSION,
            expansion_search=max(EXPANSION, self.found),
        )
        self.index.add(np.arange(self.size), vectors.float().cpu().numpy(), threads=1)

    @torch.no_grad()
    def __call__(self, histories: Ragged, tags: Ragged) -> Tensor:
        """Scores (B, C), float32, −∞ for all but the nearest."""
        parts = [
            member.user_vectors(items, histories, tags)
            for member, items in zip(self.model.members, self.known, strict=True)
        ]
        users = torch.cat([*parts, parts[0].new_ones(len(parts[0]), 1)], dim=1).float().cpu()
        owned = np.bincount(histories.rows[self.number[histories.values] >= 0], minlength=1).max()
        wanted = min(self.found + int(owned), self.size)
        nearest: Any = self.index.search(users.numpy(), wanted, threads=torch.get_num_threads())
        keys, distances = (np.atleast_2d(part) for part in (nearest.keys, nearest.distances))
        found = getattr(nearest, "counts", keys.shape[1])  # one user's matches are given bare
        counts = np.atleast_1d(np.asarray(found))
        there = np.arange(keys.shape[1]) < counts[:, None]  # a graph may lead to fewer than are wanted
        places = torch.from_numpy(np.where(there, keys, 0).astype(np.int64))
        similar = torch.from_numpy(np.where(there, 1 - distances, -np.inf)) / len(parts)
        scores = torch.full((len(users), self.size), -torch.inf)
        return scores.scatter_reduce_(1, places, similar.float(), "amax")


def recall(index: Scorer, exact: Scorer, histories: Ragged, tags: Ragged, k: int) -> float:
    """How many of the best k by all scores an index finds, on average over some users."""
    k = min(k, exact(histories, tags).shape[1])
    best, found = (torch.topk(scorer(histories, tags), k, dim=1).indices for scorer in (exact, index))
    return float((best.unsqueeze(2) == found.unsqueeze(1)).any(dim=2).float().mean())
