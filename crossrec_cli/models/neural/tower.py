"""The model behind the neural scorer: an item tower, user encoders over histories, and u·v(i) + b(i).

Shapes: I items, B users, d dimensions. Item and tag indices are those of preprocess's tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812  the field's usual name
from torch import Tensor, nn

from crossrec_cli.config.training_fields import Interest
from crossrec_cli.errors import ConfigError
from crossrec_cli.models.histories import ItemStats
from crossrec_cli.models.neural.dropout import Dropout
from crossrec_cli.models.neural.sampler import NextExamples
from crossrec_cli.models.neural.user_encoders import BagEncoder, SequenceEncoder
from crossrec_cli.models.ragged import Ints, Ragged

USER_CHUNK = 256
"""Histories in one pass of the sequence encoder outside training."""
ITEM_CHUNK = 65_536
"""Items in one pass of the tower outside training."""
Floats = npt.NDArray[np.float32]


class ItemRows(NamedTuple):
    """The tower's output for some items."""

    vectors: Tensor
    """v(i), (n, d)."""
    bias: Tensor
    """b(i), (n,)."""
    in_target: Tensor
    """1.0 for items of the target domain, else 0.0; (n,)."""


class ItemTower(nn.Module):
    """v(i) = adaptor(text) + id embedding, and the bias b(i).

    In training, an item's id embedding and bias are dropped together at random, so that the text alone learns to give
    a useful vector. An item without training interactions has neither;
    the scorer then replaces its vector (``neural_scorer.interpolate``).
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
        """Vectors and biases of some distinct items, int64 (n,); None: all."""
        parts: list[Tensor] = [
            (self.popularity > 0).float(),
            self.text,
            self.id_embedding.weight,
            self.bias,
            self.in_target,
        ]
        has_id, text, ids, bias, in_target = parts if items is None else [part[items] for part in parts]
        if self.training:
            has_id = has_id * (torch.rand(has_id.shape) >= self.id_dropout).to(has_id)
        vectors = self.adaptor(self.dropout(text)) + self.dropout(ids) * has_id.unsqueeze(1)
        return ItemRows(vectors, bias * has_id, in_target)

    @torch.no_grad()
    def item_embeddings(self) -> ItemRows:
        """All items, without dropout, a chunk at a time."""
        self.eval()
        size, device = len(self.bias), self.bias.device
        embeddings = ItemRows(
            *(torch.empty(size, *shape, device=device) for shape in ((self.id_embedding.embedding_dim,), (), ()))
        )
        for begin in range(0, size, ITEM_CHUNK):
            indices = torch.arange(begin, min(begin + ITEM_CHUNK, size), device=device)
            for all_rows, rows in zip(embeddings, self(indices), strict=True):
                all_rows[begin : begin + len(indices)] = rows
        return embeddings


class UserEncoder(nn.Module):
    """User vectors from users' tags and the items of their histories."""

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
        """Device of the parameters."""
        return self.default_user.device

    def user_vectors(self, items: ItemRows, histories: Ragged, tags: Ragged) -> Tensor:
        """User vectors from whole histories.

        Args:
            items: all items, from the item tower.
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
        """Only the sequence's part of ``user_vectors``, from each history's latest interactions, (B, d).

        Users with histories of similar length share a pass, which saves padding. Dislikes are skipped.
        """
        assert self.sequence is not None
        vectors = torch.zeros(len(histories.lengths), items.vectors.shape[1], device=self.device)
        for chunk, given in self._given(items, self.latest(histories), tags):
            vectors[torch.from_numpy(chunk).to(self.device)] = self.sequence.last(*given)
        return vectors

    def lost_vectors(self, items: ItemRows, latest: Ragged, tags: Ragged) -> Tensor:
        """What ``sequence_vectors`` lose without one of the interactions, for each of them; (sum of lengths, d).

        Exact for the last one, nearly so for another: see ``SequenceEncoder.without_each``.

        Args:
            items: as in ``user_vectors``.
            latest: from ``latest``.
            tags: as in ``user_vectors``.
        """
        assert self.sequence is not None
        whole = torch.zeros(len(latest.lengths), items.vectors.shape[1], device=self.device)
        lost = torch.zeros(len(latest.values), items.vectors.shape[1], device=self.device)
        for chunk, given in self._given(items, latest, tags):
            states = self.sequence.without_each(*given)
            whole[torch.from_numpy(chunk).to(self.device)] = states[:, 0]
            read = np.arange(given[1].shape[1]) < latest.lengths[chunk][:, None]
            rows = (latest.starts[chunk][:, None] + np.arange(given[1].shape[1]))[read]
            change = (states[:, :1] - states[:, 1:])[torch.from_numpy(read).to(self.device)]
            lost[torch.from_numpy(rows).to(self.device)] = change
        some = np.flatnonzero(latest.lengths)
        shorter = latest.take(some, latest.lengths[some] - 1)
        users, last = (
            torch.from_numpy(rows).to(self.device) for rows in (some, (latest.starts + latest.lengths - 1)[some])
        )
        lost[last] = whole[users] - self.sequence_vectors(items, shorter, tags.take(some))
        return lost

    def _given(
        self, items: ItemRows, latest: Ragged, tags: Ragged
    ) -> Iterator[tuple[Ints, tuple[Tensor, Tensor, Tensor, Tensor]]]:
        """Some users at a time, and what the sequence reads of them: prefix, item vectors, domains and lengths."""
        prefix, order = self.prefix(tags), np.argsort(latest.lengths, kind="stable")
        for start in range(0, len(order), USER_CHUNK):
            chunk = order[start : start + USER_CHUNK]
            user_rows = torch.from_numpy(chunk).to(self.device)
            items_read = torch.from_numpy(latest.take(chunk).padded()[0]).to(self.device)
            lengths = torch.from_numpy(latest.lengths[chunk]).to(self.device)
            yield chunk, (prefix[user_rows], items.vectors[items_read], items.in_target[items_read], lengths)

    def latest(self, histories: Ragged) -> Ragged:
        """What the sequence reads of histories: the latest interactions that are no dislikes."""
        liked = histories.where(histories.liked)
        lengths = np.minimum(liked.lengths, self.max_sequence)
        return liked.slice(np.arange(len(lengths)), liked.lengths - lengths, liked.lengths)

    def bag_vectors(self, items: ItemRows, histories: Ragged, tags: Ragged) -> Tensor:
        """Only the bag's part of ``user_vectors``, (B, d)."""
        assert self.bag is not None
        users: Tensor = self.bag(self.bag_totals(items, histories, tags))
        return users

    def bag_totals(self, items: ItemRows, histories: Ragged, tags: Ragged) -> Tensor:
        """The bag's input: each user's prefix plus the sum of the history, (B, d)."""
        return self.prefix(tags) + self._sums(items, histories)

    def counts(self, items: ItemRows, histories: Ragged) -> Tensor:
        """Weight of each interaction in the bag, float32 (sum of lengths,)."""
        assert self.bag is not None
        values, _ = self._bags(histories)
        weights = torch.from_numpy(histories.weights_or_ones).to(self.device)
        return weights * self.bag.counts(items.in_target)[values]

    def next_vectors(self, items: ItemRows, examples: NextExamples) -> Tensor:
        """User vectors before each item of a window, (B, width, d)."""
        assert self.sequence is not None
        prefix = self.prefix(examples.tags)
        given = torch.from_numpy(examples.window[:, :-1]).to(self.device)
        vectors, in_target = items.vectors[given], items.in_target[given]
        users: Tensor = self.sequence(prefix, vectors, in_target, examples.row_keys.to(self.device))
        if self.bag is not None:
            counts = examples.weights[:, :-1].to(self.device) * self.bag.counts(in_target)
            inside = torch.cat([prefix.unsqueeze(1), vectors * counts.unsqueeze(2)], dim=1).cumsum(dim=1)
            users = users + self.bag(inside + self._sums(items, examples.before).unsqueeze(1))
        return users

    def prefix(self, tags: Ragged) -> Tensor:
        """The state before any interaction, from each user's tags, (B, d)."""
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
    """Users and items in one vector space: the interest score is u·v(i) + b(i)."""

    def __init__(self, config: Interest, texts: Floats, item_stats: ItemStats, tags: int) -> None:
        """Build an untrained model.

        Args:
            config: sizes and the kind of user encoder.
            texts: whitened text embeddings, float32 (I, r), as ``models.base.TrainingData.texts``.
            item_stats: which items are to be recommended, and which have been bought.
            tags: number of distinct user tags.
        """
        super().__init__(config, tags)
        facts = (texts, item_stats.popularity.astype(np.float32), item_stats.is_target.astype(np.float32))
        self.tower = ItemTower(config, *map(torch.from_numpy, facts))

    def exchanged(self) -> dict[str, nn.Parameter]:
        """The weights that platforms exchange: of the text map and the user encoder, without tags, ids and biases."""
        at_home = ("tags.", "tower.id_embedding.", "tower.bias")
        return {name: weight for name, weight in self.named_parameters() if not name.startswith(at_home)}

    @torch.no_grad()
    def take_over(self, weights: Mapping[str, Floats]) -> None:
        """Set the weights of these names; a single number is an array of one.

        Raises:
            ConfigError: if they are of a network of other sizes.
        """
        own = dict(self.named_parameters())
        for name, weight in weights.items():
            if name not in own or (own[name].shape or (1,)) != weight.shape:
                raise ConfigError([f"interest: shared weights '{name}' {weight.shape} are of a network of other sizes"])
            own[name].copy_(torch.from_numpy(weight).reshape(own[name].shape))

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """All parameters, by the names of ``config.training_fields.Rates``."""
        text: list[nn.Parameter] = list(self.tower.adaptor.parameters())
        ids: list[nn.Parameter] = [*self.tower.id_embedding.parameters(), self.tower.bias]
        items = {id(parameter) for parameter in (*text, *ids)}
        users = [parameter for parameter in self.parameters() if id(parameter) not in items]
        return {"text": text, "ids": ids, "users": users}
