"""The results of ``crossrec ls``, ``compare`` and ``clean`` on the terminal."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from crossrec_cli.artifacts.files import PIPELINE
from crossrec_cli.console.show_machine import size
from crossrec_cli.console.terminal import Console
from crossrec_cli.pipeline.run_directories import Removal, Repeated, Run, RunComparison
from crossrec_cli.report.formatting import figure

if TYPE_CHECKING:  # SciPy takes a moment to import
    from crossrec_cli.evaluation.significance import Difference


def listed(console: Console, folder: Path, runs: Sequence[Run]) -> dict[str, Any]:
    """Print a table of the runs in a directory.

    Returns:
        The same for ``--json``.
    """
    rows = [
        [
            _name(run, folder),
            run.newest.started[:16].replace("T", " "),
            next(reversed([stage for stage in PIPELINE if stage in run.manifests]), "-"),
            *(figure(run.figures.get(name), 4) if name in run.figures else "" for name in ("ndcg@10", "hr@10")),
            size(run.bytes),
        ]
        for run in runs
    ]
    if rows:
        console.table("", ["run", "newest stage", "last stage", "NDCG@10", "HR@10", "size"], rows, always=True)
    else:
        console.result(Text(f"no run in {folder}"), always=True)
    return {"runs": [_facts(run) for run in runs]}


def compare(console: Console, comparison: RunComparison) -> dict[str, Any]:
    """Print how runs rank compared with the first, and how their configs differ; runs of one config are grouped.

    Returns:
        The same for ``--json``.
    """
    runs, configs, differences = comparison.runs, comparison.configs, comparison.against_first
    root = Path(os.path.commonpath([run.path.resolve().parent for run in runs]))
    heads = [_several(_name(each.runs[0], root), len(each.runs)) for each in configs]
    names = list(dict.fromkeys(name for run in runs for name in run.figures if name.startswith(("ndcg", "hr"))))
    rows = [[name, *(_mean(each, name) for each in configs)] for name in names]
    console.table("Test", ["", *heads], rows, always=True)
    for head, pair in zip(heads[1:], differences, strict=True):
        change = pair and pair.difference
        line = (
            f"{head}: {pair.measure} {change.mean:+.4f} ({change.low:+.4f} to {change.high:+.4f}) compared with "
            f"{heads[0]}, over {change.users:,} users"
            if pair and change
            else f"{head}: no test user in common with {heads[0]}"
        )
        console.result(Text(line), always=True)
    gains, differing = comparison.gains, comparison.differing
    if differences and (any(gains) or differing):
        console.result(Text(), always=True)
    for head, each, of_config in zip(heads, configs, gains, strict=True):
        gain_rows = [
            [model, f"{change.mean:+.4f}", f"{change.low:+.4f} to {change.high:+.4f}", f"{p:.2g}"]
            for model, change, p in of_config
        ]
        if gain_rows:
            console.table(f"Gain of {head} in {each.measure}", ["over", "gain", "95 %", "p"], gain_rows, always=True)
    if differing:
        config_rows = [[key, *map(str, values)] for key, values in differing.items()]
        console.table("Config", ["", *heads], config_rows, always=True)
    return {
        "runs": [_facts(run) for run in runs],
        "tried": [_of_seeds(each, of_config) for each, of_config in zip(configs, gains, strict=True)],
        "beside_first": [
            pair and {"measure": pair.measure, "ours": pair.ours, "first": pair.theirs} | asdict(pair.difference)
            for pair in differences
        ],
        "config": differing,
    }


def _several(name: str, seeds: int) -> str:
    return f"{name}, {seeds} seeds" if seeds > 1 else name


def _mean(each: Repeated, name: str) -> str:
    """One figure of a config, with the standard deviation between its seeds."""
    if name not in each.figures:
        return ""
    spread = f" ± {each.deviations[name]:.4f}" if each.deviations else ""
    return figure(each.figures[name], 4) + spread


def _of_seeds(each: Repeated, gains: list[tuple[str, Difference, float]]) -> dict[str, Any]:
    return {
        "paths": [str(run.path) for run in each.runs],
        "seeds": each.seeds,
        "figures": each.figures,
        "deviations": each.deviations,
        "gains": {model: asdict(change) | {"p_holm": p} for model, change, p in gains},
    }


def cleaned(console: Console, folder: Path, removals: Iterable[Removal], dry_run: bool) -> dict[str, Any]:
    """Print which runs are removed, one after another.

    Returns:
        The same for ``--json``.
    """
    removed, bytes_freed = [], 0
    for run, busy, complete in removals:
        name = _name(run, folder)
        if busy:
            console.warn(f"{name}: another crossrec works there; not removed")
            continue
        if not complete:
            console.warn(f"{run.path}: has files that are not crossrec's; they stay")
        console.result(Text(f"{name}: {'would be removed' if dry_run else 'removed'}, {size(run.bytes)}"), always=True)
        removed.append(str(run.path))
        bytes_freed += run.bytes
    would = "would be " if dry_run else ""
    console.result(Text(f"{size(bytes_freed)} {would}freed, {len(removed)} runs"), always=True)
    return {"removed": removed, "bytes": bytes_freed, "dry_run": dry_run}


def _name(run: Run, folder: Path) -> str:
    """Its path relative to a directory."""
    try:
        name = str(run.path.resolve().relative_to(folder.resolve()))
    except ValueError:
        name = str(run.path)
    return run.path.resolve().name if name == "." else name


def _facts(run: Run) -> dict[str, Any]:
    return {
        "path": str(run.path),
        "newest_stage": run.newest.started,
        "stages": [stage for stage in PIPELINE if stage in run.manifests],
        "figures": run.figures,
        "bytes": run.bytes,
    }
