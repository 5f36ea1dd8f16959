"""Runs, as people read them."""

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
    """A table of the runs in a directory.

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
        console.table("", ["run", "newest stage", "up to", "NDCG@10", "HR@10", "size"], rows, wanted=True)
    else:
        console.result(Text(f"no run in {folder}"), wanted=True)
    return {"runs": [_facts(run) for run in runs]}


def compare(console: Console, found: RunComparison) -> dict[str, Any]:
    """How runs rank beside the first of them, and what in their configs differs; those of one config are one.

    Returns:
        The same for ``--json``.
    """
    runs, tried, beside = found.runs, found.configs, found.against_first
    root = Path(os.path.commonpath([run.path.resolve().parent for run in runs]))
    heads = [_several(_name(each.runs[0], root), len(each.runs)) for each in tried]
    names = list(dict.fromkeys(name for run in runs for name in run.figures if name.startswith(("ndcg", "hr"))))
    rows = [[name, *(_mean(each, name) for each in tried)] for name in names]
    console.table("Test", ["", *heads], rows, wanted=True)
    for head, pair in zip(heads[1:], beside, strict=True):
        change = pair and pair.difference
        told = (
            f"{head}: {pair.measure} {change.mean:+.4f} ({change.low:+.4f} to {change.high:+.4f}) beside {heads[0]}, "
            f"over {change.users:,} users"
            if pair and change
            else f"{head}: no test user in common with {heads[0]}"
        )
        console.result(Text(told), wanted=True)
    others, differing = found.gains, found.differing
    if beside and (any(others) or differing):
        console.result(Text(), wanted=True)
    for head, each, gains in zip(heads, tried, others, strict=True):
        lines = [
            [model, f"{change.mean:+.4f}", f"{change.low:+.4f} to {change.high:+.4f}", f"{p:.2g}"]
            for model, change, p in gains
        ]
        if lines:
            console.table(f"Gain of {head} in {each.measure}", ["over", "gain", "95 %", "p"], lines, wanted=True)
    if differing:
        told_rows = [[key, *map(str, values)] for key, values in differing.items()]
        console.table("Config", ["", *heads], told_rows, wanted=True)
    return {
        "runs": [_facts(run) for run in runs],
        "tried": [_of_seeds(each, gains) for each, gains in zip(tried, others, strict=True)],
        "beside_first": [
            pair and {"measure": pair.measure, "ours": pair.ours, "first": pair.theirs} | asdict(pair.difference)
            for pair in beside
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
    """Say which runs go, one after another.

    Returns:
        The same for ``--json``.
    """
    gone, bytes_freed = [], 0
    for run, busy, whole in removals:
        name = _name(run, folder)
        if busy:
            console.warn(f"{name}: another crossrec works there; it stays")
            continue
        if not whole:
            console.warn(f"{run.path}: holds something that is not crossrec's; that stays")
        console.result(Text(f"{name}: {'would go' if dry_run else 'gone'}, {size(run.bytes)}"), wanted=True)
        gone.append(str(run.path))
        bytes_freed += run.bytes
    would = "would be " if dry_run else ""
    console.result(Text(f"{size(bytes_freed)} {would}freed, {len(gone)} runs"), wanted=True)
    return {"removed": gone, "bytes": bytes_freed, "dry_run": dry_run}


def _name(run: Run, folder: Path) -> str:
    """Its path as seen from a directory."""
    try:
        told = str(run.path.resolve().relative_to(folder.resolve()))
    except ValueError:
        told = str(run.path)
    return run.path.resolve().name if told == "." else told


def _facts(run: Run) -> dict[str, Any]:
    return {
        "path": str(run.path),
        "newest_stage": run.newest.started,
        "stages": [stage for stage in PIPELINE if stage in run.manifests],
        "figures": run.figures,
        "bytes": run.bytes,
    }
