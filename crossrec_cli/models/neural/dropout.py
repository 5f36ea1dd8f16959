"""Dropout whose random numbers depend on the row's key, so that it does not matter which process computes a row."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STEP = 0x9E3779B97F4A7C15 - 2**64
"""The increment between SplitMix64's states, as int64: 2⁶⁴ over the golden ratio."""
MIXING = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64))


class Dropout(nn.Module):
    """``torch.nn.Dropout`` with random numbers of their own for each row, and the rate rounded to 1/256.

    Torch's own depends on a number's position in the tensor, so that two processes which share a batch, or one that
    takes it in parts, would drop other numbers than one that takes the whole batch. It also uses eight random bytes for
    each number where one is enough; on a CPU this was a third of a training step (benchmarks/dropout.py).
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.dropped = round(rate * 256)

    def forward(self, values: Tensor, rows: Tensor | None = None) -> Tensor:
        """Set some numbers to 0, and scale up the others so that the mean stays.

        Args:
            values: of shape (n, …).
            rows: the rows' keys, int64 (n,); None: 0 … n − 1. Within one call, what is dropped of a row depends only on
                its key; the next call drops other numbers.
        """
        if not self.training or not self.dropped:
            return values
        if self.dropped == 256:  # a rate that rounds to 1
            return values * 0.0
        width = values.shape[1:].numel()
        call = torch.empty((), dtype=torch.int64).random_(-(2**63), None).to(values.device)
        row_keys = torch.arange(len(values), device=values.device) if rows is None else rows
        blocks = torch.arange(-(-width // 8), device=values.device)
        random_bytes = split_mix(
            split_mix(call + row_keys * STEP)[:, None] + blocks * STEP
        )  # eight bytes for eight numbers
        kept = (random_bytes.view(torch.uint8)[:, :width] >= self.dropped).reshape(values.shape)
        return values * (kept * (256 / (256 - self.dropped))).to(values.dtype)


def split_mix(states: Tensor) -> Tensor:
    """Pseudorandom numbers from distinct states: SplitMix64's last steps.

    Steele, Lea & Flood 2014, https://doi.org/10.1145/2660193.2660195. Its integers are unsigned: the bits that an
    int64's shift fills in from the left are masked out.
    """
    for shift, factor in MIXING:
        states = (states ^ ((states >> shift) & (2 ** (64 - shift) - 1))) * factor
    return states ^ ((states >> 31) & (2**33 - 1))
