"""The fused score as one ONNX graph that holds every item's vectors: it scores without crossrec, and without torch.

The graph gives what ``models.fused.CandidateScorer`` gives, as probabilities, from histories as rectangles.

Shapes: B users, n places of a history, I items, C candidates, F features and d dimensions of a scorer.
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
import torch.nn.functional as F  # noqa: N812  the field's usual name
from scipy.sparse import csr_array
from torch import Tensor, nn

from crossrec_cli.models.base import SMALLEST_WEIGHT, Floats, HistoryFeature, Scorer
from crossrec_cli.models.fused import FusedModel
from crossrec_cli.models.fusion import GROUPS
from crossrec_cli.models.neural.neural_scorer import NeuralFeature
from crossrec_cli.models.neural.tower import UserEncoder
from crossrec_cli.models.popularity import ItemFact, TagSales

OPSET = 20
IN_ONE_FILE = 2**30
"""Bytes of weights; an ONNX file ends at 2 GiB, so more go into a file beside it."""


def write_graph(path: Path, fused: FusedModel, tags: int) -> None:
    """Write ``FusedGraph`` of a model on the CPU whose users may bear ``tags`` different tags."""
    users, places, candidates = (torch.export.Dim(name) for name in ("users", "places", "candidates"))
    inputs = {
        "items": (torch.zeros(2, 3, dtype=torch.int64), {0: users, 1: places}),
        "weights": (torch.ones(2, 3), {0: users, 1: places}),
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
    """What is known of some users."""

    items: Tensor
    """Item indices, oldest first, 0 where filled up; int64 (B, n)."""
    filled: Tensor
    """Whether an interaction stands there, bool (B, n)."""
    weights: Tensor
    """How much it counts, (B, n)."""
    in_target: Tensor
    """1.0 for items of the target, else and where filled up 0.0; (B, n)."""
    tags: Tensor
    """1.0 for each tag that a user bears, else 0.0; (B, tags)."""


class FusedGraph(nn.Module):
    """Scores of candidates: Σ weight · feature + shift, with the weights of the user's group."""

    is_target: Tensor
    groups: Tensor
    feature_weights: Tensor
    shift: Tensor

    def __init__(self, fused: FusedModel) -> None:
        super().__init__()
        self.register_buffer("is_target", torch.from_numpy(fused.is_target.astype(np.float32)))
        self.register_buffer("groups", torch.tensor(GROUPS))
        self.register_buffer("feature_weights", torch.from_numpy(fused.fusion.weights))
        self.register_buffer("shift", torch.from_numpy(fused.fusion.shift))
        self.sizes = [len(scorer.features) for scorer in fused.scorers]
        self.scorers = nn.ModuleList(map(ScorerGraph, fused.scorers))

    def forward(self, items: Tensor, weights: Tensor, tags: Tensor, candidates: Tensor) -> Tensor:
        """Probabilities, float32 (B, C).

        Args:
            items: item indices of each history, oldest first, filled up on the right with -1; int64 (B, n).
            weights: how much each counts, (B, n); nothing is read where filled up.
            tags: 1.0 for each tag that a user bears, else 0.0; (B, tags).
            candidates: item indices, int64 (C,).
        """
        items, weights = F.pad(items, (0, 1), value=-1), F.pad(weights, (0, 1))  # of an empty history a place is left
        filled, known = items >= 0, items.clamp(min=0)
        in_target = filled * F.embedding(known, self.is_target.unsqueeze(1)).squeeze(2)
        history = History(known, filled, weights, in_target, tags)
        group = (in_target.sum(dim=1, keepdim=True) >= self.groups).sum(dim=1) - 1
        weighted = torch.split(self.feature_weights[group], self.sizes, dim=1)
        logits = self.shift[group].unsqueeze(1)
        for scorer, some in zip(self.scorers, weighted, strict=True):
            logits = logits + scorer(history, some, candidates)
        return torch.sigmoid(logits)


