"""Time the softmax loss in chunks and the one that holds all scores at once: forward and backward, one process.

python benchmarks/softmax_loss.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from crossrec_cli.models.neural.loss import softmax_loss

USERS, ITEMS, DIM, ROUNDS = 6_500, 24_600, 128, 7
Loss = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def at_once(users: Tensor, vectors: Tensor, bias: Tensor, rows: Tensor, items: Tensor, weights: Tensor) -> Tensor:
    """The loss from all scores at once."""
    logits = (users @ vectors.T + bias).float()
    return ((logits.logsumexp(dim=1)[rows] - logits[rows, items]) * weights).sum() / weights.sum()


def seconds(loss: Loss, dtype: torch.dtype) -> float:
    """One forward and backward."""
    shapes = ((USERS, DIM), (ITEMS, DIM), (ITEMS,))
    users, vectors, bias = (torch.randn(shape).requires_grad_() for shape in shapes)
    rows, items, weights = torch.arange(USERS), torch.randint(0, ITEMS, (USERS,)), torch.rand(USERS) + 0.1
    started = time.perf_counter()
    with torch.autocast("cpu", dtype, enabled=dtype is not torch.float32):
        value = loss(users, vectors, bias, rows, items, weights)
    torch.autograd.backward(value)
    return time.perf_counter() - started


def main() -> None:
    """Print the medians and their ratio, which take turns."""
    torch.manual_seed(0)
    print("| precision | at once | in chunks | ratio |\n|---|---|---|---|")
    for dtype in (torch.float32, torch.bfloat16):
        pairs = [(seconds(at_once, dtype), seconds(softmax_loss, dtype)) for _ in range(ROUNDS)][1:]
        whole, chunked = (statistics.median(times) for times in zip(*pairs, strict=True))
        name = str(dtype).removeprefix("torch.")
        print(f"| {name} | {whole:.2f} s | {chunked:.2f} s | {whole / chunked:.1f} |")


if __name__ == "__main__":
    main()
