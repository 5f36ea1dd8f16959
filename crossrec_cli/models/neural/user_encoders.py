"""The user encoders: from a history's item vectors to a user vector."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812  the field's usual name
from torch import Tensor, nn

from crossrec_cli.config.training_fields import Interest
from crossrec_cli.models.neural.dropout import Dropout

TARGET_WEIGHT = 5.0
"""Where the learned weight of a target interaction starts."""
WEIGHT_SPEED = 30.0
"""The weight's logarithm moves so many times as fast as other parameters; in the few hundred steps of a small target it
would hardly change otherwise."""


SMALLEST_REST = 1e-4
"""Attention to all states but one is at least taken to be so much."""


class BagEncoder(nn.Module):
    """The direction of the summed history, scaled and projected: without order, each interaction by its weight.

    It is linear up to one factor per user, so a score is a sum of one part per history item. The weight of a target
    interaction is learned: otherwise hundreds of groceries outweigh a few cosmetics.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.projection = nn.Linear(dim, dim, bias=False)
        nn.init.eye_(self.projection.weight)
        self.target_weight = nn.Parameter(torch.tensor(math.log(TARGET_WEIGHT) / WEIGHT_SPEED))

    def counts(self, in_target: Tensor) -> Tensor:
        """Weight of an interaction: 1, and more where ``in_target`` is 1.0; of the same shape."""
        more: Tensor = (WEIGHT_SPEED * self.target_weight).exp() - 1
        return 1 + in_target * more

    def forward(self, total: Tensor) -> Tensor:
        """Prefix plus weighted sum of item vectors (..., d) to user vectors (..., d)."""
        users: Tensor = self.projection(F.normalize(total, dim=-1) * self.log_scale.exp())
        return users


class SequenceEncoder(nn.Module):
    """A causal transformer over the latest interactions (Kang & McAuley 2018, https://arxiv.org/abs/1808.09781).

    It reads the order of purchases and not their weights, which only the bag and the loss use.
    Its input is normed first, as item vectors are small compared with what the layers add.
    """

    def __init__(self, config: Interest) -> None:
        super().__init__()
        self.positions = nn.Embedding(config.max_sequence + 1, config.dim)
        nn.init.normal_(self.positions.weight, std=0.02)
        self.token_norm, self.dropout = nn.LayerNorm(config.dim), Dropout(config.dropout)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, prefix: Tensor, items: Tensor, in_target: Tensor, rows: Tensor | None = None) -> Tensor:
        """Prefixes (B, d) and item vectors (B, n, d) to states (B, n + 1, d); each state sees the items up to it.

        Positions are counted separately in source and target, so that the first target purchase always has the same
        position.

        Args:
            prefix: the state before the purchases.
            items: the purchases' vectors, oldest first.
            in_target: 1.0 for purchases in the target, else 0.0; (B, n).
            rows: the users' keys for dropout in training; see ``Dropout``.
        """
        states: Tensor = self.dropout(self._tokens(prefix, items, in_target), rows)
        for layer in self.layers:
            states = layer(states, rows)
        normed: Tensor = self.norm(states)
        return normed

    def last(self, prefix: Tensor, items: Tensor, in_target: Tensor, lengths: Tensor) -> Tensor:
        """The states after the last purchases, (B, d): those of ``forward`` at ``lengths``, outside training.

        The last layer computes no others, which saves nearly half of the time.

        Args:
            prefix: as in ``forward``.
            items: filled up on the right.
            in_target: as in ``forward``.
            lengths: how many purchases each user has, int64 (B,).
        """
        states, final = self._before_last(prefix, items, in_target)
        normed: Tensor = self.norm(final.at(states, lengths))
        return normed

    def without_each(self, prefix: Tensor, items: Tensor, in_target: Tensor, lengths: Tensor) -> Tensor:
        """``last``, then for each purchase ``last`` if the last layer did not see it; (B, n + 1, d).

        The layers before it read all of them, so this is one pass for all and not one for each. Where the last purchase
        is not seen its position still asks.
        """
        states, final = self._before_last(prefix, items, in_target)
        normed: Tensor = self.norm(final.without_each(states, lengths))
        return normed

    def _before_last(self, prefix: Tensor, items: Tensor, in_target: Tensor) -> tuple[Tensor, _Layer]:
        """The states that the last layer reads, (B, n + 1, d), outside training, and that layer."""
        states = self._tokens(prefix, items, in_target)
        for layer in self.layers[:-1]:
            states = layer(states, None)
        final = self.layers[-1]
        assert isinstance(final, _Layer)
        return states, final

    def _tokens(self, prefix: Tensor, items: Tensor, in_target: Tensor) -> Tensor:
        """The input of the first layer, (B, n + 1, d)."""
        target = in_target.cumsum(dim=1)
        source = torch.arange(1, items.shape[1] + 1, device=items.device) - target
        positions = F.pad(torch.where(in_target > 0, target, source).long(), (1, 0))
        tokens: Tensor = self.token_norm(torch.cat([prefix.unsqueeze(1), items], dim=1) + self.positions(positions))
        return tokens


