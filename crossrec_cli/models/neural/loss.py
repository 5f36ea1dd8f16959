"""The softmax over all candidate items, without holding all of its scores at once."""

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
        rows: for each item to predict, the row of its user, int64 (T,), ascending.
        items: its index in the candidates, int64 (T,).
        weights: its weight, above 0, float32 (T,).

    Returns:
        A scalar, Σ weight · loss / Σ weight; 0 if there is nothing to predict.
    """
    weights = weights / weights.mean()  # a mean of 1, so that float16 can hold the summed gradients
    loss: Tensor = _SummedLoss.apply(users, vectors, bias, rows, items, weights)  # type: ignore[no-untyped-call]
    return loss / max(len(items), 1)


class _SummedLoss(torch.autograd.Function):
    """The gradient is computed with the loss, a chunk of users at a time, so that scores are computed once.

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
            positives = rows[begin:end] - start, items[begin:end], weights[begin:end]
            loss += _chunk(users[chunk], vectors, bias, *positives, (gradients[0][chunk], *gradients[1:]))
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
    """Some users' summed loss; its gradients are added to those given."""
    product = users @ vectors.T
    scores = product.float() + bias
    row_maximum = scores.amax(dim=1, keepdim=True)
    gradient = (scores - row_maximum).exp_()
    exp_sum = gradient.sum(dim=1)
    log_sum = exp_sum.log() + row_maximum.squeeze(1)
    row_weights = torch.zeros_like(log_sum).index_add_(
        0, row, weight
    )  # on a GPU a weighted bincount is not deterministic
    loss = (log_sum * row_weights).sum() - (scores[row, item] * weight).sum()
    gradient.mul_((row_weights / exp_sum).unsqueeze(1))
    gradient.index_put_((row, item), -weight, accumulate=True)
    # bfloat16 has float32's range; a slope of 1/C would vanish in float16.
    low = torch.bfloat16 if product.dtype is torch.bfloat16 else torch.float32
    with torch.autocast(users.device.type, enabled=False):
        low_gradient = gradient.to(low)
        gradients[0].add_(low_gradient @ vectors.to(low))
        gradients[1].add_(low_gradient.T @ users.to(low))
    gradients[2].add_(gradient.sum(dim=0))
    return loss