class ScorerGraph(nn.Module):
    """What one scorer adds to the logits."""

    def __init__(self, scorer: Scorer) -> None:
        super().__init__()
        vectors = scorer.item_vectors
        self.items = Dense(vectors) if isinstance(vectors, np.ndarray) else Sparse(vectors)
        self.users = _users(scorer)

    def forward(self, history: History, weights: Tensor, candidates: Tensor) -> Tensor:
        """(B, C), with the features' weights for each user, (B, F)."""
        return self.items.products(self.users(history, self.items, weights), candidates)


class Dense(nn.Module):
    """A scorer's item vectors, all of which are numbers."""

    vectors: Tensor

    def __init__(self, vectors: Floats) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.from_numpy(np.ascontiguousarray(vectors)))

    def sums(self, items: Tensor, counts: Tensor) -> Tensor:
        """Of items (B, n) the vectors' sums, each vector times its count (B, F, n); (B, F, d)."""
        return counts @ F.embedding(items, self.vectors)

    def products(self, users: Tensor, candidates: Tensor) -> Tensor:
        """Of users (B, d) and candidates (C,), (B, C)."""
        return users @ F.embedding(candidates, self.vectors).T


class Sparse(nn.Module):
    """A scorer's item vectors, most of which is 0: the N numbers that are not, one after the other.

    All of them are read for each user, however few items are asked for. Rows filled up to the longest would take
    far more room than the numbers, as a bestseller has a dimension for each of its buyers.
    """

    rows: Tensor
    columns: Tensor
    values: Tensor

    def __init__(self, vectors: csr_array) -> None:
        super().__init__()
        if not vectors.nnz:  # where the texts have no word in common, for one; nothing at all has no place in a graph
            vectors = csr_array(([0.0], ([0], [0])), shape=(vectors.shape[0], 1))
        self.shape, cells = vectors.shape, vectors.tocoo()
        rows, columns = (torch.from_numpy(found.astype(np.int32)) for found in cells.coords)
        self.register_buffer("rows", rows)
        self.register_buffer("columns", columns)
        self.register_buffer("values", torch.from_numpy(cells.data.astype(np.float32)))

    def sums(self, items: Tensor, counts: Tensor) -> Tensor:
        """See ``Dense``."""
        users, features, places = counts.shape
        index = items.unsqueeze(1).expand(users, features, places).reshape(users * features, places)
        of_items = _added_up(counts.reshape(users * features, places), index, self.shape[0])
        found = _added_up(of_items.index_select(1, self.rows) * self.values, self.columns.long(), self.shape[1])
        return found.reshape(users, features, self.shape[1])

    def products(self, users: Tensor, candidates: Tensor) -> Tensor:
        """See ``Dense``."""
        cells = users.index_select(1, self.columns) * self.values
        return _added_up(cells, self.rows.long(), self.shape[0]).index_select(1, candidates)


def _added_up(values: Tensor, index: Tensor, size: int) -> Tensor:
    """(B, size): the sums of the values (B, N) that have the same index, int64 (N,) or (B, N)."""
    lists = values.shape[0]
    return torch.zeros(lists, size).scatter_add(1, index.expand(lists, -1), values)


def _users(scorer: Scorer) -> nn.Module:
    """What gives users' vectors for a scorer, (B, d), from histories, its items and its features' weights (B, F)."""
    first = scorer.features[0]
    if isinstance(first, NeuralFeature):
        return NeuralUsers(first.encoder)
    sums = [feature for feature in scorer.features if isinstance(feature, HistoryFeature)]
    return HistoryUsers(sums) if sums else PopularityUsers(scorer)


