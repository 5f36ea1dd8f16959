"""Time the item tower's dropout beside torch's own, forward and backward, in milliseconds.

python benchmarks/dropout.py
"""

from __future__ import annotations

import statistics
import time

import torch

from crossrec_cli.interest.model import Dropout


def main() -> None:
    """Medians of rounds in which the two take turns."""
    values = torch.randn(6_000, 256, requires_grad=True)
    kinds = {"torch.nn.Dropout": torch.nn.Dropout(0.3), "crossrec": Dropout(0.3)}
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(30):
        for name, module in kinds.items():
            started = time.perf_counter()
            module(values).sum().backward()
            seconds[name].append(time.perf_counter() - started)
    for name, times in seconds.items():
        print(f"{name}: {1000 * statistics.median(times):.1f} ms")


if __name__ == "__main__":
    main()
