"""What a run would do."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from crossrec_cli.artifacts.store import Artifact, Store
from crossrec_cli.config.schema import Config
from crossrec_cli.errors import ArtifactError
from crossrec_cli.pipeline.changes import basis_of, changes
from crossrec_cli.pipeline.current import resolve_unrequested
from crossrec_cli.pipeline.table import STAGES, Stage
from crossrec_cli.runtime.progress import Silent

RUNS: Final = "runs"
MAY_RUN: Final = "may run"
UP_TO_DATE: Final = "up to date"


@dataclass(frozen=True)
class Step:
    """What a run would do with a stage."""

    stage: str
    does: str
    """``RUNS``, ``MAY_RUN`` where that depends on the files of an earlier stage, or ``UP_TO_DATE``."""
    reasons: tuple[str, ...]


def plan(config: Config, requested: Collection[str], force: bool = False) -> list[Step]:
    """What ``run_stages`` would do. Nothing is written or locked.

    Args:
        config: the whole config.
        requested: names of the stages to run; what they read of other stages must exist.
        force: whether they would run even if they are up to date.

    Raises:
        ArtifactError: if a stage that is read but not requested is missing, damaged or out of date.
    """
    store, current, steps = Store(config.run_path), dict[str, Artifact](), dict[str, Step]()
    for stage in STAGES:
        if stage.name in requested:
            try:
                artifact, damage = store.current(stage.name), None
            except ArtifactError as error:
                artifact, damage = None, str(error)
            upstream_to_run = [name for name in stage.upstream if name in steps and steps[name].does != UP_TO_DATE]
            steps[stage.name] = _step(stage, config, current, artifact, damage, sorted(upstream_to_run), force)
            current |= {stage.name: artifact} if artifact else {}
        else:
            current |= resolve_unrequested(store, stage, config, current, requested, Silent())
    return list(steps.values())


def _step(
    stage: Stage,
    config: Config,
    current: Mapping[str, Artifact],
    artifact: Artifact | None,
    damage: str | None,
    upstream_to_run: Sequence[str],
    force: bool,
) -> Step:
    """What a run would do with a stage, given which of the stages that it reads would run."""
    if artifact is None:
        return Step(stage.name, RUNS, (damage or "not run yet",))
    changed = [
        change
        for change in changes(stage, artifact, basis_of(stage, config, current))
        if not any(change.startswith(f"input {name}/") for name in upstream_to_run)
    ]
    if changed or force:
        return Step(stage.name, RUNS, tuple(changed or ["--force"]))
    if upstream_to_run:
        return Step(stage.name, MAY_RUN, (f"if {' or '.join(upstream_to_run)} gives other files than before",))
    return Step(stage.name, UP_TO_DATE, ("config and inputs unchanged",))