class HistoryUsers(nn.Module):
    """``models.base.HistoryFeature``, all of a scorer at once."""

    decay: Tensor
    of_source: Tensor
    source_weight: Tensor
    query_factors: Tensor

    def __init__(self, features: Sequence[HistoryFeature]) -> None:
        super().__init__()
        self.register_buffer("decay", torch.tensor([[one.decay] for one in features]))
        self.register_buffer("of_source", torch.tensor([[float(one.part == "all")] for one in features]))
        self.register_buffer("source_weight", torch.tensor([[one.source_weight] for one in features]))
        ones = np.ones(len(features[0].is_target), np.float32)
        factors = [ones if one.query_factors is None else one.query_factors for one in features]
        self.asks = any(one.query_factors is not None for one in features)
        self.register_buffer("query_factors", torch.from_numpy(np.stack(factors, axis=1)) if self.asks else None)

    def forward(self, history: History, items: Dense | Sparse, weights: Tensor) -> Tensor:
        """(B, d)."""
        counts = self._counts(history)
        if self.asks:
            counts = counts * F.embedding(history.items, self.query_factors).mT
        users = F.normalize(items.sums(history.items, counts), dim=2)
        return (weights.unsqueeze(1) @ users).squeeze(1)

    def _counts(self, history: History) -> Tensor:
        """How much each interaction counts, (B, F, n)."""
        in_target = history.in_target.unsqueeze(1) > 0
        counted = history.filled.unsqueeze(1) & (in_target | (self.of_source > 0))
        until = counted.float().cumsum(dim=2)
        later = until[:, :, -1:] - until
        counts = history.weights.unsqueeze(1) * self.decay**later * torch.where(in_target, 1.0, self.source_weight)
        return torch.where(counted & (counts >= SMALLEST_WEIGHT), counts, 0.0)


class PopularityUsers(nn.Module):
    """``models.popularity``: the weights of what is a fact of an item, and the mean of a user's tags."""

    def __init__(self, scorer: Scorer) -> None:
        super().__init__()
        facts = [feature for feature in scorer.features if isinstance(feature, ItemFact)]
        assert [fact.dimension for fact in facts] == list(range(len(facts)))
        self.tags = sum(feature.tags for feature in scorer.features if isinstance(feature, TagSales))

    def forward(self, history: History, items: Dense, weights: Tensor) -> Tensor:
        """(B, d)."""
        if not self.tags:
            return weights
        tags = history.tags[:, : self.tags]
        mean = tags / tags.sum(dim=1, keepdim=True).clamp(min=1)
        return torch.cat([weights[:, :-1], weights[:, -1:] * mean], dim=1)


class NeuralUsers(nn.Module):
    """``UserEncoder.user_vectors`` without lists of different lengths, and 1 for the items' bias."""

    def __init__(self, encoder: UserEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, history: History, items: Dense, weights: Tensor) -> Tensor:
        """(B, d)."""
        encoder = self.encoder
        vectors = F.embedding(history.items, items.vectors)[:, :, :-1]
        prefix = encoder.default_user + history.tags @ encoder.tags.weight
        parts = []
        if encoder.bag is not None:
            counts = history.filled * history.weights * encoder.bag.counts(history.in_target)
            parts.append(encoder.bag(prefix + (counts.unsqueeze(1) @ vectors).squeeze(1)))
        if encoder.sequence is not None:
            filled = history.filled.sum(dim=1, keepdim=True)
            read = filled.clamp(max=encoder.max_sequence)
            latest = torch.arange(encoder.max_sequence) + filled - read  # places behind the filled ones tell nothing:
            places = torch.minimum(latest, filled - 1).clamp(min=0)  # no state knows what stands after its own
            states = encoder.sequence(prefix, _at(vectors, places), history.in_target.gather(1, places))
            parts.append(_at(states, read).squeeze(1))
        users = torch.stack(parts).sum(dim=0)
        return weights * torch.cat([users, torch.ones_like(weights)], dim=1)


def _at(rows: Tensor, places: Tensor) -> Tensor:
    """Of (B, n, d) the rows at some places, int64 (B, m): (B, m, d)."""
    return rows.gather(1, places.unsqueeze(2).expand(-1, -1, rows.shape[2]))


@contextmanager
def _quiet() -> Iterator[None]:
    """Torch's exporter tells much that is of no use here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
