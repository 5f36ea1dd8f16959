"""A stage's results as people read them."""

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

COUNTS = 0.02
"""A scorer that decides a smaller share than this is not named in the line that says what counts."""


def outcome(console: Console, outcome: Outcome) -> None:
    """Say what became of a stage, and show its table."""
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
        for place, reason in enumerate(step.reasons):
            head = f"{step.stage:<15} {step.does:<11}" if not place else " " * 27
            console.result(Text(f"{head} {visible(reason)}"), wanted=True)
    return {"plan": [asdict(step) for step in steps]}


def _quality(console: Console, artifact: Artifact) -> None:
    """What each rule took, where it took anything, and what was left at each step."""
    left: dict[str, dict[str, str]] = {}
    rows: list[list[str]] = []
    table = parquet.read_table(artifact.file(QUALITY)).to_pylist()
    for row in table:
        measure, label, figure = row[c.MEASURE], row[c.LABEL], f"{row[c.VALUE]:,.0f}"
        if measure == "removed" and row[c.VALUE]:
            rows.append([f"  {row[c.OTHER]}: {label}", f"−{figure}", "", ""])
        elif measure == "catalogue" and row[c.VALUE]:
            rows.append([f"  items {label}", "", "", figure])
        elif measure.endswith("_left"):
            if label not in left:
                rows.append([label])
            left.setdefault(label, {})[measure] = figure
    measures = ("interactions_left", "users_left", "items_left")
    filled = [row if len(row) > 1 else row + [left[row[0]].get(name, "") for name in measures] for row in rows]
    console.table("What was left out, and what is left", ["step", "interactions", "users", "items"], filled)
    console.result(Text(reach([tuple(row.values()) for row in table])), wanted=False)
    folder = artifact.path.parent / CURRENT
    for file, what in ((QUALITY_PAGE, "The data in pictures"), (REJECTED, "Every row left out")):
        console.remark(f"{what}: {folder / Path(file).name}")
    console.result(Text(), wanted=False)


def _counted(console: Console, artifact: Artifact) -> None:
    """What each scorer decides, the most first."""
    shares = sorted(artifact.manifest.summary["scorers"].items(), key=lambda pair: -pair[1])
    named = [f"{name} {share:.0%}" for name, share in shares if share >= COUNTS]
    console.say(f"what counts: {', '.join(named) or 'nothing, as no scorer tells items apart'}")


def _metrics(console: Console, artifact: Artifact) -> None:
    """Every model beside crossrec; its segments; what the lists are like; and its scores."""
    found = parquet.read_table(artifact.file(METRICS)).to_pylist()
    ks = sorted({row[c.K] for row in found})
    k = 10 if 10 in ks else ks[-1]
    values = {(row[c.SEGMENT], row[c.MODEL], row[c.METRIC]): row for row in found if row[c.K] == k}
    models = list(dict.fromkeys(model for _, model, _ in values))
    hr, ndcg = (next(metric for _, _, metric in values if metric.startswith(kind)) for kind in ("hr", "ndcg"))
    _compared(console, artifact, models, values, (hr, ndcg), k)
    lists = ("coverage", "novelty", "diversity", "miscalibration", "cold_items")
    rows = [[model, *(figure(values["all", model, measure][c.VALUE], 3) for measure in lists)] for model in models]
    console.table(f"What the lists of {k} are like", ["model", *(name.replace("_", " ") for name in lists)], rows)
    bins = parquet.read_table(artifact.file(CALIBRATION)).to_pylist()
    told = [[f"{row['predicted']:.3%}", f"{row['observed']:.3%}", f"{row['pairs']:,}"] for row in bins]
    if told:
        console.table("Scores, and who bought", ["score", "bought", "pairs"], told)


def _compared(
    console: Console,
    artifact: Artifact,
    models: Sequence[str],
    values: Mapping[tuple[str, str, str], dict[str, Any]],
    measures: tuple[str, str],
    k: int,
) -> None:
    """Two tables: the models over all users, and each part of the users by crossrec and by the best of the others."""
    ndcg = measures[1]
    gains = {
        row[c.MODEL]: f"{gain(row)}{'' if row[c.P_HOLM] < 0.05 else '  not sure'}"
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
    parts = [part for part in dict.fromkeys(part for part, _, _ in values) if part != "all" and " " in part]
    told = []
    for part in [part for part in parts if part.partition(" ")[0] in ("cold", "target")] if others else []:
        best = max(others, key=lambda model: values[part, model, ndcg][c.VALUE])
        ours = values[part, c.CROSSREC, ndcg]
        label = f"{part}, {ours[c.N]:,}{'' if ours[c.N] >= SMALL else ' (few)'}"
        told.append([label, figure(ours[c.VALUE], 4), figure(values[part, best, ndcg][c.VALUE], 4), best])
    if told:
        console.table(f"{names[1]} by users", ["users", "crossrec", "best other", "which"], told)


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
    console.table(f"The best of {len(rows)} trials, by validation", ["trial", "NDCG@10", "seconds", "with"], shown)
    console.remark(f"All trials: {artifact.file(TRIALS)}")
    console.remark(f"The config with the best: {artifact.file(TUNED)}")


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else f"{value}"


def _transfer(console: Console, artifact: Artifact) -> None:
    """Every segment's controls, and in red where the source does harm."""
    found = parquet.read_table(artifact.file(TRANSFER_TABLE)).to_pylist()
    rows = []
    for before, row in zip([{}, *found], found, strict=False):
        new = row[c.SEGMENT] != before.get(c.SEGMENT)
        segment = f"{row[c.SEGMENT]}, {row[c.N]:,}" if new else ""
        rows.append([segment, row[c.CONTROL], f"{row['ndcg@10']:.4f}", gain(row) if row[c.GAIN] else ""])
    title = f"NDCG@10 on test, seeds: {found[0][c.SEEDS]}, and gain over the target alone (95 %)"
    console.table(title, ["users", "control", "NDCG@10", "gain"], rows)
    for segment in artifact.manifest.summary["negative_transfer"]:
        console.result(Text(f"Negative transfer: {segment} users do better with the target alone.", "bold red"), True)


def _kept_out(console: Console, artifact: Artifact) -> None:
    """What recommend.rules kept out, where there are any."""
    summary = artifact.manifest.summary
    if "short_lists" not in summary:
        return
    rows = [[rule, f"{count:,}", ""] for rule, count in summary["items_kept_out"].items()]
    rows += [[rule, "", f"{count:,}"] for rule, count in summary["places_kept_out"].items()]
    console.table("What the rules kept out", ["rule", "target items", "places in lists"], rows)
    if summary["short_lists"]:
        console.remark(f"{summary['short_lists']:,} of {summary['users']:,} lists are shorter than recommend.k.")


_TABLES: dict[str, Callable[[Console, Artifact], None]] = {
    PREPROCESS: _quality,
    FINETUNE: _counted,
    EVALUATE: _metrics,
    TRANSFER: _transfer,
    TUNE: _trials,
    RECOMMEND: _kept_out,
}
