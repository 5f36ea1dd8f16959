"""What the neural scorer trains: an item tower, user encoders over whole histories, and u·v(i) + b(i).

Shapes: I items, B users, d dimensions. Item and tag indices are those of preprocess's tables.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812  the field's usual name
from torch import Tensor, nn

from crossrec_cli.config.training_fields import Interest
from crossrec_cli.models.histories import ItemStats
from crossrec_cli.models.neural.dropout import Dropout
from crossrec_cli.models.neural.sampler import NextExamples
from crossrec_cli.models.neural.user_encoders import BagEncoder, SequenceEncoder
from crossrec_cli.models.ragged import Ragged

USERS_TOGETHER = 256
"""Histories in one pass of the sequence encoder when users are only scored."""
ITEMS_TOGETHER = 65_536
"""Items in one pass of the tower when they are only to be known."""
Floats = npt.NDArray[np.float32]


class ItemRows(NamedTuple):
    """What is known of some items."""

    vectors: Tensor
    """v(i), (n, d)."""
    bias: Tensor
    """b(i), (n,)."""
    in_target: Tensor
    """1.0 for items of the target domain, else 0.0; (n,)."""


class ItemTower(nn.Module):
    """v(i) = adaptor(text) + id embedding, and the bias b(i).

    While training, an item's id embedding and bias are dropped together at random, so that text by itself learns to
    place an item. An item without training interactions has neither.
    """

    popularity: Tensor
    in_target: Tensor
    text: Tensor

    def __init__(self, config: Interest, text: Tensor, popularity: Tensor, in_target: Tensor) -> None:
        super().__init__()
        self.register_buffer("popularity", popularity)
        self.register_buffer("in_target", in_target)
        self.register_buffer("text", text, persistent=False)
        self.adaptor = nn.Linear(text.shape[1], config.dim)  # a hidden layer here learned slower and ranked no better
        self.id_embedding = nn.Embedding(len(text), config.dim)
        nn.init.normal_(self.id_embedding.weight, std=0.02)  # small, so that text leads at first
        self.bias = nn.Parameter(torch.zeros(len(text)))
        self.dropout = Dropout(0.0 if config.user_encoder == "sequence" else config.dropout)  # that drops what it reads
        self.id_dropout = config.id_dropout

    def forward(self, items: Tensor | None = None) -> ItemRows:
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
        return ItemRows(vectors, bias * has_id, in_target)

    @torch.no_grad()
    def item_embeddings(self) -> ItemRows:
        """All items as they are when nothing is dropped, some at a time."""
        self.eval()
        size, device = len(self.bias), self.bias.device
        found = ItemRows(
            *(torch.empty(size, *more, device=device) for more in ((self.id_embedding.embedding_dim,), (), ()))
        )
        for begin in range(0, size, ITEMS_TOGETHER):
            some = torch.arange(begin, min(begin + ITEMS_TOGETHER, size), device=device)
            for whole, part in zip(found, self(some), strict=True):
                whole[begin : begin + len(some)] = part
        return found


class UserEncoder(nn.Module):
    """What users want, from their tags and from what is known of the items of their histories."""

    def __init__(self, config: Interest, tags: int) -> None:
        """Build an untrained one; ``tags`` is the number of distinct user tags."""
        super().__init__()
        self.default_user = nn.Parameter(torch.zeros(config.dim))  # the prefix of a user without tags
        self.tags = nn.EmbeddingBag(tags, config.dim, mode="sum")
        nn.init.zeros_(self.tags.weight)
        self.bag = BagEncoder(config.dim) if config.user_encoder != "sequence" else None
        self.sequence = SequenceEncoder(config) if config.user_encoder != "bag" else None
        self.max_sequence = config.max_sequence

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.default_user.device

    def user_vectors(self, items: ItemRows, histories: Ragged, tags: Ragged) -> Tensor:
        """What users want, from all that they did.

        Args:
            items: all of them, from the item tower.
            histories: each user's item indices with their weights, oldest first; may be empty.
            tags: each user's tag indices; may be empty.

        Returns:
            Tensor of shape (B, d).
        """
        if self.bag is None:
            return self.sequence_vectors(items, histories, tags)
        bag = self.bag_vectors(items, histories, tags)
        return bag if self.sequence is None else bag + self.sequence_vectors(items, histories, tags)

    def sequence_vectors(self, items: ItemRows, histories: Ragged, tags: Ragged) -> Tensor:
        """The sequence's part of ``user_vectors`` alone, of each history's latest interactions, (B, d).

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

    def bag_vectors(self, items: ItemRows, histories: Ragged, tags: Ragged) -> Tensor:
        """The bag's part of ``user_vectors`` alone, (B, d)."""
        assert self.bag is not None
        users: Tensor = self.bag(self.bag_totals(items, histories, tags))
        return users

    def bag_totals(self, items: ItemRows, histories: Ragged, tags: Ragged) -> Tensor:
        """What the bag reads: each user's prefix and the sum of the history, (B, d)."""
        return self._prefix(tags) + self._sums(items, histories)

    def counts(self, items: ItemRows, histories: Ragged) -> Tensor:
        """How much each interaction counts in the bag, float32 (sum of lengths,)."""
        assert self.bag is not None
        values, _ = self._bags(histories)
        weights = torch.from_numpy(histories.weights_or_ones).to(self.device)
        return weights * self.bag.counts(items.in_target)[values]

    def bag_scales(self, items: ItemRows, histories: Ragged, tags: Ragged) -> Tensor:
        """What the bag multiplies its sum by before it turns it, (B,)."""
        assert self.bag is not None
        total = self.bag_totals(items, histories, tags)
        scales: Tensor = self.bag.log_scale.exp() / total.norm(dim=1).clamp(min=1e-12)
        return scales

    def next_vectors(self, items: ItemRows, examples: NextExamples) -> Tensor:
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
        prefix: Tensor = self.default_user + self.tags(*self._bags(tags))
        return prefix

    def _sums(self, items: ItemRows, histories: Ragged) -> Tensor:
        assert self.bag is not None
        values, starts = self._bags(histories)
        counts = self.counts(items, histories).to(items.vectors.dtype)
        return F.embedding_bag(values, items.vectors, starts, mode="sum", per_sample_weights=counts)

    def _bags(self, ragged: Ragged) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(ragged.values).to(self.device), torch.from_numpy(ragged.starts).to(self.device)


class InterestModel(UserEncoder):
    """Users and items in one space: how much a user wants an item is u·v(i) + b(i)."""

    def __init__(self, config: Interest, texts: Floats, item_stats: ItemStats, tags: int) -> None:
        """Build an untrained model.

        Args:
            config: sizes and the kind of user encoder.
            texts: what the items' texts say, float32 (I, r), as ``models.base.TrainingData.texts``.
            item_stats: which items are to be recommended, and which have been bought.
            tags: number of distinct user tags.
        """
        super().__init__(config, tags)
        facts = (texts, item_stats.popularity.astype(np.float32), item_stats.is_target.astype(np.float32))
        self.tower = ItemTower(config, *map(torch.from_numpy, facts))

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """All parameters, by the names of ``config.training_fields.Rates``."""
        text: list[nn.Parameter] = list(self.tower.adaptor.parameters())
        ids: list[nn.Parameter] = [*self.tower.id_embedding.parameters(), self.tower.bias]
        items = {id(parameter) for parameter in (*text, *ids)}
        users = [parameter for parameter in self.parameters() if id(parameter) not in items]
        return {"text": text, "ids": ids, "users": users}
