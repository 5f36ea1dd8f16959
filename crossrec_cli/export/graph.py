"""The fused score as one ONNX graph with every item's vectors. It needs neither crossrec nor torch to score.

The graph computes the scores of ``models.fused.CandidateScorer`` as probabilities, from padded histories.

Shapes: B users, n positions of a history, I items, C candidates, F features and d dimensions of a scorer.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  torch's usual name
from scipy.sparse import csr_array
from torch import Tensor, nn

from crossrec_cli.models.base import SMALLEST_WEIGHT, HistoryFeature, Scorer
from crossrec_cli.models.fused import FusedModel
from crossrec_cli.models.fusion import KNOTS
from crossrec_cli.models.neural.neural_scorer import NeuralFeature
from crossrec_cli.models.neural.tower import UserEncoder
from crossrec_cli.models.popularity import ItemFact, TagSales
from crossrec_cli.models.vectors import Floats

OPSET = 20
IN_ONE_FILE = 2**30
"""Bytes of weights in the ONNX file, whose limit is 2 GiB; larger weights go into a second file."""


def write_graph(path: Path, fused: FusedModel, tags: int) -> None:
    """Write ``FusedGraph`` of a model on the CPU; ``tags`` is the number of different tags."""
    users, positions, candidates = (torch.export.Dim(name) for name in ("users", "positions", "candidates"))
    inputs = {
        "items": (torch.zeros(2, 3, dtype=torch.int64), {0: users, 1: positions}),
        "weights": (torch.ones(2, 3), {0: users, 1: positions}),
        "tags": (torch.zeros(2, tags), {0: users}),
        "candidates": (torch.zeros(4, dtype=torch.int64), {0: candidates}),
    }
    with _quiet():
        graph = FusedGraph(fused).eval()
        size = sum(tensor.numel() * tensor.element_size() for tensor in graph.state_dict().values())
        torch.onnx.export(
            graph,
            tuple(example for example, _ in inputs.values()),
            path,
            input_names=list(inputs),
            output_names=["scores"],
            dynamic_shapes=tuple(dims for _, dims in inputs.values()),
            opset_version=OPSET,
            dynamo=True,
            external_data=size > IN_ONE_FILE,
            verbose=False,
        )


class History(NamedTuple):
    """Some users' histories and tags."""

    items: Tensor
    """Item indices, oldest first, 0 where padded; int64 (B, n)."""
    filled: Tensor
    """Whether the position has an interaction, bool (B, n)."""
    weights: Tensor
    """How much each interaction counts, (B, n)."""
    in_target: Tensor
    """1.0 for items of the target, 0.0 for others and where padded; (B, n)."""
    tags: Tensor
    """1.0 for each of a user's tags, else 0.0; (B, tags)."""


class FusedGraph(nn.Module):
    """Scores of candidates: Σ weight · feature + shift, with weights by the length of the user's target history."""

    is_target: Tensor
    knots: Tensor
    feature_weights: Tensor
    shift: Tensor

    def __init__(self, fused: FusedModel) -> None:
        super().__init__()
        self.register_buffer("is_target", torch.from_numpy(fused.is_target.astype(np.float32)))
        self.register_buffer("knots", torch.tensor(KNOTS).log1p())
        self.register_buffer("feature_weights", torch.from_numpy(fused.fusion.weights))
        self.register_buffer("shift", torch.from_numpy(fused.fusion.shift))
        self.sizes = [len(scorer.features) for scorer in fused.scorers]
        self.scorers = nn.ModuleList(map(ScorerGraph, fused.scorers))

    def forward(self, items: Tensor, weights: Tensor, tags: Tensor, candidates: Tensor) -> Tensor:
        """Probabilities, float32 (B, C).

        Args:
            items: item indices of each history, oldest first, padded on the right with -1; int64 (B, n).
            weights: how much each counts, (B, n), below 0 for a dislike; not read where padded.
            tags: 1.0 for each of a user's tags, else 0.0; (B, tags).
            candidates: item indices, int64 (C,).
        """
        items, weights = F.pad(items, (0, 1), value=-1), F.pad(weights, (0, 1))  # an empty history has one
        filled, indices = items >= 0, items.clamp(min=0)
        in_target = filled * F.embedding(indices, self.is_target.unsqueeze(1)).squeeze(2)
        history = History(indices, filled, weights, in_target, tags)
        shares = self._knot_shares((in_target * (weights > 0)).sum(dim=1, keepdim=True))
        weighted = torch.split(shares @ self.feature_weights, self.sizes, dim=1)
        logits = (shares @ self.shift).unsqueeze(1)
        for scorer, feature_weights in zip(self.scorers, weighted, strict=True):
            logits = logits + scorer(history, feature_weights, candidates)
        return torch.sigmoid(logits)

    def _knot_shares(self, target_lengths: Tensor) -> Tensor:
        """``models.fusion.knot_shares``: (B, K) from (B, 1)."""
        steps = self.knots[1:] - self.knots[:-1]
        passed = ((target_lengths.log1p() - self.knots[:-1]) / steps).clamp(0, 1)
        return F.pad(passed, (1, 0), value=1.0) - F.pad(passed, (0, 1))


