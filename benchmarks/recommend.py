"""How fast lists are made compared with a bare matrix product and top-k, and how much memory all users' lists need.

    python benchmarks/recommend.py speed --items 1e4 3e4 1e5 3e5 1e6
    python benchmarks/recommend.py memory --items 2e5 --users 1e6

``speed`` lets the model of evaluate_scale.py make lists of the ten best of all target items, from the users' histories
to finished rows with ids and names. It takes turns with the bare product of random user and item vectors, as wide as
the model's dense ones, and ``torch.topk``; medians. ``memory`` runs the whole stage in a process of its own.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from evaluate_scale import CONFIG, generate

from crossrec_cli.config.load import load_config
from crossrec_cli.config.schema import Config
from crossrec_cli.ranking.recommender import Recommender
from crossrec_cli.runtime.progress import Silent

ROUNDS, BATCH_CELLS = 5, 2**26
CHILD = """
import resource, sys, time
from pathlib import Path
from crossrec_cli.config.load import load_config
from crossrec_cli.runtime.progress import Silent
from crossrec_cli.artifacts.job import Job
from crossrec_cli.stages import recommend
folder = Path(sys.argv[1])
inputs = {str(path.relative_to(folder)): path for path in folder.glob("*/*")}
out = folder / "out"; out.mkdir()
started = time.perf_counter()
recommend.run(Job(load_config(folder / "config.yaml"), inputs, out, Silent(), out / "checkpoint"))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(f"{time.perf_counter() - started:.0f} s, {peak:.2f} GiB")
"""


def main() -> None:
    """Read the command line, generate, measure."""
    parser = argparse.ArgumentParser(description="Speed and memory of recommend.")
    parser.add_argument("what", choices=("speed", "memory"))
    parser.add_argument("--items", type=float, nargs="+", default=[1e4, 3e4, 1e5, 3e5, 1e6])
    parser.add_argument("--users", type=float, default=2e3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    for items in map(int, arguments.items):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            chosen = f"runtime: {{device: cpu, num_threads: {arguments.threads}}}\n"
            generate(folder, CONFIG + chosen, items, int(arguments.users))
            if arguments.what == "memory":
                subprocess.run([sys.executable, "-c", CHILD, folder], check=True)
            else:
                print(f"{items:9,} items: {speed(load_config(folder / 'config.yaml'), folder)}", flush=True)


def speed(config: Config, folder: Path) -> str:
    """Users a second of both, and their ratio."""
    recommender = load(config, folder)
    users = np.arange(recommender.dataset.users.num_rows)
    items, width = recommender.scorer.vectors[0].shape
    vectors, ready = torch.randn(items, width), torch.randn(len(users), width)
    bare, lists = [], []
    for number in range(ROUNDS + 1):
        started = time.perf_counter()
        bare_product(ready, vectors)
        between = time.perf_counter()
        for _ in recommender.lists(users):
            pass
        ended = time.perf_counter()
        if number:  # the first warms up
            bare.append(len(users) / (between - started))
            lists.append(len(users) / (ended - between))
    ratio = statistics.median(ours / plain for ours, plain in zip(lists, bare, strict=True))
    return f"bare {statistics.median(bare):,.0f} users/s, lists {statistics.median(lists):,.0f}, ratio {ratio:.2f}"


def load(config: Config, folder: Path) -> Recommender:
    """The model of evaluate_scale.py."""
    return Recommender(config, {str(path.relative_to(folder)): path for path in folder.glob("*/*")}, Silent())


def bare_product(users: torch.Tensor, items: torch.Tensor) -> None:
    """The ten highest products of each user."""
    for batch in torch.split(users, max(BATCH_CELLS // len(items), 1)):
        torch.topk(batch @ items.T, 10, dim=1)


if __name__ == "__main__":
    main()
