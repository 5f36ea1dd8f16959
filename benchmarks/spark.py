"""From how many rows on does a cluster pay? `crossrec preprocess` with both engines: seconds, peak memory, the ratio.

    python benchmarks/spark.py
    python benchmarks/spark.py --rows 1e6 3e6 --repeats 3 --memory-limit 2GB
    PYSPARK_SUBMIT_ARGS="--master spark://host:7077 pyspark-shell" python benchmarks/spark.py --folder /shared/benchmark

The shop is that of preprocess.py; each run is a process of its own, in turns. Memory is what this process and all that
it starts, Java too, hold at once, five times a second; pages that several of them share count for each. On a cluster
that is the driver alone. It needs Linux, Java 17 and the extra ``spark``.

Both must write the same tables: the same rows in the same order. Only floats may differ, by one in a million, as sums
have no fixed order, and the files' bytes, as DuckDB marks every column as nullable and Spark does not.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import yaml
from preprocess import Cost, apart, crossrec_config, median, print_row
from preprocess_data import generate

ENGINES = ("duckdb", "spark")
SECONDS_BETWEEN = 0.2
PAGE = os.sysconf("SC_PAGE_SIZE")
PARENT, RESIDENT = 1, 21
"""Fields of /proc/PID/stat, counted from the one after the name."""


def main() -> None:
    """Read the command line, measure every size, print the table."""
    parser = argparse.ArgumentParser(description="Time crossrec preprocess on DuckDB and on Spark.")
    parser.add_argument("--rows", type=lambda text: int(float(text)), nargs="+", default=[10**6, 10**7, 3 * 10**7])
    parser.add_argument("--repeats", type=int, default=1, help="print the median of so many runs")
    parser.add_argument("--memory-limit", default="4GB", help="runtime.memory_limit: DuckDB's, and of Spark's driver")
    parser.add_argument("--folder", type=Path, help="for data and results, which stay there; default: a temporary one")
    arguments = parser.parse_args()
    columns = ["rows", *(f"{engine}: {unit}" for engine in ENGINES for unit in ("s", "MB"))]
    columns += [f"spark / duckdb: {what}" for what in ("seconds", "memory")]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        for rows in arguments.rows:
            print_row(rows, measure(rows, folder / str(rows), arguments.repeats, arguments.memory_limit))


def measure(rows: int, folder: Path, repeats: int, memory_limit: str) -> dict[str, Cost]:
    """The median cost of each engine at one size."""
    apart(generate, folder, rows)
    costs: dict[str, list[Cost]] = {engine: [] for engine in ENGINES}
    for _ in range(repeats):
        for engine in ENGINES:
            config = crossrec_config(folder, memory_limit) | {"run_dir": str(folder / engine)}
            config["data"]["engine"] = engine
            file = folder / f"{engine}.yaml"
            file.write_text(yaml.safe_dump(config))
            shutil.rmtree(folder / engine, ignore_errors=True)
            command = [sys.executable, "-m", "crossrec_cli", "preprocess", str(file), "--quiet"]
            costs[engine].append(run(command, folder / f"{engine}.log"))
    check(rows, *(folder / engine / "preprocess/current" for engine in ENGINES))
    return {engine: median(runs) for engine, runs in costs.items()}


def run(command: list[str], log: Path) -> Cost:
    """Run a command to its end."""
    started, peak = time.perf_counter(), 0
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
        while process.poll() is None:
            peak = max(peak, resident(process.pid))
            time.sleep(SECONDS_BETWEEN)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}\nended with {process.returncode}:\n{log.read_text()[-2000:]}")
    return Cost(seconds, peak / 1e6)


def resident(root: int) -> int:
    """Bytes of memory that a process and all its descendants hold."""
    children: dict[int, list[int]] = {}
    size: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        children.setdefault(int(fields[PARENT]), []).append(int(stat.parent.name))
        size[int(stat.parent.name)] = int(fields[RESIDENT]) * PAGE
    total, left = 0, [root]
    while left:
        process = left.pop()
        total += size.get(process, 0)
        left += children.get(process, [])
    return total


def check(rows: int, ours: Path, theirs: Path) -> None:
    """End with an error if a table differs in a row, or in the order of its rows."""
    with duckdb.connect() as connection:
        for file in sorted(ours.glob("*.parquet")):
            a, b = (connection.read_parquet(str(folder / file.name)) for folder in (ours, theirs))
            a.create_view("a", replace=True)
            b.create_view("b", replace=True)
            if a.columns != b.columns:
                raise SystemExit(f"error: {file.name} has other columns at {rows:,} rows: {a.columns}, {b.columns}")
            differ = " OR ".join(map(differs, a.columns, map(str, a.types)))  # the shorter one is filled up with nulls
            if found := connection.sql(f"SELECT count(*) FROM a POSITIONAL JOIN b WHERE {differ}").fetchall()[0][0]:
                raise SystemExit(f"error: {file.name} differs at {rows:,} rows, in {found:,} of its own")


def differs(column: str, kind: str) -> str:
    """SQL for whether two rows differ in a column."""
    a, b = f'a."{column}"', f'b."{column}"'
    if kind in ("FLOAT", "DOUBLE"):
        return f"({a} IS NULL) <> ({b} IS NULL) OR abs({a} - {b}) > 1e-6 * abs({a})"
    return f"{a} IS DISTINCT FROM {b}"


if __name__ == "__main__":
    main()