class ScorerGraph(nn.Module):
    """One scorer's part of the logits."""

    def __init__(self, scorer: Scorer) -> None:
        super().__init__()
        vectors = scorer.item_vectors
        self.items = Dense(vectors) if isinstance(vectors, np.ndarray) else Sparse(vectors)
        self.users = _users(scorer)

    def forward(self, history: History, weights: Tensor, candidates: Tensor) -> Tensor:
        """Logits (B, C), from the features' weights for each user, (B, F)."""
        return self.items.products(self.users(history, self.items, weights), candidates)


class Dense(nn.Module):
    """A scorer's item vectors as a dense matrix."""

    vectors: Tensor

    def __init__(self, vectors: Floats) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.from_numpy(np.ascontiguousarray(vectors)))

    def sums(self, items: Tensor, counts: Tensor) -> Tensor:
        """Sums (B, F, d) of the vectors of items (B, n), each vector times its count (B, F, n)."""
        return counts @ F.embedding(items, self.vectors)

    def products(self, users: Tensor, candidates: Tensor) -> Tensor:
        """Products (B, C) of users' vectors (B, d) with the vectors of candidates (C,)."""
        return users @ F.embedding(candidates, self.vectors).T


class Sparse(nn.Module):
    """A scorer's item vectors as a sparse matrix: its N values other than 0, with their rows and columns.

    All values are read for each user, however few candidates there are. Rows padded to the longest would need far more
    memory, as a bestseller has a value for each of its buyers.
    """

    rows: Tensor
    columns: Tensor
    values: Tensor

    def __init__(self, vectors: csr_array) -> None:
        super().__init__()
        if not vectors.nnz:  # for example, no word in common; a graph cannot have an empty tensor
            vectors = csr_array(([0.0], ([0], [0])), shape=(vectors.shape[0], 1))
        self.shape, cells = vectors.shape, vectors.tocoo()
        rows, columns = (torch.from_numpy(axis.astype(np.int32)) for axis in cells.coords)
        self.register_buffer("rows", rows)
        self.register_buffer("columns", columns)
        self.register_buffer("values", torch.from_numpy(cells.data.astype(np.float32)))

    def sums(self, items: Tensor, counts: Tensor) -> Tensor:
        """See ``Dense``."""
        users, features, positions = counts.shape
        index = items.unsqueeze(1).expand(users, features, positions).reshape(users * features, positions)
        of_items = _sum_by_index(counts.reshape(users * features, positions), index, self.shape[0])
        sums = _sum_by_index(of_items.index_select(1, self.rows) * self.values, self.columns.long(), self.shape[1])
        return sums.reshape(users, features, self.shape[1])

    def products(self, users: Tensor, candidates: Tensor) -> Tensor:
        """See ``Dense``."""
        cells = users.index_select(1, self.columns) * self.values
        return _sum_by_index(cells, self.rows.long(), self.shape[0]).index_select(1, candidates)


def _sum_by_index(values: Tensor, index: Tensor, size: int) -> Tensor:
    """Sums (B, size) of the values (B, N) with the same index; the indices are int64 (N,) or (B, N)."""
    batch = values.shape[0]
    return torch.zeros(batch, size).scatter_add(1, index.expand(batch, -1), values)


def _users(scorer: Scorer) -> nn.Module:
    """The module that computes users' vectors (B, d) from histories, item vectors and feature weights (B, F)."""
    first = scorer.features[0]
    if isinstance(first, NeuralFeature):
        return NeuralUsers(first.encoder)
    histories = [feature for feature in scorer.features if isinstance(feature, HistoryFeature)]
    return HistoryUsers(histories) if histories else PopularityUsers(scorer)


