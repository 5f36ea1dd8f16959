"""Is a model that goes on every night as good as one that is trained anew every night, and how much faster?

    python benchmarks/nightly.py configs/complete_journey.yaml --days 10

The interactions end ever later: after all but the last ``--days`` days of the data, then after one more. The first day
is trained once; from then on one runs with ``--nightly``, the other without. Further ``--set`` go to both. Printed as
Markdown: NDCG@10 on test, and processor seconds of pretrain-adapt and finetune, and of all five stages.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crossrec_cli.artifacts.files import EVALUATE, FINETUNE, PIPELINE, PRETRAIN_ADAPT
from crossrec_cli.artifacts.store import Store
from crossrec_cli.config.load import load_config

MEASURE = "crossrec_ndcg@10"
"""Of evaluate; needs 10 in ``evaluate.k``."""
BASELINE = "evaluate.baselines=[popularity]"
"""As ``--nightly`` has it, so that both evaluate the same."""


class Day(NamedTuple):
    """The figures of a run."""

    ndcg: float
    training: float
    """Processor seconds of pretrain-adapt and finetune."""
    all: float
    """Of all stages."""


def main() -> None:
    """Read the command line, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--every", type=int, default=1, help="how many days lie between two runs")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    chosen = parser.parse_args()
    config = load_config(chosen.config, chosen.overrides)
    interactions = config.data.platforms[0].interactions
    rows = pq.read_table(interactions.path)
    times = rows[interactions.columns.timestamp].cast(pa.timestamp("us"))
    last = pc.max(times)
    print("| day | rows | anew: NDCG@10 | training s | all s | nightly: NDCG@10 | training s | all s |")
    print("|---|---|---|---|---|---|---|---|")
    anew, nightly = list[Day](), list[Day]()
    with tempfile.TemporaryDirectory() as folder:
        for day in range(chosen.days + 1):
            back = pa.scalar((chosen.days - day) * chosen.every, pa.int64())
            until = pc.subtract(last, pc.multiply(back, pa.scalar(86_400_000_000, pa.duration("us"))))
            known = rows.filter(pc.less_equal(times, until))
            path = Path(folder) / "interactions.parquet"
            pq.write_table(known, path)
            given = [*chosen.overrides, BASELINE, f"data.platforms[0].interactions.path={json.dumps(str(path))}"]
            anew.append(run(chosen.config, Path(folder) / "anew", given))
            if day:
                nightly.append(run(chosen.config, Path(folder) / "nightly", given, "--nightly"))
            else:
                shutil.copytree(Path(folder) / "anew", Path(folder) / "nightly", symlinks=True)
                nightly.append(anew[0])
            figures = (f"{one.ndcg:.4f} | {one.training:.1f} | {one.all:.1f}" for one in (anew[-1], nightly[-1]))
            print(f"| {day} | {known.num_rows:,} | {' | '.join(figures)} |", flush=True)
    sums = [[sum(figures) for figures in zip(*runs[1:], strict=True)] for runs in (nightly, anew)]
    ndcg, training, whole = (one / other for one, other in zip(*sums, strict=True))
    print(f"\nNightly / anew, days 1 to {chosen.days}: NDCG@10 {ndcg:.3f}, training {training:.2f}, all {whole:.2f}")


def run(config: Path, run_dir: Path, overrides: Sequence[str], *more: str) -> Day:
    """Run all stages."""
    settings = [word for one in [f"run_dir={json.dumps(str(run_dir))}", *overrides] for word in ("--set", one)]
    subprocess.run([sys.executable, "-m", "crossrec_cli", "run", str(config), *settings, *more, "--quiet"], check=False)
    store = Store(run_dir)
    made = {stage: artifact.manifest for stage in PIPELINE if (artifact := store.current(stage))}
    seconds = {stage: manifest.cpu_seconds for stage, manifest in made.items()}
    return Day(
        float(made[EVALUATE].summary[MEASURE]), seconds[PRETRAIN_ADAPT] + seconds[FINETUNE], sum(seconds.values())
    )


if __name__ == "__main__":
    main()
