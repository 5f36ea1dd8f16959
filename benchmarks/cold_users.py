"""Cold-start users: are the lists that recommend makes for them better than what sells best?

    python benchmarks/cold_users.py configs/complete_journey.yaml --seeds 1 2 3

A tenth of the users who bought in the target and in the source are drawn. Their target purchases are removed from the
raw file, and the stages run on the rest. Then the lists in ``recommendations.parquet`` are compared with what these
users bought, and so are the target items that most others bought.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from crossrec_cli.artifacts import columns as c
from crossrec_cli.config.load import load_config
from crossrec_cli.evaluation.significance import interval

K, SHARE = 10, 0.1


def main() -> None:
    """Read the command line, hide, run, measure."""
    parser = argparse.ArgumentParser(description="Lists for cold-start users.")
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    results = [measured(arguments.config, arguments.overrides, seed) for seed in arguments.seeds]
    for seed, (ours, popular) in zip(arguments.seeds, results, strict=True):
        print(f"seed {seed}: NDCG@{K} {ours.mean():.4f}, popularity {popular.mean():.4f}, {len(ours):,} users")
    ours, popular = (np.concatenate(part) for part in zip(*results, strict=True))
    gain, (low, high) = (ours - popular).mean(), interval(ours - popular)
    print(f"all: {ours.mean():.4f} compared with {popular.mean():.4f}, gain {gain:+.4f} ({low:+.4f} to {high:+.4f})")


def measured(path: Path, overrides: list[str], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """NDCG@10 of each hidden user, by the lists and by popularity."""
    config = load_config(path, overrides)
    (platform,) = config.data.platforms
    columns, target = platform.interactions.columns, set(config.domains.target.category)
    user, item, time = columns.user_id, columns.item_id, columns.timestamp
    bought = pd.read_parquet(platform.interactions.path)
    catalogue = pd.read_parquet(platform.items.path).astype({platform.items.columns.item_id: str})
    kind = catalogue.set_index(platform.items.columns.item_id)[platform.items.columns.category]
    bought[[user, item]] = bought[[user, item]].astype(str)
    in_target = bought[item].map(kind).isin(kind[kind.map(lambda path: within(path, target))]).to_numpy()
    both = sorted(set(bought.loc[in_target, user]) & set(bought.loc[~in_target, user]))
    hidden = set(np.random.default_rng(seed).choice(both, int(SHARE * len(both)), replace=False))
    held_out = bought[user].isin(hidden).to_numpy() & in_target
    with tempfile.TemporaryDirectory() as folder:
        left = Path(folder) / "interactions.parquet"
        bought[~held_out].sort_values(time).to_parquet(left)
        chosen = [*overrides, f"data.platforms[0].interactions.path={json.dumps(str(left))}", f"run_dir={folder}/run"]
        chosen += [f"seed={seed}", f"recommend.k={K}", "recommend.reasons=0"]
        words = [word for one in chosen for word in ("--set", one)]
        for stage in ("preprocess", "pretrain-adapt", "finetune", "recommend"):
            subprocess.run([sys.executable, "-m", "crossrec_cli", stage, str(path), "--quiet", *words], check=True)
        read = {
            name: pd.read_parquet(f"{folder}/run/{name}.parquet")
            for name in (
                "preprocess/current/items",
                "preprocess/current/interactions",
                "recommend/current/recommendations",
            )
        }
    items, trained, lists = read.values()
    ids = items.set_index("item_index")["item_id"]
    target_ids = set(items.loc[items["domain"] == "target", "item_id"])
    sold = trained["item_index"].map(ids)
    best = sold[sold.isin(target_ids)].value_counts().index[:K].tolist()
    truth = bought[held_out].groupby(user)[item].agg(lambda own: set(own) & target_ids)
    truth = truth[truth.map(len) > 0]
    of_user = lists.groupby("user_id")["item_id"].agg(list)
    pairs = [(ndcg(of_user.get(one, []), owned), ndcg(best, owned)) for one, owned in truth.items() if one in of_user]
    ours, popular = np.array(pairs).T
    return ours, popular


def within(path: str | None, target: set[str]) -> bool:
    """Whether a category is one of the target's, or below one."""
    return path is not None and any(f"{path}{c.PATH}".startswith(f"{name}{c.PATH}") for name in target)


def ndcg(listed: list[str], owned: set[str]) -> float:
    """NDCG@10 of one list; the ideal list begins with all that was bought."""
    gain = 1 / np.log2(np.arange(2, K + 2))
    hits = np.array([one in owned for one in listed] + [False] * (K - len(listed)))
    return float((gain * hits).sum() / gain[: min(len(owned), K)].sum())


if __name__ == "__main__":
    main()
