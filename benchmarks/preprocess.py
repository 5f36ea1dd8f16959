"""Time `crossrec preprocess`, and pandas and Polars scripts that do the same: seconds and peak memory, as Markdown.

    python benchmarks/preprocess.py
    python benchmarks/preprocess.py --rows 1e6 3e6 10e6 --repeats 3 --memory-limit 2GB
    python benchmarks/preprocess.py --rows 30e6 --only crossrec --folder /data/benchmark

Each runs in a process of its own, in turns. Different results are an error. Polars is measured where it is installed
(`pip install polars`).
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import yaml
from preprocess_data import SEED, TARGET_CATEGORIES, generate

CROSSREC, PANDAS, CATEGORIES, POLARS = "crossrec", "pandas", "pandas, categorical ids", "polars"
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024
FIGURES = """
SELECT
    (SELECT count(*) FROM interactions) AS "kept interactions",
    (SELECT count(*) FROM users) AS users,
    (SELECT count(*) FROM items) AS items,
    (SELECT count(*) FROM interactions WHERE split = 'train') AS "train rows",
    (SELECT count(*) FROM cases WHERE split = 'test') AS "test cases",
    (SELECT count(*) FROM cases WHERE split = 'valid') AS "validation cases",
    (SELECT count(*) FROM rejected WHERE "table" = 'interactions') AS "rejected interactions",
    (SELECT sum(hash("row"::BIGINT)) FROM rejected WHERE "table" = 'interactions') AS "rejected interactions' hash",
    (SELECT sum(hash(item_id, domain, price, price_band, text)) FROM items) AS "items' hash",
    (SELECT sum(hash(user_index::INT, position::INT, item_index::INT, split)) FROM interactions) AS "histories' hash",
    (SELECT sum(hash(split, user_index::INT, item_index::INT, history_length::INT)) FROM cases) AS "cases' hash"
"""


@dataclass(frozen=True)
class Cost:
    """What a process took: wall-clock seconds, and the most memory that it held at once."""

    seconds: float
    megabytes: float


def main() -> None:
    """Read the command line, measure every size, print the table."""
    parser = argparse.ArgumentParser(description="Time crossrec preprocess, pandas and Polars.")
    parser.add_argument("--rows", type=lambda text: int(float(text)), nargs="+", default=[1_000_000, 3_000_000])
    parser.add_argument("--repeats", type=int, default=1, help="print the median of so many runs")
    parser.add_argument("--memory-limit", default="2GB", help="crossrec's runtime.memory_limit")
    parser.add_argument(
        "--only", choices=[CROSSREC, PANDAS, CATEGORIES, POLARS], help="run this one alone, compare nothing"
    )
    parser.add_argument("--folder", type=Path, help="for data and results, which stay there; default: a temporary one")
    arguments = parser.parse_args()
    names = [arguments.only] if arguments.only else all_installed()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        print_header(names)
        for rows in arguments.rows:
            print_row(rows, measure(rows, names, folder / str(rows), arguments.repeats, arguments.memory_limit))


def all_installed() -> list[str]:
    """All contestants; Polars only where it can be imported."""
    if importlib.util.find_spec("polars"):
        return [CROSSREC, PANDAS, CATEGORIES, POLARS]
    print("polars is left out, as it is not installed: pip install polars\n")
    return [CROSSREC, PANDAS, CATEGORIES]


def print_header(names: list[str]) -> None:
    """The head of the Markdown table."""
    columns = ["rows", *(f"{name}: {unit}" for name in names for unit in ("s", "MB"))]
    columns += [f"{name} / {CROSSREC}: {what}" for name in names[1:] for what in ("seconds", "memory")]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)


def print_row(rows: int, costs: dict[str, Cost]) -> None:
    """A size's line of the Markdown table."""
    cells = [f"{rows:,}"]
    for cost in costs.values():
        cells += [f"{cost.seconds:.1f}", f"{cost.megabytes:,.0f}"]
    ours, *others = costs.values()
    for theirs in others:
        cells += [f"{theirs.seconds / ours.seconds:.2f}", f"{theirs.megabytes / ours.megabytes:.2f}"]
    print(f"| {' | '.join(cells)} |", flush=True)


