"""Run a config with several seeds and compare crossrec with the baselines over their mean, as Markdown.

    python benchmarks/seeds.py configs/complete_journey.yaml --seeds 1 2 3
    python benchmarks/seeds.py my.yaml --seeds 1 2 3 --set "evaluate.baselines=[words, text_knn, ease_text]"

Each seed has its own run directory, RUN_DIR-SEED; one that is up to date is not run again. A user's NDCG@10 is the mean
over the seeds; intervals are over users. Log-losses are divided by the base rate's.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import ACCURACY, EVALUATE, METRICS, PER_USER
from crossrec_cli.artifacts.store import Store
from crossrec_cli.config.load import load_config
from crossrec_cli.evaluation import metrics
from crossrec_cli.evaluation.significance import interval

NDCG, HR = metrics.name("ndcg", 10), metrics.name("hr", 10)


def main() -> None:
    """Read the command line, run every seed, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    arguments = parser.parse_args()
    stores = [evaluated(arguments.config, seed, arguments.overrides) for seed in arguments.seeds]
    compared(pd.concat([table(store, PER_USER) for store in stores]))
    segments([table(store, METRICS) for store in stores])
    probabilities(pd.concat([table(store, ACCURACY) for store in stores]))


def evaluated(config: Path, seed: int, overrides: list[str]) -> Store:
    """A seed's artifacts; runs what is not up to date."""
    run_dir = f"{load_config(config, overrides).run_dir}-{seed}"
    chosen = [*overrides, f"seed={seed}", f"run_dir={run_dir}"]
    command = [sys.executable, "-m", "crossrec_cli", "run", str(config), "--to", EVALUATE, "--quiet"]
    subprocess.run([*command, *(part for one in chosen for part in ("--set", one))], check=True)
    return Store(load_config(config, chosen).run_path)


def table(store: Store, file: str) -> pd.DataFrame:
    """One of evaluate's tables."""
    made = store.current(EVALUATE)
    assert made is not None
    rows: pd.DataFrame = parquet.read_table(made.file(file)).to_pandas()
    return rows


def compared(rows: pd.DataFrame) -> None:
    """Every model's means, and crossrec's gain over it."""
    means = rows.groupby([c.MODEL, c.USER_ID])[[NDCG, HR]].mean()
    ours = means.loc[c.CROSSREC]
    print(f"{len(ours):,} users\n\n| model | NDCG@10 | HR@10 | crossrec's gain (95 %) |")
    print("|---|---|---|---|")
    for model in rows[c.MODEL].unique():
        mean, gain = means.loc[model].mean(), ""
        if model != c.CROSSREC:
            difference = (ours[NDCG] - means.loc[model][NDCG].reindex(ours.index)).to_numpy()
            low, high = interval(difference)
            gain = f"{np.nanmean(difference):+.4f} ({low:+.4f} to {high:+.4f})"
        print(f"| {model} | {mean[NDCG]:.4f} | {mean[HR]:.4f} | {gain} |")


def segments(tables: list[pd.DataFrame]) -> None:
    """Crossrec and the best other model, by target history and for cold-start items."""
    rows = pd.concat(tables).query("metric == 'ndcg' and k == 10")
    means = rows.groupby([c.SEGMENT, c.MODEL])["value"].mean().unstack()
    print("\n| users | crossrec | best other | which |\n|---|---|---|---|")
    for segment, values in means.iterrows():
        if str(segment).startswith(("target history", "cold")):
            others = values.drop(c.CROSSREC)
            print(f"| {segment} | {values[c.CROSSREC]:.4f} | {others.max():.4f} | {others.idxmax()} |")


def probabilities(rows: pd.DataFrame) -> None:
    """How good the target's probabilities are."""
    of_target = rows[rows[c.DOMAIN] == c.TARGET]
    of_target = of_target.assign(share=of_target["log_loss"] / of_target["base_log_loss"])
    print("\n| pairs of | log-loss / base rate's | calibration error |\n|---|---|---|")
    for segment, pairs in of_target.groupby(c.SEGMENT, sort=False):
        print(f"| {segment} | {pairs['share'].mean():.3f} | {pairs['expected_calibration_error'].mean():.5f} |")


if __name__ == "__main__":
    main()
