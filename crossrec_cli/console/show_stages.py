"""The stages' results on the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.text import Text

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import (
    CALIBRATION,
    EVALUATE,
    FINETUNE,
    METRICS,
    PREPROCESS,
    QUALITY,
    QUALITY_PAGE,
    RECOMMEND,
    REJECTED,
    SIGNIFICANCE,
    TRANSFER,
    TRANSFER_TABLE,
    TRIALS,
    TUNE,
    TUNED,
)
from crossrec_cli.artifacts.store import CURRENT, Artifact
from crossrec_cli.console.show_check import reach
from crossrec_cli.console.terminal import Console, visible
from crossrec_cli.pipeline.plan import Step
from crossrec_cli.pipeline.run import Outcome
from crossrec_cli.report.formatting import SMALL, figure, gain, tested

MIN_SHARE = 0.02
"""Scorers with a smaller share are not in the line of scorer shares."""


def outcome(console: Console, outcome: Outcome) -> None:
    """Print whether a stage ran or is up to date, and its table."""
    manifest = outcome.artifact.manifest
    if outcome.ran:
        console.say(f"done in {manifest.wall_seconds:.1f} s, in {outcome.artifact.path}")
    else:
        console.say(f"up to date, {outcome.reason}")
    if table := _TABLES.get(outcome.stage):
        table(console, outcome.artifact)


def planned(console: Console, steps: Sequence[Step]) -> dict[str, Any]:
    """Print what a run would do, and why.

    Returns:
        The same for ``--json``.
    """
    for step in steps:
        for index, reason in enumerate(step.reasons):
            head = " " * 27 if index else f"{step.stage:<15} {step.does:<11}"
            console.result(Text(f"{head} {visible(reason)}"), always=True)
    return {"plan": [asdict(step) for step in steps]}


def _quality(console: Console, artifact: Artifact) -> None:
    """The rows that each rule removed, and the rows kept after each step."""
    kept: dict[str, dict[str, str]] = {}
    rows: list[list[str]] = []
    table = parquet.read_table(artifact.file(QUALITY)).to_pylist()
    for row in table:
        measure, label, count = row[c.MEASURE], row[c.LABEL], f"{row[c.VALUE]:,.0f}"
        if measure == "removed" and row[c.VALUE]:
            rows.append([f"  {row[c.OTHER]}: {label}", f"−{count}", "", ""])
        elif measure == "catalogue" and row[c.VALUE]:
            rows.append([f"  items {label}", "", "", count])
        elif measure.endswith("_left"):
            if label not in kept:
                rows.append([label])
            kept.setdefault(label, {})[measure] = count
    measures = ("interactions_left", "users_left", "items_left")
    filled = [row if len(row) > 1 else row + [kept[row[0]].get(name, "") for name in measures] for row in rows]
    console.table("Rows removed, rows kept", ["step", "interactions", "users", "items"], filled)
    console.result(Text(reach([tuple(row.values()) for row in table])), always=False)
    folder = artifact.path.parent / CURRENT
    for file, label in ((QUALITY_PAGE, "Data quality page"), (REJECTED, "Removed rows")):
        console.remark(f"{label}: {folder / Path(file).name}")
    console.result(Text(), always=False)


def _scorer_shares(console: Console, artifact: Artifact) -> None:
    """Each scorer's share in the ranking, the largest first."""
    shares = sorted(artifact.manifest.summary["scorers"].items(), key=lambda pair: -pair[1])
    lines = [f"{name} {share:.0%}" for name, share in shares if share >= MIN_SHARE]
    console.say(f"scorer shares: {', '.join(lines) or 'none, since no scorer distinguishes items'}")


def _metrics(console: Console, artifact: Artifact) -> None:
    """All models; segments; coverage, novelty and the like; calibration."""
    rows = parquet.read_table(artifact.file(METRICS)).to_pylist()
    ks = sorted({row[c.K] for row in rows})
    k = 10 if 10 in ks else ks[-1]
    values = {(row[c.SEGMENT], row[c.MODEL], row[c.METRIC]): row for row in rows if row[c.K] == k}
    models = list(dict.fromkeys(model for _, model, _ in values))
    hr, ndcg = (next(metric for _, _, metric in values if metric.startswith(kind)) for kind in ("hr", "ndcg"))
    _compared(console, artifact, models, values, (hr, ndcg), k)
    measures = ("coverage", "novelty", "diversity", "miscalibration", "cold_items")
    cells = [[model, *(figure(values["all", model, name][c.VALUE], 3) for name in measures)] for model in models]
    console.table(f"Beyond accuracy, lists of {k}", ["model", *(name.replace("_", " ") for name in measures)], cells)
    _source_share(console, artifact)
    bins = parquet.read_table(artifact.file(CALIBRATION)).to_pylist()
    if cells := [[f"{row['predicted']:.3%}", f"{row['observed']:.3%}", f"{row['pairs']:,}"] for row in bins]:
        console.table("Calibration: score and share bought", ["score", "bought", "pairs"], cells)


