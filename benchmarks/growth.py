"""How each stage's time and memory grow with the data: users, items and interactions together.

    python benchmarks/growth.py --rows 1e5 3e5 1e6

The shop is that of preprocess.py. Every training takes one epoch, and all users get a list. Seconds are the
processor's, which other work hardly lengthens. The last column is the exponent of growth between the two largest sizes:
ten times the data take ten to the power of it times as long.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from preprocess import apart, crossrec_config
from preprocess_data import generate

STAGES = ("preprocess", "pretrain-adapt", "finetune", "evaluate", "recommend")
SMALL = {"interest": {"user_encoder": "bag"}, "adapt": {"epochs": 1}, "finetune": {"epochs": 1}}


def main() -> None:
    """Read the command line, run every size, print the table as Markdown."""
    parser = argparse.ArgumentParser(description="Time and memory of every stage at several sizes.")
    parser.add_argument("--rows", type=float, nargs="+", default=[1e5, 3e5, 1e6])
    rows = [int(size) for size in sorted(parser.parse_args().rows)]
    found = {size: measure(size) for size in rows}
    print("| stage | " + " | ".join(f"{size:,} rows" for size in rows) + " | exponent |")
    print("|---|" + "---|" * (len(rows) + 1))
    for stage in STAGES:
        costs = [found[size][stage] for size in rows]
        cells = [f"{seconds:.1f} s, {peak / 1e9:.2f} GB" for seconds, peak in costs]
        exponent = "" if len(rows) < 2 else f"{growth(costs[-1][0] / costs[-2][0], rows[-1] / rows[-2]):.2f}"
        print(f"| {stage} | " + " | ".join(cells) + f" | {exponent} |")


def growth(slower: float, larger: float) -> float:
    """The exponent."""
    return math.log(slower) / math.log(larger)


def measure(rows: int) -> dict[str, tuple[float, int]]:
    """Each stage's processor seconds and peak memory in bytes, each in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        apart(generate, folder, rows)
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(crossrec_config(folder, "4GB") | SMALL))
        costs = {stage: cost(stage, config) for stage in STAGES}
    print(rows, costs, file=sys.stderr)
    return costs


def cost(stage: str, config: Path) -> tuple[float, int]:
    """One stage's, from its manifest."""
    command = [sys.executable, "-m", "crossrec_cli", stage, str(config), "--quiet", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    (outcome,) = json.loads(done.stdout)["stages"]
    manifest = json.loads((Path(outcome["path"]) / "manifest.json").read_text())
    return manifest["cpu_seconds"], manifest["peak_memory_bytes"]


if __name__ == "__main__":
    main()
