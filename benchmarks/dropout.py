"""Time dropout, and the sequence encoder that uses it, and torch's own: forward and backward, in milliseconds.

OMP_NUM_THREADS=1 python benchmarks/dropout.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from crossrec_cli.config.training_fields import Interest
from crossrec_cli.models.neural.dropout import Dropout
from crossrec_cli.models.neural.user_encoders import SequenceEncoder

USERS, ROUNDS = 256, 20


class Torch(nn.Module):
    """The same encoder from torch's own layers."""

    def __init__(self, config: Interest) -> None:
        super().__init__()
        sizes = (config.dim, config.heads, 4 * config.dim, config.dropout)
        layer = nn.TransformerEncoderLayer(*sizes, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, config.layers, nn.LayerNorm(config.dim), enable_nested_tensor=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, n, d) to states (B, n, d)."""
        length = tokens.shape[1]
        later = torch.ones(length, length, dtype=torch.bool).triu(1)
        states: Tensor = self.layers(tokens, mask=later, is_causal=True)
        return states


def main() -> None:
    """Compare dropout by itself, then the encoder."""
    compare("dropout, 6,000 × 256", torch.randn(6_000, 256), nn.Dropout(0.3), Dropout(0.3))
    config = Interest(user_encoder="sequence", dropout=0.2)
    for length in (10, 20, 50):
        for precision in (torch.float32, torch.bfloat16):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
                title = f"encoder, {USERS} × {length} × {config.dim}, {str(precision).removeprefix('torch.')}"
                compare(title, torch.randn(USERS, length, config.dim), Torch(config), ours_of(config))


def ours_of(config: Interest) -> Callable[[Tensor], Tensor]:
    """Crossrec's encoder of tokens (B, n, d), the first of which is the prefix; all purchases are of the target."""
    encoder = SequenceEncoder(config)
    return lambda tokens: encoder(tokens[:, 0], tokens[:, 1:], torch.ones(len(tokens), tokens.shape[1] - 1))


def compare(title: str, values: Tensor, theirs: Callable[[Tensor], Tensor], ours: Callable[[Tensor], Tensor]) -> None:
    """Print the medians of rounds in which the two take turns."""
    values.requires_grad_()
    seconds = [[timed(module, values) for module in (theirs, ours)] for _ in range(ROUNDS)]
    torchs, own = (1000 * statistics.median(times) for times in zip(*seconds, strict=True))
    print(f"{title}: torch {torchs:.1f} ms, crossrec {own:.1f} ms")


def timed(module: Callable[[Tensor], Tensor], values: Tensor) -> float:
    """Seconds of one pass and back."""
    started = time.perf_counter()
    torch.autograd.backward(module(values).sum())
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
