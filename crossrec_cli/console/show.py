"""A stage's results as people read them."""

from __future__ import annotations

import json
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet, schemas
from crossrec_cli.artifacts.files import (
    CALIBRATION,
    CASES,
    EVALUATE,
    FINETUNE,
    METRICS,
    PER_USER,
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
from crossrec_cli.artifacts.store import CURRENT, Artifact, Store
from crossrec_cli.config.schema import Config
from crossrec_cli.console.terminal import Console, visible
from crossrec_cli.errors import ArtifactError, InputError, RegressionError
from crossrec_cli.export.folder import CARD
from crossrec_cli.pipeline.plan import Step
from crossrec_cli.pipeline.run import Outcome
from crossrec_cli.report.formatting import SMALL, figure, gain, tested
from crossrec_cli.runtime.interrupts import whole

if TYPE_CHECKING:  # DuckDB takes a moment to import
    from crossrec_cli.data.check import Check
    from crossrec_cli.data.suspects import Suspect

DESCRIBED_SHOWN = 4
"""Lines about items that are described in several ways; ``--json`` has them all."""

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


def added(console: Console, artifact: Artifact) -> dict[str, Any]:
    """Say what became of the rows of a file of new items.

    Returns:
        The same for ``--json``.
    """
    told = artifact.manifest.summary
    parts = [(what, domain) for what in ("new", "existing") for domain in (c.SOURCE, c.TARGET)]
    rows = [(f"{what}, in the {domain}", told[what][domain]) for what, domain in parts]
    rows += [(f"  with another {name}", count) for name, count in told["changed"].items()]
    rows += [("existing as another listing, which stays", told["linked"])]
    rows += [(f"left out: {reason}", count) for reason, count in told["left_out"].items()]
    shown = [(label, f"{count:,}") for label, count in rows if count]
    shown += [("added in all, with earlier ones", f"{told['added_in_all']:,}")]
    console.table("Items of the file", ["", "items"], shown)
    if count := told["new"][c.TARGET]:
        console.say(f"new in the lists of 'crossrec recommend' from now on: {count:,}")
    if count := told["new"][c.SOURCE]:
        console.say(f"new in the source, so that searches find them and no list holds them: {count:,}")
    return {"path": str(artifact.path), "summary": told}


@dataclass(frozen=True)
class Page:
    """What is wanted of the evaluation page beside the file."""

    markdown: bool = False
    png: bool = False
    open: bool = False
    against: Path | None = None
    """An earlier run to compare with."""


def page(console: Console, config: Config, wanted: Page) -> dict[str, Any]:
    """Write the evaluation page from what the run holds, and say what it says first.

    Args:
        console: where to say it.
        config: the run's.
        wanted: what else is to be done with it.

    Returns:
        Where it is and its verdict, for ``--json``; nothing if the run has not been evaluated.

    Raises:
        ArtifactError: if one of the run's artifacts is damaged.
        UnavailableError: if the figures cannot be tracked where they should be.
    """
    from crossrec_cli.report import page as pages  # noqa: PLC0415  charts take a moment to import
    from crossrec_cli.report import page_files, tracking  # noqa: PLC0415
    from crossrec_cli.report.facts import Facts  # noqa: PLC0415

    facts = Facts.read(Store(config.run_path), config.report)
    if facts is None:
        return {}
    path, verdict = page_files.write_page(facts, config.run_path), pages.verdict(facts)
    console.result(Text(verdict, style="bold"), wanted=False)
    console.remark(f"The page: {path}")
    if wanted.png:
        console.remark(f"Its charts: {page_files.write_charts(facts, config.run_path)}")
    if wanted.markdown:
        console.result(Text(page_files.as_markdown(facts)), wanted=True)
    if wanted.open and not webbrowser.open(path.resolve().as_uri()):
        console.warn("--open: there is no browser to open the page in")
    for where in tracking.track(config.tracking, facts, config.run_path, path):
        console.remark(where)
    told = {"report": str(path), "verdict": verdict}
    return told | ({"markdown": page_files.as_markdown(facts)} if wanted.markdown else {})


def exported(console: Console, config: Config, folder: Path) -> dict[str, Any]:
    """Export a run's model, and say where it is and how it is served.

    Returns:
        The same for ``--json``.
    """
    with whole():
        from crossrec_cli.export.write import write_export  # noqa: PLC0415  torch takes a moment to import

    made = write_export(config, folder, console)
    size = sum(entry.bytes for entry in made.manifest.files.values())
    console.say(f"done in {made.manifest.wall_seconds:.1f} s, {size / 1e6:,.1f} MB in {folder}")
    console.remark(f"Served by: crossrec recommend --from {folder}")
    console.remark(f"The model card: {folder / CARD}")
    return {"run_dir": config.run_dir, "folder": str(folder), "bytes": size} | made.manifest.summary


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


def evaluated(run_dir: Path) -> Artifact:
    """The evaluation that another is to be compared with.

    Raises:
        ArtifactError: if there is none.
    """
    found = Store(run_dir).current(EVALUATE)
    if found is None:
        raise ArtifactError(f"--against: {run_dir}: no evaluate artifact; run 'crossrec evaluate' there first")
    return found


def against(console: Console, ours: Artifact, theirs: Artifact, run_dir: Path, tolerance: float) -> dict[str, Any]:
    """Compare an evaluation with an earlier one.

    Returns:
        The comparison, for ``--json``.

    Raises:
        InputError: if they cannot be compared.
        RegressionError: if this one ranks worse, by more than chance and the tolerance.
    """
    from crossrec_cli.evaluation.gate import Comparison, deciding  # noqa: PLC0415  SciPy takes a moment to import

    now, before = (parquet.read_table(artifact.file(PER_USER)) for artifact in (ours, theirs))
    measure = deciding(now)
    found = Comparison.of(now, before, measure, tolerance)
    change = found.difference
    again = ours.manifest.id == theirs.manifest.id
    told = (
        f"{measure} {found.ours:.4f}, {found.theirs:.4f} in {run_dir}: {change.mean:+.4f} "
        f"({change.low:+.4f} to {change.high:+.4f}) over {change.users:,} users"
    )
    if (same := ours.manifest.inputs[CASES] == theirs.manifest.inputs[CASES]) is False:
        users = len(now[c.USER_ID].unique())
        console.warn(
            f"--against: {run_dir} was tested on other purchases; compared are {change.users:,} of {users:,} users, "
            "those whom both were tested on"
        )
    if found.unpaired:
        common = change.users + found.unpaired
        odd = f"--against: {found.unpaired:,} of {common:,} users have {measure} in only one of this run and {run_dir}"
        if same:
            raise InputError(f"{odd}, on the same test; evaluate both with the same evaluate.mask_seen, or retrain")
        console.warn(f"{odd}; they are not compared")
    facts = {
        "run_dir": str(run_dir),
        "measure": measure,
        "ours": found.ours,
        "theirs": found.theirs,
        "unpaired": found.unpaired,
        "same_test": same,
        "same_evaluation": again,
    }
    if found.lost:
        told = f"{told}, worse by more than chance and the {tolerance:.0%} of evaluate.tolerance"
        raise RegressionError(told, facts | asdict(change))
    outcome = "the same evaluation" if again else "no significant loss"
    console.result(Text(f"{told}, {outcome}."), wanted=False)
    return facts | asdict(change)


def check(console: Console, found: Check) -> dict[str, Any]:
    """A look at the data, on one screen.

    Returns:
        The same for ``--json``.
    """
    _columns(console, found)
    for warning in found.warnings:
        console.warn(warning)
    out = [(label, other, value) for measure, label, other, value in found.measures if measure == "removed" and value]
    rows = [[f"{other}: {label}", f"{value:,.0f}"] for label, other, value in out]
    console.remark(f"Of the first {found.sample:,} interactions of each platform, and all items and users:")
    if rows:
        console.table("Would be left out", ["rule", "rows"], rows)
    for _, label, of, number in (row for row in found.measures if row[0] == "identity" and row[3]):
        console.result(Text(f"Identity of {of}: {label} {number:,.0f}"), wanted=False)
    sizes = {(measure, label): value for measure, label, _, value in found.measures}
    names = ("interactions", "users", "items", "density")
    if domains := [domain for domain in (c.SOURCE, c.TARGET) if ("density", domain) in sizes]:
        table = [
            [domain, *(f"{sizes[name, domain]:,.0f}" for name in names[:3]), f"{sizes['density', domain]:.3%}"]
            for domain in domains
        ]
        console.table("Would be left", ["domain", *names], table)
    if ("users", "both") in sizes:
        shared = (
            f"Shared: {sizes['users', 'both']:,.0f} users; {found.words[1]:,} of the target's {found.words[0]:,} words"
        )
        console.result(Text(shared), wanted=False)
    if reach := _reach(found.measures):
        console.result(Text(reach), wanted=False)
    _suspects(console, found.suspects)
    console.result(Text(f"Transfer {found.verdict}."), wanted=False)
    return {
        "columns": [dict(zip(("source", "name", "column", "first_value"), row, strict=True)) for row in found.columns],
        "measures": [dict(zip(schemas.QUALITY.names, row, strict=True)) for row in found.measures],
        "readings": [dict(zip(("source", "name", "reading"), row, strict=True)) for row in found.readings],
        "times": {
            platform: {"earliest": first.isoformat(), "latest": last.isoformat()}
            for platform, (first, last) in found.times.items()
        },
        "warnings": found.warnings,
        "target_words": found.words[0],
        "shared_words": found.words[1],
        "suspects": [asdict(suspect) for suspect in found.suspects],
        "too_few": found.too_few,
        "transfer": found.verdict,
        "problem": found.problem,
    }


def _suspects(console: Console, suspects: Sequence[Suspect]) -> None:
    """What to look at, by kind; what can be pasted into the config; of items described in several ways a few."""
    by_kind = {kind: [one for one in suspects if one.kind == kind] for kind in ("guest account", "no product", "tag")}
    by_kind["rest"] = [one for one in suspects if one.kind not in by_kind][:DESCRIBED_SHOWN]
    if suspects:
        console.result(Text("Look at this", style="bold"), wanted=False)
    for kind, some in by_kind.items():
        for one in some:
            console.result(Text(f"  {one.platform}: {visible(one.text)}."), wanted=False)
        if kind == "no product" and some:
            console.result(Text(f"  exclude: {json.dumps([one.id for one in some])}"), wanted=False)


def _columns(console: Console, found: Check) -> None:
    """What each column is, how it is read, and from when to when the data run."""
    readings = {(source, ours): reading for source, ours, reading in found.readings}
    for source in dict.fromkeys(source for source, *_ in found.columns):
        console.result(Text(source, style="bold"), wanted=False)
        for ours, theirs, value in (row[1:] for row in found.columns if row[0] == source):
            reading = f" ({visible(readings[source, ours])})" if (source, ours) in readings else ""
            line = f"  {ours:<10} {visible(theirs):<24} {visible(value)}{reading}"
            console.result(console.fit(Text(line)), wanted=False)
    for platform, (first, last) in found.times.items():
        console.result(Text(f"{platform}: times from {first:%Y-%m-%d} to {last:%Y-%m-%d}"), wanted=False)


def _reach(measures: Sequence[tuple[str, str, str | None, float]]) -> str:
    """What can be recommended, and to whom, in a line; empty where that is not known."""
    reach = {label: f"{value:,.0f}" for measure, label, _, value in measures if measure == c.REACH}
    if c.FOR_SALE not in reach:
        return ""
    return (
        f"For sale: {reach[c.FOR_SALE]} of {reach[c.IN_CATALOGUE]} target items. "
        f"Served: {reach[c.SERVED]} of {reach[c.PEOPLE]} people."
    )


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
    console.result(Text(_reach([tuple(row.values()) for row in table])), wanted=False)
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
