"""How long evaluate takes and how much memory it needs, on a generated catalogue without training.

    python benchmarks/evaluate_scale.py --items 1e6 --users 20e3

The tables that the stage reads hold random purchases, random texts and random text vectors of MiniLM's width; the
source has a tenth as many items as the target. finetune makes all scorers before the clock starts; the neural one, of
128 dimensions, is untrained. The stage itself runs in a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet, schemas
from crossrec_cli.artifacts.job import Job
from crossrec_cli.config.load import load_config
from crossrec_cli.runtime.progress import Silent
from crossrec_cli.stages import finetune

WIDTH, BOUGHT, WORDS = 384, 12, 20_000

CHILD = """
import resource, sys, time
from pathlib import Path
from crossrec_cli.config.load import load_config
from crossrec_cli.runtime.progress import Silent
from crossrec_cli.artifacts.job import Job
from crossrec_cli.stages import evaluate
folder = Path(sys.argv[1])
inputs = {str(path.relative_to(folder)): path for path in folder.glob("*/*")}
out = folder / "out"; out.mkdir()
started = time.perf_counter()
evaluate.run(Job(load_config(folder / "config.yaml"), inputs, out, Silent(), out / "checkpoint"))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(f"{time.perf_counter() - started:.0f} s, {peak:.2f} GiB")
"""
CONFIG = """
run_dir: runs/scale
data:
  platforms:
    - name: shop
      interactions: {path: none, columns: {user_id: user, item_id: item, order: order}}
      items: {path: none, columns: {item_id: item, category: category}, text: "{title}"}
domains: {target: {category: target}}
finetune: {init: scratch, epochs: 0, refit: false}
interest: {user_encoder: bag}
"""


def main() -> None:
    """Read the command line, generate, measure."""
    parser = argparse.ArgumentParser(description="Time and memory of evaluate.")
    parser.add_argument("--items", type=float, default=1e6, help="target items; the source has a tenth of them more")
    parser.add_argument("--users", type=float, default=20e3)
    parser.add_argument("--baselines", nargs="*", default=["popularity", "tag_popularity", "text", "item_knn"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        chosen = f"evaluate: {{k: [10], users: null, baselines: [{', '.join(arguments.baselines)}]}}"
        generate(Path(folder), CONFIG + chosen, int(arguments.items), int(arguments.users))
        subprocess.run([sys.executable, "-c", CHILD, folder], check=True)


def generate(folder: Path, config_text: str, target: int, users: int) -> None:
    """Write ``config.yaml`` and every file that evaluate and recommend read."""
    (folder / "config.yaml").write_text(config_text)
    rng, items = np.random.default_rng(0), target + target // 10
    is_target = np.arange(items) < target
    tables = {
        "preprocess/items": items_table(rng, items, is_target),
        "preprocess/users": pa.table(
            {
                c.USER_INDEX: np.arange(users),
                c.USER_ID: np.arange(users).astype(str),
                c.PLATFORM: np.repeat("shop", users),
                c.TAGS: [[f"club={user % 5}"] for user in range(users)],
                c.ACTIVITY: np.full(users, BOUGHT - 1),
                c.RECENCY_DAYS: np.zeros(users),
            }
        ).cast(schemas.USERS),
        **histories(rng, users, items, target),
        "pretrain-adapt/tags": pa.table({c.TAG: [f"club={number}" for number in range(5)]}),
    }
    for stage in ("preprocess", "pretrain-adapt", "finetune"):
        (folder / stage).mkdir()
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet")
    with pq.ParquetWriter(folder / "pretrain-adapt/item_text.parquet", schemas.embeddings(WIDTH)) as writer:
        for begin in range(0, items, 100_000):
            part = rng.standard_normal((min(100_000, items - begin), WIDTH), np.float32)
            columns = {c.ITEM_INDEX: np.arange(begin, begin + len(part)), c.EMBEDDING: parquet.vector_column(part)}
            writer.write_table(pa.table(columns).cast(schemas.embeddings(WIDTH)))
    config = load_config(folder / "config.yaml")
    inputs = {str(path.relative_to(folder)): path for path in folder.glob("*/*")}
    finetune.run(Job(config, inputs, folder / "finetune", Silent(), folder / "checkpoint"))


def items_table(rng: np.random.Generator, items: int, is_target: np.ndarray) -> pa.Table:
    """items.parquet; a text is six words, of which some are common and most are not."""
    words = (rng.beta(0.5, 5, (items, 6)) * WORDS).astype(np.int64).astype(str)
    columns = {name: pa.nulls(items, schemas.ITEMS.field(name).type) for name in schemas.ITEMS.names}
    columns |= {
        c.ITEM_INDEX: np.arange(items),
        c.ITEM_ID: np.arange(items).astype(str),
        c.DOMAIN: np.where(is_target, c.TARGET, c.SOURCE),
        c.CATEGORY: (np.arange(items) % 50).astype(str),
        c.TEXT: [" ".join(row) for row in words.tolist()],
    }
    return pa.table(columns).cast(schemas.ITEMS)


def histories(rng: np.random.Generator, users: int, items: int, target: int) -> dict[str, pa.Table]:
    """interactions.parquet and cases.parquet: the last purchase is the test, the one before it validation."""
    bought = (rng.beta(0.5, 5, users * BOUGHT) * items).astype(np.int64)
    bought[BOUGHT - 1 :: BOUGHT] %= target
    bought[BOUGHT - 2 :: BOUGHT] %= target
    position = np.tile(np.arange(BOUGHT), users)
    columns = {
        name: pa.nulls(len(bought), schemas.INTERACTIONS.field(name).type) for name in schemas.INTERACTIONS.names
    }
    columns |= {
        c.USER_INDEX: np.repeat(np.arange(users), BOUGHT),
        c.POSITION: position,
        c.ITEM_INDEX: bought,
        c.WEIGHT: np.ones(len(bought)),
        c.SPLIT: np.where(position < BOUGHT - 2, c.TRAIN, c.HELD_OUT),
    }
    cases = [
        {
            c.SPLIT: np.repeat(split, users),
            c.ITEM_INDEX: bought[length::BOUGHT],
            c.HISTORY_LENGTH: np.full(users, length),
        }
        for split, length in ((c.VALID, BOUGHT - 2), (c.TEST, BOUGHT - 1))
    ]
    joined = {name: np.concatenate([part[name] for part in cases]) for name in cases[0]}
    joined |= {c.USER_INDEX: np.tile(np.arange(users), 2), c.TARGET_HISTORY_LENGTH: joined[c.HISTORY_LENGTH]}
    joined |= {name: np.zeros(2 * users, bool) for name in (c.COLD_USER, c.COLD_ITEM)}
    return {
        "preprocess/interactions": pa.table(columns).cast(schemas.INTERACTIONS),
        "preprocess/cases": pa.table(joined).select(schemas.CASES.names).cast(schemas.CASES),
    }


if __name__ == "__main__":
    main()
