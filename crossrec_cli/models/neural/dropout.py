"""Dropout whose chance hangs on the row, so that it matters to nobody who computes which rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

ODD = 0x9E3779B97F4A7C15 - 2**64
"""How far SplitMix64's states lie apart, as int64: 2⁶⁴ over the golden ratio."""
MIXING = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64))


class Dropout(nn.Module):
    """As ``torch.nn.Dropout``, but with each row's chance its own, and the rate rounded to 1/256.

    Torch's own tells the chance of a number from its place in the tensor, so that two processes which share a batch, or
    one that takes it in parts, would drop others than one that takes it whole. It also takes eight bytes of chance for
    each number where one is enough, which on a CPU was a third of a training step (benchmarks/dropout.py).
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.dropped = round(rate * 256)

    def forward(self, values: Tensor, rows: Tensor | None = None) -> Tensor:
        """Some numbers 0, the others larger by as much.

        Args:
            values: of shape (n, …).
            rows: what the rows are called, int64 (n,); None: 0 … n − 1. One call drops the same of a name whatever
                other rows there are; the next call, others.
        """
        if not self.training or not self.dropped:
            return values
        if self.dropped == 256:  # a rate that rounds to 1
            return values * 0.0
        each = values.shape[1:].numel()
        call = torch.empty((), dtype=torch.int64).random_(-(2**63), None).to(values.device)
        names = torch.arange(len(values), device=values.device) if rows is None else rows
        places = torch.arange(-(-each // 8), device=values.device)
        chance = mixed(mixed(call + names * ODD)[:, None] + places * ODD)  # eight bytes for eight numbers
        kept = (chance.view(torch.uint8)[:, :each] >= self.dropped).reshape(values.shape)
        return values * (kept * (256 / (256 - self.dropped))).to(values.dtype)


def mixed(states: Tensor) -> Tensor:
    """Numbers without a visible pattern, from any different ones: SplitMix64's last steps.

    Steele, Lea & Flood 2014, https://doi.org/10.1145/2660193.2660195. Its integers are unsigned: what an int64's shift
    fills in from the left is taken away.
    """
    for shift, factor in MIXING:
        states = (states ^ ((states >> shift) & (2 ** (64 - shift) - 1))) * factor
    return states ^ ((states >> 31) & (2**33 - 1))
