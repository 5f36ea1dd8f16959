"""Bringing stages up to date."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossrec_cli.artifacts.files import ADDED, ADDITIONS, UPDATED
from crossrec_cli.artifacts.job import Job
from crossrec_cli.artifacts.store import Artifact, Store, describe_files
from crossrec_cli.artifacts.work import Work
from crossrec_cli.config.schema import Config
from crossrec_cli.errors import ArtifactError
from crossrec_cli.pipeline.changes import Basis, basis_of, out_of_date
from crossrec_cli.pipeline.current import additions, read_by, resolve_unrequested
from crossrec_cli.pipeline.table import BY_NAME, SHARED, STAGES, Stage
from crossrec_cli.runtime import distributed
from crossrec_cli.runtime.progress import Reporter, Silent


@dataclass(frozen=True)
class Outcome:
    """What was done with a stage."""

    stage: str
    artifact: Artifact
    ran: bool
    reason: str
    """Why it ran, or why it did not have to."""


def run_stages(
    config: Config,
    requested: Collection[str],
    report: Reporter,
    force: bool = False,
    exported: Artifact | None = None,
) -> Iterator[Outcome]:
    """Bring stages up to date, in order. The caller holds the run directory's lock.

    Args:
        config: the whole config.
        requested: names of the stages to run; what they read of other stages must exist.
        report: gets the progress.
        force: whether to run them even if they are up to date.
        exported: an artifact with all that they read of other stages, instead of the run directory.

    Raises:
        ArtifactError: if a stage that is read but not requested is missing, damaged or out of date.
    """
    store = Store(config.run_path)
    current: dict[str, Artifact] = {}
    for stage in STAGES:
        if stage.name in requested:
            report.begin(stage.name)
            outcome = _bring_up_to_date(store, stage, config, current, report, force)
            current[stage.name] = outcome.artifact
            yield outcome
        elif exported:
            current[stage.name] = exported
        else:
            current |= resolve_unrequested(store, stage, config, current, requested, report)


@dataclass(frozen=True)
class _Task:
    """The work that the leader sends to the other processes."""

    stage: str
    inputs: Mapping[str, Path]
    checkpoint: Path
    earlier: Artifact | None


def follow(config: Config) -> None:
    """In a process other than the leader: do a share of each stage that the leader sends, until it sends no more."""
    for task in distributed.tasks():
        BY_NAME[task.stage].run(
            Job(config, task.inputs, Path(os.devnull), Silent(), task.checkpoint, earlier=task.earlier)
        )


def add_items(config: Config, file: Path, platform: str | None, report: Reporter) -> Artifact:
    """Add a file's items to the catalogue. The caller holds the run directory's lock.

    Args:
        config: the whole config.
        file: in the shape of the platform's items file.
        platform: the platform of the items; None where there is only one.
        report: gets the progress.

    Raises:
        ArtifactError: if preprocess or pretrain-adapt is missing, damaged or out of date.
    """
    store, adding = Store(config.run_path), BY_NAME[ADDITIONS]
    current = read_by(config, adding.name, report)
    report.begin(adding.name)
    earlier_additions = additions(store, config, current, report).get(ADDITIONS)
    inputs = adding.inputs(current) | (dict.fromkeys((ADDED, UPDATED), earlier_additions) if earlier_additions else {})
    basis = basis_of(adding, config, current)
    return _make(store, adding, config, inputs, basis, report, file=file, platform=platform)


def _bring_up_to_date(
    store: Store, stage: Stage, config: Config, current: Mapping[str, Artifact], report: Reporter, force: bool
) -> Outcome:
    basis = basis_of(stage, config, current)
    try:
        artifact = store.current(stage.name)
        reason = out_of_date(stage, artifact, basis) if artifact else "not run yet"
    except ArtifactError as error:
        artifact, reason = None, str(error)
    if artifact and not reason and not force:
        return Outcome(stage.name, artifact, False, "config and inputs unchanged")
    reason = reason or "--force"
    report.log(f"{stage.name} runs: {reason}")
    earlier = artifact if artifact and artifact.manifest.stage_version == stage.version else None
    made = _make(store, stage, config, stage.inputs(current), basis, report, earlier)
    return Outcome(stage.name, made, True, reason)


def _make(
    store: Store,
    stage: Stage,
    config: Config,
    inputs: Mapping[str, Artifact],
    basis: Basis,
    report: Reporter,
    earlier: Artifact | None = None,
    **more: Any,
) -> Artifact:
    """Run a stage and commit its files; ``earlier`` is the artifact that they replace."""
    work = Work()
    with store.draft(stage.name) as draft:
        paths = {file: made.file(file) for file, made in inputs.items()}
        checkpoint = store.checkpoint(stage.name, basis.digest)
        with (
            distributed.together(_Task(stage.name, paths, checkpoint, earlier))
            if stage.name in SHARED
            else nullcontext()
        ):
            summary = stage.run(Job(config, paths, draft, report, checkpoint, basis.code, earlier), **more)
        files = describe_files(draft)
        manifest = work.manifest(
            stage.name, stage.version, basis.digest, basis.config, basis.inputs, files, summary, config.seed
        )
        return store.commit(draft, manifest)