class HistoryUsers(nn.Module):
    """Users' vectors from all of a scorer's ``models.base.HistoryFeature`` at once."""

    decay: Tensor
    of_source: Tensor
    source_weight: Tensor
    query_factors: Tensor

    def __init__(self, features: Sequence[HistoryFeature]) -> None:
        super().__init__()
        self.register_buffer("decay", torch.tensor([[feature.decay] for feature in features]))
        self.register_buffer("of_source", torch.tensor([[float(feature.part == "all")] for feature in features]))
        self.register_buffer("source_weight", torch.tensor([[feature.source_weight] for feature in features]))
        ones = np.ones(len(features[0].is_target), np.float32)
        factors = [ones if feature.query_factors is None else feature.query_factors for feature in features]
        self.has_factors = any(feature.query_factors is not None for feature in features)
        self.register_buffer("query_factors", torch.from_numpy(np.stack(factors, axis=1)) if self.has_factors else None)

    def forward(self, history: History, items: Dense | Sparse, weights: Tensor) -> Tensor:
        """Users' vectors, (B, d)."""
        counts = self._counts(history)
        if self.has_factors:
            counts = counts * F.embedding(history.items, self.query_factors).mT
        users = F.normalize(items.sums(history.items, counts), dim=2)
        return (weights.unsqueeze(1) @ users).squeeze(1)

    def _counts(self, history: History) -> Tensor:
        """How much each interaction counts for each feature, (B, F, n)."""
        in_target = history.in_target.unsqueeze(1) > 0
        counted = history.filled.unsqueeze(1) & (in_target | (self.of_source > 0))
        until = (counted & (history.weights > 0).unsqueeze(1)).float().cumsum(dim=2)
        later = until[:, :, -1:] - until
        counts = history.weights.unsqueeze(1) * self.decay**later * torch.where(in_target, 1.0, self.source_weight)
        return torch.where(counted & (counts.abs() >= SMALLEST_WEIGHT), counts, 0.0)


class PopularityUsers(nn.Module):
    """Users' vectors of ``models.popularity``: the weights of the item facts, and the mean of a user's tags."""

    def __init__(self, scorer: Scorer) -> None:
        super().__init__()
        facts = [feature for feature in scorer.features if isinstance(feature, ItemFact)]
        assert [fact.dimension for fact in facts] == list(range(len(facts)))
        self.tags = sum(feature.tags for feature in scorer.features if isinstance(feature, TagSales))

    def forward(self, history: History, items: Dense, weights: Tensor) -> Tensor:
        """Users' vectors, (B, d)."""
        if not self.tags:
            return weights
        tags = history.tags[:, : self.tags]
        mean = tags / tags.sum(dim=1, keepdim=True).clamp(min=1)
        return torch.cat([weights[:, :-1], weights[:, -1:] * mean], dim=1)


class NeuralUsers(nn.Module):
    """``UserEncoder.user_vectors`` on padded histories, with a 1 for the items' bias."""

    def __init__(self, encoder: UserEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, history: History, items: Dense, weights: Tensor) -> Tensor:
        """Users' vectors, (B, d)."""
        encoder = self.encoder
        vectors = F.embedding(history.items, items.vectors)[:, :, :-1]
        prefix = encoder.default_user + history.tags @ encoder.tags.weight
        parts = []
        if encoder.bag is not None:
            counts = history.filled * history.weights * encoder.bag.counts(history.in_target)
            parts.append(encoder.bag(prefix + (counts.unsqueeze(1) @ vectors).squeeze(1)))
        if encoder.sequence is not None:
            bought = history.filled & (history.weights > 0)
            purchases = bought.sum(dim=1, keepdim=True)
            read = purchases.clamp(max=encoder.max_sequence)
            latest = torch.arange(encoder.max_sequence) + purchases - read
            number = torch.arange(bought.shape[1])
            in_order = torch.where(bought, number, number + bought.shape[1]).argsort(dim=1)  # purchases come first
            positions = in_order.gather(1, torch.minimum(latest, purchases - 1).clamp(min=0))
            items_read, in_target = _at(vectors, positions), history.in_target.gather(1, positions)
            parts.append(encoder.sequence.last(prefix, items_read, in_target, read.squeeze(1)))
        users = torch.stack(parts).sum(dim=0)
        return weights * torch.cat([users, torch.ones_like(weights)], dim=1)


def _at(rows: Tensor, positions: Tensor) -> Tensor:
    """The rows (B, m, d) of ``rows`` (B, n, d) at ``positions``, int64 (B, m)."""
    return rows.gather(1, positions.unsqueeze(2).expand(-1, -1, rows.shape[2]))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch's exporter, whose messages are of no use here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
