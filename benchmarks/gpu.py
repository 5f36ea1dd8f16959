"""What does a GPU give? The same work on the CPU and on the device that `auto` picks, side by side, as Markdown.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --texts 20000 --users 20000 --batch-size 1024 --items 1e4 1e5

Titles are those of preprocess_data.py, read by the transformer. A training is one epoch over random histories in the
settings of the defaults. Lists are the ten best of all target items from the model of evaluate_scale.py, whose scores
are computed on the CPU whatever the device; the bare product of random vectors, as wide as the model's dense ones, and
``torch.topk`` say what a device could do. Medians of rounds in which the devices take turns. Reading and training have
the precision of ``auto``, all else is in float32.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import preprocess_data
import pyarrow.parquet as pq
import torch
from evaluate_scale import CONFIG, WIDTH, generate
from recommend import bare_product, load

from crossrec_cli.config.load import load_config
from crossrec_cli.config.schema import Runtime
from crossrec_cli.config.training_fields import Encoder, Finetune, Interest
from crossrec_cli.models.histories import ItemStats
from crossrec_cli.models.neural.sampler import Sampler
from crossrec_cli.models.neural.tower import InterestModel
from crossrec_cli.models.neural.train import fit
from crossrec_cli.models.ragged import Ragged
from crossrec_cli.ranking.recommender import Recommender
from crossrec_cli.runtime import device
from crossrec_cli.runtime.device import Compute
from crossrec_cli.runtime.progress import Silent
from crossrec_cli.text.find import locate
from crossrec_cli.text.transformer import TransformerEncoder

SEED, ROUNDS = 7, 3
Kind = Literal["bag", "sequence", "hybrid"]
CATALOGUE = 20_000
"""Items of the trainings."""
MOST_SCORES = 2 * 10**9
"""Users times items of a round of lists."""
Work = Callable[[], object]


def main() -> None:
    """Read the command line, print a line for each kind of work."""
    parser = argparse.ArgumentParser(description="What a GPU gives, compared with the CPU of the same machine.")
    parser.add_argument("--model", default=Encoder().model, help="encoder.model")
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=10_000, help="of the trainings, and of lists at most")
    parser.add_argument("--batch-size", type=int, default=Finetune().batch_size, help="of the trainings")
    parser.add_argument("--items", type=float, nargs="+", default=[1e4, 1e5, 1e6], help="target items of the lists")
    arguments = parser.parse_args()
    runtimes = [Runtime(device=(name,)) for name in devices()]
    names = [describe(device.prepare(runtime)) for runtime in runtimes]
    if len(names) == 1:
        print("There is no GPU here: the CPU's figures alone.\n")
    head = ["a second", *names, *(["ratio"] if len(names) > 1 else [])]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)

    titles = make_titles(arguments.texts)
    line("texts read", len(titles), [reading(arguments.model, titles, runtime) for runtime in runtimes])
    for kind in get_args(Kind):
        work = [training(kind, arguments.users, arguments.batch_size, runtime) for runtime in runtimes]
        line(f"users trained, {kind}", arguments.users, work)
    for items in map(int, arguments.items):
        compare_lists(items, min(arguments.users, MOST_SCORES // items), runtimes)


def compare_lists(items: int, users: int, runtimes: list[Runtime]) -> None:
    """Print the two lines of a catalogue."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder), CONFIG, items, users)
        config = load_config(Path(folder) / "config.yaml")
        recommenders = [load(config.model_copy(update={"runtime": runtime}), Path(folder)) for runtime in runtimes]
    line(f"lists, {items:,} items", users, [listing(made) for made in recommenders])
    width = recommenders[0].scorer.vectors[0].shape[1]
    line(f"bare product, {items:,} items", users, [product(users, items, width, runtime) for runtime in runtimes])


def devices() -> list[str]:
    """The CPU, and the device of ``auto`` if that is another."""
    return list(dict.fromkeys(["cpu", device.prepare(Runtime()).device.type]))


def describe(compute: Compute) -> str:
    """A column's head."""
    kind = compute.device.type
    name = torch.cuda.get_device_name(compute.device) if kind == "cuda" else kind
    threads = f", {torch.get_num_threads()} threads" if kind == "cpu" else ""
    return f"{name}{threads}, {str(compute.dtype).removeprefix('torch.')}"


def line(what: str, amount: int, works: list[Work]) -> None:
    """Print how many a second each device does, and how many times as many as the CPU."""
    rounds = [[timed(work) for work in works] for _ in range(ROUNDS + 1)][1:]  # the first warms up
    speeds = [amount / statistics.median(seconds) for seconds in zip(*rounds, strict=True)]
    cells = [what, *(f"{speed:,.0f}" for speed in speeds), *(f"{speed / speeds[0]:.1f}" for speed in speeds[1:])]
    print(f"| {' | '.join(cells)} |", flush=True)


def timed(work: Work) -> float:
    """Seconds until all is done, on the device too."""
    started = time.perf_counter()
    work()
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return time.perf_counter() - started


def make_titles(number: int) -> list[str]:
    """Titles of a generated shop, which has an item for ten rows; a few are missing."""
    with tempfile.TemporaryDirectory() as folder:
        preprocess_data.generate(Path(folder), 10 * number)
        titles: list[str] = pq.read_table(Path(folder) / "items.parquet")["title"].drop_null().unique().to_pylist()
    return titles


def reading(model: str, titles: list[str], runtime: Runtime) -> Work:
    """Embed all titles."""
    config = Encoder(model=model, kind="transformer")
    encoder = TransformerEncoder(locate(config), config, device.prepare(runtime, SEED))
    return lambda: encoder.embed(titles, lambda done, detail="": None)


def training(kind: Kind, users: int, batch_size: int, runtime: Runtime) -> Work:
    """An epoch of a model that goes on learning; half of the items are the target's."""
    compute, rng, interest = device.prepare(runtime, SEED), np.random.default_rng(SEED), Interest(user_encoder=kind)
    lengths = 2 + rng.geometric(1 / 20, users)
    bought = (rng.beta(0.5, 5, lengths.sum()) * CATALOGUE).astype(np.int64)
    stats = ItemStats(rng.permutation(CATALOGUE) % 2 == 0, np.bincount(bought, minlength=CATALOGUE))
    tags = Ragged(np.empty(0, np.int64), np.zeros(users, np.int64))
    domains = (stats.is_source & stats.trained, stats.is_target & stats.trained)
    window = interest.max_sequence + 1
    sampler = Sampler(Ragged(bought, lengths), tags, domains, batch_size, window, by_length=kind != "bag")
    model = InterestModel(interest, rng.standard_normal((CATALOGUE, WIDTH), np.float32), stats, tags=0)
    model.to(compute.device)
    settings = Finetune(epochs=1, batch_size=batch_size)
    return lambda: fit(model, sampler, settings, SEED, compute, Silent())


def listing(made: Recommender) -> Work:
    """Everybody's list."""
    users = np.arange(made.dataset.users.num_rows)
    return lambda: list(made.lists(users))


def product(users: int, items: int, width: int, runtime: Runtime) -> Work:
    """The ten highest products of each user, in float32 as lists are."""
    target = device.prepare(runtime, SEED).device
    user_vectors, item_vectors = (torch.randn(size, width).to(target) for size in (users, items))
    return lambda: bare_product(user_vectors, item_vectors)


if __name__ == "__main__":
    main()
