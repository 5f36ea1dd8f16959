"""Kill a run of all stages at random moments, run it again to its end, and compare it with an undisturbed one.

    python benchmarks/kills.py configs/demo.yaml --kills 20 --set adapt.epochs=3 --set finetune.epochs=3

Each kill is SIGKILL, in a directory of its own, at a random moment within the time that the undisturbed run took.
Afterwards the current artifacts must be undamaged. After the run that follows, every file but manifests,
``learning_curve.parquet`` and the log must have the same bytes as in the undisturbed run.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from crossrec_cli.artifacts.files import PIPELINE
from crossrec_cli.artifacts.store import Store

TIMES = {"manifest.json", "learning_curve.parquet"}


def main() -> None:
    """Read the command line, run, kill, compare."""
    parser = argparse.ArgumentParser(description="Runs killed at random moments.")
    parser.add_argument("config", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    arguments = parser.parse_args()
    overrides = [*arguments.overrides, "runtime.checkpoint_every=20 steps", "runtime.num_threads=1"]
    dice, reached, resumed = random.Random(arguments.seed), [], 0
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "undisturbed"
        started = time.monotonic()
        start(arguments.config, overrides, run).wait()
        seconds, expected = time.monotonic() - started, digests(run)
        print(f"undisturbed: {seconds:.0f} s, {len(expected)} files", flush=True)
        for number in range(arguments.kills):
            run, moment = Path(folder) / str(number), dice.uniform(0, seconds)
            killed = start(arguments.config, overrides, run)
            time.sleep(moment)
            killed.kill()
            killed.wait()
            there = [stage for stage in PIPELINE if Store(run).current(stage)]  # raises if one is damaged
            rerun = subprocess.run(
                command(arguments.config, overrides, run), capture_output=True, text=True, check=True
            )
            differing = sorted(name for name, sha in digests(run).items() if expected.get(name) != sha)
            missing = sorted(expected.keys() - digests(run).keys())
            reached.append(len(there))
            resumed += "continuing with epoch" in rerun.stderr
            print(
                f"killed after {moment:.1f} s, {len(there)} stages there: {differing + missing or 'equal'}", flush=True
            )
    print(f"{arguments.kills} kills; stages there at the kill: {sorted(reached)}; {resumed} went on within a training")


def command(config: Path, overrides: list[str], run: Path) -> list[str]:
    """The command of all stages."""
    sets = [word for one in [*overrides, f"run_dir={run}"] for word in ("--set", one)]
    return [sys.executable, "-m", "crossrec_cli", "run", str(config), *sets]


def start(config: Path, overrides: list[str], run: Path) -> subprocess.Popen[bytes]:
    """Start it."""
    return subprocess.Popen(command(config, overrides, run), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def digests(run: Path) -> dict[str, str]:
    """The hash of every current file that holds no times."""
    files = [path for path in run.glob("*/current/*") if path.name not in TIMES]
    return {f"{path.parent.parent.name}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


if __name__ == "__main__":
    main()
