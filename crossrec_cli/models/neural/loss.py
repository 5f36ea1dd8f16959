"""The softmax over all candidate items, without ever holding all of its scores."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK_CELLS = 2**22
"""Scores held at once, 16 MB in float32. Two to three times as fast as all scores at once, which spend their time in
fresh memory (benchmarks/softmax_loss.py)."""


def softmax_loss(users: Tensor, vectors: Tensor, bias: Tensor, rows: Tensor, items: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of −log softmax(u·v + b), the softmax over all candidate items.

    Args:
        users: user vectors, (Q, d).
        vectors: the candidates' vectors, (C, d).
        bias: the candidates' biases, (C,).
        rows: for each item to predict, whose it is, int64 (T,), ascending.
        items: its number among the candidates, int64 (T,).
        weights: how much it counts, above 0, float32 (T,).

    Returns:
        A scalar, Σ weight · loss / Σ weight; 0 if there is nothing to predict.
    """
    weights = weights / weights.mean()  # around 1 whatever their unit, so that float16 holds the summed gradients
    loss: Tensor = _SummedLoss.apply(users, vectors, bias, rows, items, weights)  # type: ignore[no-untyped-call]
    return loss / max(len(items), 1)


class _SummedLoss(torch.autograd.Function):
    """The gradient is found along with the loss, a chunk of users at a time, while their scores are at hand.

    The idea is that of Wijmans et al. 2024 (https://arxiv.org/abs/2411.09009), here in plain torch.
    """

    @staticmethod
    def forward(
        ctx: Any, users: Tensor, vectors: Tensor, bias: Tensor, rows: Tensor, items: Tensor, weights: Tensor
    ) -> Tensor:
        gradients = torch.zeros_like(users), torch.zeros_like(vectors), torch.zeros_like(bias)
        loss = torch.zeros((), device=users.device)
        size = max(CHUNK_CELLS // len(vectors), 1)
        starts = torch.arange(0, len(users), size, device=rows.device)
        ends = torch.searchsorted(rows, torch.clamp(starts + size, max=len(users))).tolist()
        begin = 0
        for start, end in zip(starts.tolist(), ends, strict=True):
            chunk = slice(start, min(start + size, len(users)))
            asked = rows[begin:end] - start, items[begin:end], weights[begin:end]
            loss += _chunk(users[chunk], vectors, bias, *asked, (gradients[0][chunk], *gradients[1:]))
            begin = end
        ctx.save_for_backward(*gradients)
        return loss

    @staticmethod
    def backward(ctx: Any, *outer: Any) -> Any:
        return *(gradient * outer[0] for gradient in ctx.saved_tensors), None, None, None


def _chunk(
    users: Tensor,
    vectors: Tensor,
    bias: Tensor,
    row: Tensor,
    item: Tensor,
    weight: Tensor,
    gradients: tuple[Tensor, Tensor, Tensor],
) -> Tensor:
    """Some users' summed loss; adds its gradients to those given."""
    product = users @ vectors.T
    scores = product.float() + bias
    largest = scores.amax(dim=1, keepdim=True)
    slope = (scores - largest).exp_()
    share = slope.sum(dim=1)
    total = share.log() + largest.squeeze(1)
    wanted = torch.zeros_like(total).index_add_(0, row, weight)  # on a GPU a weighted bincount is not deterministic
    loss = (total * wanted).sum() - (scores[row, item] * weight).sum()
    slope.mul_((wanted / share).unsqueeze(1))
    slope.index_put_((row, item), -weight, accumulate=True)
    # bfloat16 has float32's range; a slope of 1/C would vanish in float16.
    low = torch.bfloat16 if product.dtype is torch.bfloat16 else torch.float32
    with torch.autocast(users.device.type, enabled=False):
        small = slope.to(low)
        gradients[0].add_(small @ vectors.to(low))
        gradients[1].add_(small.T @ users.to(low))
    gradients[2].add_(slope.sum(dim=0))
    return loss