def measure(rows: int, names: list[str], folder: Path, repeats: int, memory_limit: str) -> dict[str, Cost]:
    """The median cost of each at one size."""
    apart(generate, folder, rows)
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(crossrec_config(folder, memory_limit)))
    in_pandas, in_polars = (Path(__file__).with_name(f"preprocess_in_{name}.py") for name in (PANDAS, POLARS))
    commands = {
        CROSSREC: ["-m", "crossrec_cli", "preprocess", str(config), "--quiet", "--json"],
        PANDAS: [str(in_pandas), str(folder), str(folder / PANDAS)],
        CATEGORIES: [str(in_pandas), str(folder), str(folder / CATEGORIES), "categories"],
        POLARS: [str(in_polars), str(folder), str(folder / POLARS)],
    }
    costs: dict[str, list[Cost]] = {name: [] for name in names}
    for _ in range(repeats):
        for name in names:
            shutil.rmtree(folder / name, ignore_errors=True)
            costs[name].append(run([sys.executable, *commands[name]], folder / f"{name}.log"))
    for name in names[1:]:
        check(rows, name, apart(figures, folder / CROSSREC / "preprocess/current"), apart(figures, folder / name))
    return {name: median(runs) for name, runs in costs.items()}


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call it in a process of its own: on Linux, a child's peak memory begins at that of the process that starts it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def run(command: list[str], log: Path) -> Cost:
    """Run a command to its end."""
    started = time.perf_counter()
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}\nended with {process.returncode}:\n{log.read_text()[-2000:]}")
    return Cost(seconds, usage.ru_maxrss * MAXRSS_UNIT / 1e6)


def median(costs: list[Cost]) -> Cost:
    """Of the seconds and of the memory."""
    return Cost(statistics.median(cost.seconds for cost in costs), statistics.median(cost.megabytes for cost in costs))


def figures(result: Path) -> dict[str, int]:
    """The figures that must be equal in all results."""
    with duckdb.connect() as connection:
        for table in ("interactions", "items", "users", "cases", "rejected"):
            connection.read_parquet(str(result / f"{table}.parquet")).create_view(table)
        row = connection.sql(FIGURES)
        return dict(zip(row.columns, row.fetchall()[0], strict=True))


def check(rows: int, name: str, ours: dict[str, int], theirs: dict[str, int]) -> None:
    """End with an error if the results differ."""
    differ = [figure for figure in ours if ours[figure] != theirs[figure]]
    if differ:
        lines = [f"{figure}: {CROSSREC} {ours[figure]}, {name} {theirs[figure]}" for figure in differ]
        raise SystemExit("\n".join([f"error: different results at {rows:,} rows", *lines]))


def crossrec_config(folder: Path, memory_limit: str) -> dict[str, Any]:
    """The config."""
    interactions = {name: name for name in ("user_id", "item_id", "timestamp")}
    items = {name: name for name in ("item_id", "category", "brand", "price")}
    shop = {
        "name": "shop",
        "interactions": {"path": str(folder / "interactions.parquet"), "columns": interactions},
        "items": {"path": str(folder / "items.parquet"), "columns": items, "text": "{title}. {brand}"},
    }
    return {
        "run_dir": str(folder / CROSSREC),
        "data": {"platforms": [shop], "detect_language": False, "min_interactions": {"user": 5, "item": 5}},
        "domains": {"source": {"category": "*"}, "target": {"category": TARGET_CATEGORIES}},
        "split": {"strategy": "leave_last_out", "seed": SEED},
        "runtime": {"memory_limit": memory_limit},
    }


if __name__ == "__main__":
    main()