class _Layer(nn.Module):
    """Causal attention and two dense layers, each after a norm.

    Xiong et al. 2020, https://arxiv.org/abs/2002.04745. Torch's own layer cannot pass rows to its dropout.
    """

    def __init__(self, config: Interest) -> None:
        super().__init__()
        dim, self.heads = config.dim, config.heads
        self.before_attention, self.before_dense = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attended = nn.Linear(dim, 3 * dim)
        self.merged = nn.Linear(dim, dim)
        self.wide, self.narrow = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.dropout = Dropout(config.dropout)

    def forward(self, states: Tensor, rows: Tensor | None) -> Tensor:
        return self.dense(states + self.dropout(self.attention(self.before_attention(states), rows), rows), rows)

    def at(self, states: Tensor, positions: Tensor) -> Tensor:
        """``forward`` outside training, at one position of each row: (B, d) from (B, n, d)."""
        query, key, value, seen = self._asked(states, positions)
        mean = F.scaled_dot_product_attention(query, key, value, attn_mask=seen[:, None, None])
        return self.dense(_at(states, positions).squeeze(1) + self.merged(mean.flatten(1)), None)

    def without_each(self, states: Tensor, positions: Tensor) -> Tensor:
        """``at``, then ``at`` without attention to each state but the first; (B, n, d)."""
        query, key, value, seen = self._asked(states, positions)
        fits = (query * key).sum(dim=3) / math.sqrt(key.shape[3])
        share = fits.masked_fill(~seen[:, None], -torch.inf).softmax(dim=2).unsqueeze(3)
        mean = (share * value).sum(dim=2, keepdim=True)
        rest = (mean - share * value) / (1 - share).clamp(min=SMALLEST_REST)
        means = torch.cat([mean, rest[:, :, 1:]], dim=2)
        return self.dense(_at(states, positions) + self.merged(means.transpose(1, 2).flatten(2)), None)

    def _asked(self, states: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The query of one position of each row, keys and values of all, (B, heads, n, d / heads), and what it sees."""
        normed, dim = self.before_attention(states), states.shape[2]
        weight, bias = self.attended.weight, self.attended.bias
        query = F.linear(_at(normed, positions), weight[:dim], bias[:dim])
        key, value = F.linear(normed, weight[dim:], bias[dim:]).chunk(2, dim=2)
        query, key, value = (part.view(*part.shape[:2], self.heads, -1).transpose(1, 2) for part in (query, key, value))
        return query, key, value, torch.arange(states.shape[1], device=states.device) <= positions.unsqueeze(1)

    def dense(self, states: Tensor, rows: Tensor | None) -> Tensor:
        """The dense layers, for each position by itself, (..., d)."""
        wide = self.dropout(F.gelu(self.wide(self.before_dense(states))), rows)
        output: Tensor = states + self.dropout(self.narrow(wide), rows)
        return output

    def attention(self, states: Tensor, rows: Tensor | None) -> Tensor:
        """Causal multi-head attention, (B, n, d)."""
        query, key, value = self.attended(states).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.training:
            length = states.shape[1]
            later = torch.ones(length, length, dtype=torch.bool, device=states.device).triu(1)
            fits = (query @ key.mT / math.sqrt(key.shape[3])).masked_fill(later, -torch.inf)
            mean = self.dropout(fits.softmax(dim=3), rows).to(value.dtype) @ value
        else:
            mean = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        merged: Tensor = self.merged(mean.transpose(1, 2).flatten(2))
        return merged


def _at(states: Tensor, positions: Tensor) -> Tensor:
    """One state of each row, (B, 1, d)."""
    return states.gather(1, positions[:, None, None].expand(-1, 1, states.shape[2]))
