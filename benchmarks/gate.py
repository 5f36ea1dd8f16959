"""How often ``evaluate --against`` fails where only the seed differs, and where most of the model is missing.

    python benchmarks/gate.py configs/demo.yaml --trials 20

Every seed is run once as the config says, and once with the text as its only scorer. Each run is then compared with
the full run of the next seed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import Counter
from pathlib import Path

STAGES = ("preprocess", "pretrain-adapt", "finetune", "evaluate")
WORSE = ["interest.scorers=[text]"]


def crossrec(stage: str, config: Path, sets: list[str], *more: str) -> int:
    """One command's exit code; ends with its messages on an unexpected failure."""
    command = [sys.executable, "-m", "crossrec_cli", stage, str(config), "--quiet", *more]
    command += [part for value in sets for part in ("--set", value)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 7):
        raise SystemExit(done.stderr)
    return done.returncode


def main() -> None:
    """Read the command line, train, compare, print the counts."""
    parser = argparse.ArgumentParser(description="Trials of evaluate --against.")
    parser.add_argument("config", type=Path)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--runs", type=Path, default=Path("runs/gate"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    arguments = parser.parse_args()
    always = [*arguments.overrides, "evaluate.baselines=[]"]
    sets = {
        (kind, seed): [*always, f"seed={seed}", f"run_dir={arguments.runs / kind}-{seed}", *more]
        for kind, more in (("full", []), ("text", WORSE))
        for seed in range(1, arguments.trials + (2 if kind == "full" else 1))
    }
    for chosen in sets.values():
        for stage in STAGES:
            crossrec(stage, arguments.config, chosen)
    for kind in ("full", "text"):
        codes = Counter(
            crossrec("evaluate", arguments.config, sets[kind, seed], "--against", f"{arguments.runs}/full-{seed + 1}")
            for seed in range(1, arguments.trials + 1)
        )
        print(f"{kind}: {codes[7]} of {arguments.trials} trials end with 7", flush=True)


if __name__ == "__main__":
    main()
