"""The interest model: an item tower, user encoders over whole histories, and σ(u·v(i) + b(i)).

Shapes: I items, B users, d dimensions. Item and tag indices are those of preprocess's tables.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812  the field's usual name
from torch import Tensor, nn

from crossrec_cli.config.schema import Interest
from crossrec_cli.interest.batches import NextExamples, Ragged
from crossrec_cli.interest.dropout import Dropout
from crossrec_cli.interest.encoders import BagEncoder, SequenceEncoder
from crossrec_cli.interest.neighbours import Neighbours, neighbours

USERS_TOGETHER = 256
"""Histories in one pass of the sequence encoder when users are only scored."""
ITEMS_TOGETHER = 65_536
"""Items in one pass of the tower when they are only to be known, or of the sums that whitening needs."""
SMOOTHED_AT_MOST = 50_000
"""Trained items of a target whose neighbours are looked for: each text is compared with each."""
WHITENED_WIDTH = 256
"""Directions kept of the text embedding: the rest of all-MiniLM-L6-v2's 384 carry under 2 % of its variance."""

SHRINKAGE = 0.1
"""Share of the mean variance that each direction's variance gains before it is divided by; a small catalogue adds
width/items to it, since that is how unsure its small variances are. Validation NDCG@10 on the Complete Journey, mean of
three seeds: .0799 with 0.1, .0779 with 1, .0743 with 5."""


@dataclass(frozen=True)
class Whitening:
    """x → (x − mean) · matrix. float32 of shape (width,) and (width, r)."""

    mean: Tensor
    matrix: Tensor

    def of(self, embeddings: Iterable[npt.NDArray[np.float32]], items: int) -> Tensor:
        """Whitened, float32 (items, r), from parts (n, width), so that nobody needs to hold all of these."""
        text, begin, mean = torch.empty(items, self.matrix.shape[1]), 0, self.mean.numpy()
        for part in embeddings:
            text[begin : begin + len(part)] = torch.from_numpy(part - mean) @ self.matrix
            begin += len(part)
        if begin != items:
            raise ValueError(f"{begin:,} texts for {items:,} items")
        return text


def whitening(embeddings: npt.NDArray[np.float32]) -> Whitening:
    """The linear map that turns text embeddings into uncorrelated directions of more equal variance.

    A language model's embeddings crowd into a narrow cone; whitening spreads them
    (Su et al. 2021, https://arxiv.org/abs/2103.15316). Full whitening of a catalogue hardly larger than the embedding
    makes all items equally far from each other and texts worthless, so the variances are first moved towards their
    mean (Ledoit & Wolf 2004, https://doi.org/10.1016/S0047-259X(03)00096-4). The mean square of a vector's norm is 1.

    Args:
        embeddings: float32 of shape (I, width).

    Returns:
        A map to r directions, with r at most 256 and at most the rank.
    """
    size, width = embeddings.shape
    mean = embeddings.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((width, width))
    for begin in range(0, size, ITEMS_TOGETHER):
        part = embeddings[begin : begin + ITEMS_TOGETHER] - mean
        covariance += part.T @ part / size
    variance, directions = (found[..., ::-1] for found in np.linalg.eigh(covariance))  # the largest first
    floor = (SHRINKAGE + width / size) * max(variance.mean(), 0.0) + 1e-12
    kept = min(WHITENED_WIDTH, max(int((variance > 1e-8 * variance[0]).sum()), 1))
    matrix = directions[:, :kept] / np.sqrt(np.maximum(variance[:kept], 0.0) + floor)
    norm = math.sqrt((variance[:kept] / (variance[:kept] + floor)).sum())
    matrix /= max(norm, 1e-6)
    return Whitening(torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(matrix.astype(np.float32)))


class Items(NamedTuple):
    """What is known of some items."""

    vectors: Tensor
    """v(i), (n, d)."""
    bias: Tensor
    """b(i), (n,)."""
    in_target: Tensor
    """1.0 for items of the target domain, else 0.0; (n,)."""


