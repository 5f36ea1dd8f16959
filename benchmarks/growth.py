"""How each stage's time and memory grow with the data: users, items and interactions together.

    python benchmarks/growth.py --rows 1e5 3e5 1e6

The shop is that of preprocess.py. Every training takes one epoch, and all users get a list. Seconds are
processor time, which depends little on other work. The last column is the exponent of growth between the two largest
sizes: ten times the data take ten to the power of it times as long.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from preprocess import apart, crossrec_config
from preprocess_data import generate

STAGES = ("preprocess", "pretrain-adapt", "finetune", "evaluate", "recommend")
DOMAINS = ("source", "target")
SMALL = {"interest": {"user_encoder": "bag"}, "adapt": {"epochs": 1}, "finetune": {"epochs": 1}}


def main() -> None:
    """Read the command line, run every size, print the table as Markdown."""
    parser = argparse.ArgumentParser(description="Time and memory of every stage at several sizes.")
    parser.add_argument("--rows", type=float, nargs="+", default=[1e5, 3e5, 1e6])
    rows = [int(size) for size in sorted(parser.parse_args().rows)]
    results = {size: measure(size) for size in rows}
    print("| stage | " + " | ".join(f"{size:,} rows" for size in rows) + " | exponent |")
    print("|---|" + "---|" * (len(rows) + 1))
    kept = [results[size][STAGES[0]]["summary"] for size in rows]
    for what in ("interactions", "items"):
        print(f"| {what} kept | " + " | ".join(f"{sum(s[f'{d}_{what}'] for d in DOMAINS):,}" for s in kept) + " | |")
    for stage in STAGES:
        manifests = [results[size][stage] for size in rows]
        cells = [f"{m['cpu_seconds']:.1f} s, {m['peak_memory_bytes'] / 1e9:.2f} GB" for m in manifests]
        seconds = [m["cpu_seconds"] for m in manifests[-2:]]
        exponent = "" if len(rows) < 2 else f"{math.log(seconds[1] / seconds[0], rows[-1] / rows[-2]):.2f}"
        print(f"| {stage} | " + " | ".join(cells) + f" | {exponent} |")


def measure(rows: int) -> dict[str, dict[str, Any]]:
    """Each stage's manifest, each from a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        apart(generate, folder, rows)
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(crossrec_config(folder, "4GB") | SMALL))
        manifests = {stage: manifest(stage, config) for stage in STAGES}
    print(
        f"{rows:,} rows: " + ", ".join(f"{s} {m['cpu_seconds']:.1f} s" for s, m in manifests.items()), file=sys.stderr
    )
    return manifests


def manifest(stage: str, config: Path) -> dict[str, Any]:
    """Run one stage; its manifest."""
    command = [sys.executable, "-m", "crossrec_cli", stage, str(config), "--quiet", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    (outcome,) = json.loads(done.stdout)["stages"]
    content: dict[str, Any] = json.loads((Path(outcome["path"]) / "manifest.json").read_text())
    return content


if __name__ == "__main__":
    main()
