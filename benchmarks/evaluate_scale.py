"""How long evaluate takes and how much memory it needs, on a generated catalogue without training.

    python benchmarks/evaluate_scale.py --items 1e6 --users 20e3

The tables that the stage reads are written with random purchases and random texts' vectors of MiniLM's width, and an
untrained model of 128 dimensions; half of the items are the source. The stage itself runs in a process of its own.
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

from crossrec_cli.artifacts import tables as t

WIDTH, BOUGHT, FEW = 384, 12, 20_000

CHILD = """
import resource, sys, time
from pathlib import Path
from crossrec_cli.config.load import load_config
from crossrec_cli.reporting import Silent
from crossrec_cli.stages import Job, evaluate
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
        generate(Path(folder), int(arguments.items), int(arguments.users))
        chosen = f"evaluate: {{k: [10], baselines: [{', '.join(arguments.baselines)}]}}"
        (Path(folder) / "config.yaml").write_text(CONFIG + chosen)
        subprocess.run([sys.executable, "-c", CHILD, folder], check=True)


def generate(folder: Path, target: int, users: int) -> None:
    """Write every file that evaluate reads."""
    from crossrec_cli.interest.ensemble import Ensemble  # noqa: PLC0415
    from safetensors.torch import save_file  # noqa: PLC0415  torch takes a moment to import

    from crossrec_cli.config.schema import Interest  # noqa: PLC0415
    from crossrec_cli.interest.batches import Domain  # noqa: PLC0415

    rng, items = np.random.default_rng(0), target + target // 10
    is_target = np.arange(items) < target
    tables = {
        "preprocess/items": items_table(items, is_target),
        "preprocess/users": pa.table(
            {
                t.USER_INDEX: np.arange(users),
                t.USER_ID: np.arange(users).astype(str),
                t.PLATFORM: np.repeat("shop", users),
                t.TAGS: [[f"club={user % 5}"] for user in range(users)],
                t.ACTIVITY: np.full(users, BOUGHT - 1),
                t.RECENCY_DAYS: np.zeros(users),
            }
        ).cast(t.USERS),
        **histories(rng, users, items, target),
        "pretrain-adapt/tags": pa.table({t.TAG: [f"club={number}" for number in range(5)]}),
    }
    for stage in ("preprocess", "pretrain-adapt", "finetune"):
        (folder / stage).mkdir()
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet")
    vectors = rng.standard_normal((items, WIDTH), np.float32)
    with pq.ParquetWriter(folder / "pretrain-adapt/item_text.parquet", t.embeddings(WIDTH)) as writer:
        for begin in range(0, items, 100_000):
            part = vectors[begin : begin + 100_000]
            columns = {t.ITEM_INDEX: np.arange(begin, begin + len(part)), t.EMBEDDING: t.vector_column(part)}
            writer.write_table(pa.table(columns).cast(t.embeddings(WIDTH)))
    some = is_target[:FEW]
    model = Ensemble.create(Interest(user_encoder="bag"), vectors[:FEW], Domain(some, some.astype(np.int64)), 5)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    for name, tensor in state.items():  # what belongs to one of a few items stands for many
        if tensor.ndim and len(tensor) == FEW:
            state[name] = tensor[np.arange(items) % FEW].contiguous()
    save_file(state, folder / "finetune/model.safetensors")


def items_table(items: int, is_target: np.ndarray) -> pa.Table:
    """items.parquet."""
    columns = {name: pa.nulls(items, t.ITEMS.field(name).type) for name in t.ITEMS.names}
    columns |= {
        t.ITEM_INDEX: np.arange(items),
        t.ITEM_ID: np.arange(items).astype(str),
        t.DOMAIN: np.where(is_target, t.TARGET, t.SOURCE),
        t.CATEGORY: (np.arange(items) % 50).astype(str),
        t.TEXT: np.arange(items).astype(str),
    }
    return pa.table(columns).cast(t.ITEMS)


def histories(rng: np.random.Generator, users: int, items: int, target: int) -> dict[str, pa.Table]:
    """interactions.parquet and cases.parquet: the last purchase is the test, the one before it validation."""
    bought = (rng.beta(0.5, 5, users * BOUGHT) * items).astype(np.int64)
    bought[BOUGHT - 1 :: BOUGHT] %= target
    bought[BOUGHT - 2 :: BOUGHT] %= target
    place = np.tile(np.arange(BOUGHT), users)
    columns = {name: pa.nulls(len(bought), t.INTERACTIONS.field(name).type) for name in t.INTERACTIONS.names}
    columns |= {
        t.USER_INDEX: np.repeat(np.arange(users), BOUGHT),
        t.POSITION: place,
        t.ITEM_INDEX: bought,
        t.WEIGHT: np.ones(len(bought)),
        t.SPLIT: np.where(place < BOUGHT - 2, t.TRAIN, t.HELD_OUT),
    }
    cases = [
        {
            t.SPLIT: np.repeat(split, users),
            t.ITEM_INDEX: bought[length::BOUGHT],
            t.HISTORY_LENGTH: np.full(users, length),
        }
        for split, length in ((t.VALID, BOUGHT - 2), (t.TEST, BOUGHT - 1))
    ]
    joined = {name: np.concatenate([part[name] for part in cases]) for name in cases[0]}
    joined |= {t.USER_INDEX: np.tile(np.arange(users), 2), t.TARGET_HISTORY_LENGTH: joined[t.HISTORY_LENGTH]}
    joined |= {name: np.zeros(2 * users, bool) for name in (t.COLD_USER, t.COLD_ITEM)}
    return {
        "preprocess/interactions": pa.table(columns).cast(t.INTERACTIONS),
        "preprocess/cases": pa.table(joined).select(t.CASES.names).cast(t.CASES),
    }


if __name__ == "__main__":
    main()