def _source_share(console: Console, artifact: Artifact) -> None:
    """How much of the scores the source says, and the pair of categories by which it says most."""
    summary = artifact.manifest.summary
    if summary[c.SOURCE_SHARE] is None:
        return
    text = f"The source says {summary[c.SOURCE_SHARE]:.0%} of what purchases add to the scores of the listed items"
    for pair in summary["source_pairs"][:1]:
        text += f"; most: {pair[c.SOURCE_CATEGORY]} → {pair[c.CATEGORY]}, {pair[c.SHARE]:.0%}"
    console.result(Text(visible(f"{text}.")), always=False)


def _compared(
    console: Console,
    artifact: Artifact,
    models: Sequence[str],
    values: Mapping[tuple[str, str, str], dict[str, Any]],
    measures: tuple[str, str],
    k: int,
) -> None:
    """Two tables: all models over all users, and crossrec and the best other model by segment."""
    ndcg = measures[1]
    gains = {
        row[c.MODEL]: f"{gain(row)}{'' if row[c.P_HOLM] < 0.05 else '  not significant'}"
        for row in parquet.read_table(artifact.file(SIGNIFICANCE)).to_pylist()
        if (row[c.METRIC], row[c.K]) == (ndcg, k)
    }
    rows = [
        [model, *(figure(values["all", model, name][c.VALUE], 4) for name in measures), gains.get(model, "")]
        for model in models
    ]
    users = tested(artifact.manifest.summary) or f"{values['all', models[0], ndcg][c.N]:,} users"
    names = [f"{name.upper().replace('_', ' ')}@{k}" for name in measures]
    console.table(f"Test, {users}", ["model", *names, "crossrec's gain (95 %)"], rows)
    others = [model for model in models if model != c.CROSSREC]
    segments = [name for name in dict.fromkeys(name for name, _, _ in values) if name.startswith(("cold ", "target "))]
    rows = []
    for segment in segments if others else []:
        best = max(others, key=lambda model: values[segment, model, ndcg][c.VALUE])
        ours = values[segment, c.CROSSREC, ndcg]
        label = f"{segment}, {ours[c.N]:,}{'' if ours[c.N] >= SMALL else ' (few)'}"
        rows.append([label, figure(ours[c.VALUE], 4), figure(values[segment, best, ndcg][c.VALUE], 4), best])
    if rows:
        console.table(f"{names[1]} by segment", ["segment, users", "crossrec", "best other", "model"], rows)


def _trials(console: Console, artifact: Artifact) -> None:
    """The best ten trials."""
    rows = parquet.read_table(artifact.file(TRIALS)).to_pylist()
    shown = [
        (
            f"{row['trial']}",
            row["state"] if row["valid_ndcg@10"] is None else f"{row['valid_ndcg@10']:.4f}",
            f"{row['seconds']:.0f}",
            ", ".join(f"{name} {_short(value)}" for name, value in json.loads(row["values"]).items()),
        )
        for row in rows[:10]
    ]
    console.table(f"The best of {len(rows)} trials, by validation", ["trial", "NDCG@10", "seconds", "values"], shown)
    console.remark(f"All trials: {artifact.file(TRIALS)}")
    console.remark(f"Config of the best trial: {artifact.file(TUNED)}")


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else f"{value}"


def _transfer(console: Console, artifact: Artifact) -> None:
    """Every segment's controls, and in red the segments that the source harms."""
    results = parquet.read_table(artifact.file(TRANSFER_TABLE)).to_pylist()
    rows = []
    for before, row in zip([{}, *results], results, strict=False):
        new = row[c.SEGMENT] != before.get(c.SEGMENT)
        segment = f"{row[c.SEGMENT]}, {row[c.N]:,}" if new else ""
        rows.append([segment, row[c.CONTROL], f"{row['ndcg@10']:.4f}", gain(row) if row[c.GAIN] else ""])
    title = f"NDCG@10 on test, seeds: {results[0][c.SEEDS]}, and gain over the target alone (95 %)"
    console.table(title, ["segment, users", "control", "NDCG@10", "gain"], rows)
    for segment in artifact.manifest.summary["negative_transfer"]:
        console.result(Text(f"Negative transfer for {segment}: the target alone is better.", "bold red"), always=True)


def _kept_out(console: Console, artifact: Artifact) -> None:
    """What ``recommend.rules`` kept out, if there are rules."""
    summary = artifact.manifest.summary
    if "short_lists" not in summary:
        return
    rows = [[rule, f"{count:,}", ""] for rule, count in summary["items_kept_out"].items()]
    rows += [[rule, "", f"{count:,}"] for rule, count in summary["places_kept_out"].items()]
    console.table("Kept out by the rules", ["rule", "target items", "list positions"], rows)
    if summary["short_lists"]:
        console.remark(f"{summary['short_lists']:,} of {summary['users']:,} lists are shorter than recommend.k.")


_TABLES: dict[str, Callable[[Console, Artifact], None]] = {
    PREPROCESS: _quality,
    FINETUNE: _scorer_shares,
    EVALUATE: _metrics,
    TRANSFER: _transfer,
    TUNE: _trials,
    RECOMMEND: _kept_out,
}
