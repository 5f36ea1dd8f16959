"""Run a config with several seeds and print validation and test figures, each seed's and their mean, as Markdown.

    python benchmarks/seeds.py configs/complete_journey.yaml --seeds 1 2 3
    python benchmarks/seeds.py configs/complete_journey.yaml --seeds 1 2 3 --validation-only --set adapt.epochs=10

Settings are chosen with --validation-only, which never looks at test; the scorers are weighed on the same purchases.
The baselines are left out: one run of ``crossrec evaluate`` has them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path


def main() -> None:
    """Read the command line, run every seed, print the table."""
    parser = argparse.ArgumentParser(description="Run a crossrec config with several seeds.")
    parser.add_argument("config", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--validation-only", action="store_true", help="stop after finetune")
    arguments = parser.parse_args()
    stages = ["preprocess", "pretrain-adapt", "finetune"] + ([] if arguments.validation_only else ["evaluate"])
    rows = {str(seed): figures(arguments.config, seed, stages, arguments.overrides) for seed in arguments.seeds}
    names = list(next(iter(rows.values())))
    rows["mean"] = {name: statistics.mean(row[name] for row in rows.values()) for name in names}
    print("| seed | " + " | ".join(names) + " |")
    print("|---|" + "---|" * len(names))
    for seed, row in rows.items():
        print(f"| {seed} | " + " | ".join(f"{row[name]:.4f}" for name in names) + " |")


def figures(config: Path, seed: int, stages: list[str], overrides: list[str]) -> dict[str, float]:
    """One seed's figures, and the seconds that its stages took."""
    found: dict[str, float] = {}
    seconds = 0.0
    for stage in stages:
        command = [sys.executable, "-m", "crossrec_cli", stage, str(config), "--json", "--quiet"]
        alone = [f"seed={seed}", "evaluate.baselines=[]", *overrides]
        command += [part for override in alone for part in ("--set", override)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        (outcome,) = json.loads(done.stdout)["stages"]
        seconds += outcome["wall_seconds"]
        found |= {name: value for name, value in outcome["summary"].items() if "@10" in name and value is not None}
    return found | {"seconds": seconds}


if __name__ == "__main__":
    main()