class ItemTower(nn.Module):
    """v(i) = adaptor(whitened text embedding) + id embedding, and the bias b(i).

    While training, an item's id embedding and bias are dropped together at random, so that text by itself learns to
    place an item. An item without training interactions has neither; where all items are asked for, it gets what its
    neighbours by text have learned. A target item with n interactions then gets the share smoothing / (n + smoothing)
    of what its neighbours by text and vector have learned.
    """

    text_mean: Tensor
    text_matrix: Tensor
    popularity: Tensor
    smoothing: Tensor
    in_target: Tensor
    text: Tensor

    def __init__(self, config: Interest, text: Tensor, white: Whitening, popularity: Tensor, in_target: Tensor) -> None:
        super().__init__()
        facts = {"text_mean": white.mean, "text_matrix": white.matrix, "popularity": popularity, "in_target": in_target}
        for name, fact in facts.items():
            self.register_buffer(name, fact.clone())  # safetensors writes no tensor that two models share
        self.register_buffer("smoothing", torch.zeros(()))
        self.register_buffer("text", text, persistent=False)
        width = white.matrix.shape[1]
        self.adaptor = nn.Linear(width, config.dim)  # a hidden layer here learned slower and ranked no better
        self.id_embedding = nn.Embedding(len(text), config.dim)
        nn.init.normal_(self.id_embedding.weight, std=0.02)  # small, so that text leads at first
        self.bias = nn.Parameter(torch.zeros(len(text)))
        self.dropout = Dropout(0.0 if config.user_encoder == "sequence" else config.dropout)  # that drops what it reads
        self.id_dropout = config.id_dropout

    def forward(self, items: Tensor | None = None) -> Items:
        """Some items, distinct ones, int64 (n,); None: all."""
        parts: list[Tensor] = [
            (self.popularity > 0).float(),
            self.text,
            self.id_embedding.weight,
            self.bias,
            self.in_target,
        ]
        has_id, text, ids, bias, in_target = parts if items is None else [part[items] for part in parts]
        if self.training:
            has_id = has_id * (torch.rand_like(has_id) >= self.id_dropout)
        vectors = self.adaptor(self.dropout(text)) + self.dropout(ids) * has_id.unsqueeze(1)
        return Items(vectors, bias * has_id, in_target)

    @torch.no_grad()
    def known(self) -> Items:
        """All items as they are when nothing is dropped, some at a time."""
        self.eval()
        size, device = len(self.bias), self.bias.device
        found = Items(
            *(torch.empty(size, *more, device=device) for more in ((self.id_embedding.embedding_dim,), (), ()))
        )
        for begin in range(0, size, ITEMS_TOGETHER):
            some = torch.arange(begin, min(begin + ITEMS_TOGETHER, size), device=device)
            for whole, part in zip(found, self(some), strict=True):
                whole[begin : begin + len(some)] = part
        for lent in self._of_cold:
            lent.lend(found.vectors, found.bias, torch.zeros_like(found.bias[lent.items]))
        if self.smoothing > 0 and self.leans:
            lent = self._of_trained(found.vectors)
            popularity = self.popularity[lent.items]
            lent.lend(found.vectors, found.bias, popularity / (popularity + self.smoothing))
        return found

    @cached_property
    def _of_cold(self) -> list[Neighbours]:
        """The neighbours of each domain's cold items, where it has both."""
        parts = [(self._places(domain, 0), self._places(domain, 1)) for domain in (1, 0)]
        return [neighbours(self.text, cold, trained) for cold, trained in parts if len(cold) and len(trained)]

    def _of_trained(self, vectors: Tensor) -> Neighbours:
        """The neighbours of the target's trained items, by their texts and by what they have learned alike."""
        trained = self._places(1, 1)
        both = torch.cat([F.normalize(part[trained], dim=1) for part in (self.text, vectors)], dim=1)
        everybody = torch.arange(len(trained), device=trained.device)
        found = neighbours(both, everybody, everybody)
        return Neighbours(trained, trained[found.near], found.share)

    @property
    def leans(self) -> bool:
        """Whether the target's trained items take after their neighbours: if there are any, and not too many."""
        return 0 < len(self._places(1, 1)) <= SMOOTHED_AT_MOST

    def _places(self, in_target: int, trained: int) -> Tensor:
        """The items that have a text and are in the target, and trained, or not; sorted, int64."""
        chosen = (self.in_target == in_target) & ((self.popularity > 0) == trained) & self.text.any(dim=1)
        return torch.nonzero(chosen).squeeze(1)

    def release(self) -> None:
        """Let go of texts and ids, once all items are known."""
        self.text = self.text[:0].clone()
        self.id_embedding = nn.Embedding(0, self.id_embedding.embedding_dim)


class InterestModel(nn.Module):
    """Users and items in one space: how much a user wants an item is u·v(i) + b(i).

    The vectors of users without target history are multiplied by ``new_users``: 1, or 0 in a linear member, which has
    no biases and so says nothing of these users. A factor in between would weigh their vectors against the biases anew.
    """

    new_users: Tensor

    def __init__(
        self, config: Interest, text: Tensor, white: Whitening, popularity: Tensor, in_target: Tensor, tags: int
    ) -> None:
        """Build an untrained model.

        Args:
            config: sizes and the kind of user encoder.
            text: the items' whitened text embeddings, float32 (I, r).
            white: how they were whitened.
            popularity: the items' training interactions, float32 (I,).
            in_target: 1.0 for items of the target domain, else 0.0, float32 (I,).
            tags: number of distinct user tags.
        """
        super().__init__()
        self.tower = ItemTower(config, text, white, popularity, in_target)
        self.nobody = nn.Parameter(torch.zeros(config.dim))  # the prefix of a user without tags
        self.tags = nn.EmbeddingBag(tags, config.dim, mode="sum")
        nn.init.zeros_(self.tags.weight)
        self.bag = BagEncoder(config.dim) if config.user_encoder != "sequence" else None
        self.sequence = SequenceEncoder(config) if config.user_encoder != "bag" else None
        self.max_sequence = config.max_sequence
        self.loss = config.loss
        self.register_buffer("new_users", torch.ones(()))

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.nobody.device

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """All parameters, by the names of ``config.schema.Rates``."""
        text: list[nn.Parameter] = list(self.tower.adaptor.parameters())
        ids: list[nn.Parameter] = [*self.tower.id_embedding.parameters(), self.tower.bias]
        items = {id(parameter) for parameter in (*text, *ids)}
        users = [parameter for parameter in self.parameters() if id(parameter) not in items]
        return {"text": text, "ids": ids, "users": users}

    def user_vectors(self, items: Items, histories: Ragged, tags: Ragged) -> Tensor:
        """What users want, from all that they did.

        Args:
            items: all of them, from the item tower.
            histories: each user's item indices with their weights, oldest first; may be empty.
            tags: each user's tag indices; may be empty.

        Returns:
            Tensor of shape (B, d).
        """
        if self.bag is None:
            users = self.sequence_vectors(items, histories, tags)
        elif self.sequence is None:
            users = self.bag_vectors(items, histories, tags)
        else:
            users = self.bag_vectors(items, histories, tags) + self.sequence_vectors(items, histories, tags)
        return users * self.gains(items, histories).unsqueeze(1)

    def gains(self, items: Items, histories: Ragged) -> Tensor:
        """What each user's vector is multiplied by: 1 with target history, else ``new_users``; (B,)."""
        values, starts = self._bags(histories)
        bought = F.embedding_bag(values, items.in_target.unsqueeze(1), starts, mode="sum").squeeze(1)
        return torch.where(bought > 0, 1.0, self.new_users)

    def sequence_vectors(self, items: Items, histories: Ragged, tags: Ragged) -> Tensor:
        """The sequence's part of ``user_vectors`` alone, without gain, of each history's latest interactions, (B, d).

        Users with histories of like length go together, which spares the padding.
        """
        assert self.sequence is not None
        prefix, vectors = self._prefix(tags), items.vectors
        lengths = np.minimum(histories.lengths, self.max_sequence)
        order = np.argsort(lengths, kind="stable")
        parts = []
        for start in range(0, len(order), USERS_TOGETHER):
            some = order[start : start + USERS_TOGETHER]
            latest, _ = histories.slice(some, histories.lengths[some] - lengths[some], histories.lengths[some]).padded()
            who = torch.from_numpy(some).to(self.device)
            known = torch.from_numpy(latest).to(self.device)
            states = self.sequence(prefix[who], vectors[known], items.in_target[known])
            parts.append(
                states[torch.arange(len(some), device=self.device), torch.from_numpy(lengths[some]).to(self.device)]
            )
        back = torch.from_numpy(np.argsort(order)).to(self.device)
        return torch.cat(parts)[back] if parts else torch.zeros_like(prefix)

    def bag_vectors(self, items: Items, histories: Ragged, tags: Ragged) -> Tensor:
        """The bag's part of ``user_vectors`` alone, without gain, (B, d)."""
        assert self.bag is not None
        users: Tensor = self.bag(self.bag_totals(items, histories, tags))
        return users

    def bag_totals(self, items: Items, histories: Ragged, tags: Ragged) -> Tensor:
        """What the bag reads: each user's prefix and the sum of the history, (B, d)."""
        return self._prefix(tags) + self._sums(items, histories)

    def counts(self, items: Items, histories: Ragged) -> Tensor:
        """How much each interaction counts in the bag, float32 (sum of lengths,)."""
        assert self.bag is not None
        values, _ = self._bags(histories)
        weights = torch.from_numpy(histories.weights_or_ones).to(self.device)
        return weights * self.bag.counts(items.in_target)[values]

    def bag_scales(self, items: Items, histories: Ragged, tags: Ragged) -> Tensor:
        """What the bag multiplies its sum by before it turns it, (B,)."""
        assert self.bag is not None
        total = self.bag_totals(items, histories, tags)
        scales: Tensor = self.bag.log_scale.exp() / total.norm(dim=1).clamp(min=1e-12)
        return scales

    def next_vectors(self, items: Items, examples: NextExamples) -> Tensor:
        """What users want before each item of a window, (B, width, d)."""
        assert self.sequence is not None
        prefix = self._prefix(examples.tags)
        given = torch.from_numpy(examples.window[:, :-1]).to(self.device)
        known, in_target = items.vectors[given], items.in_target[given]
        users: Tensor = self.sequence(prefix, known, in_target, examples.places.to(self.device))
        if self.bag is not None:
            counts = examples.weights[:, :-1].to(self.device) * self.bag.counts(in_target)
            inside = torch.cat([prefix.unsqueeze(1), known * counts.unsqueeze(2)], dim=1).cumsum(dim=1)
            users = users + self.bag(inside + self._sums(items, examples.before).unsqueeze(1))
        return users

    def _prefix(self, tags: Ragged) -> Tensor:
        prefix: Tensor = self.nobody + self.tags(*self._bags(tags))
        return prefix

    def _sums(self, items: Items, histories: Ragged) -> Tensor:
        assert self.bag is not None
        values, starts = self._bags(histories)
        counts = self.counts(items, histories).to(items.vectors.dtype)
        return F.embedding_bag(values, items.vectors, starts, mode="sum", per_sample_weights=counts)

    def _bags(self, ragged: Ragged) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(ragged.values).to(self.device), torch.from_numpy(ragged.starts).to(self.device)
