"""The artifacts of earlier stages, which must exist and fit the config and each other.

Their sources outside the run directory are not checked: finished artifacts are enough for stages that read them, and
the files that they were made from count until the stage that reads these runs again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from crossrec_cli.artifacts.files import ADDED, ADDITIONS, PRETRAIN_ADAPT
from crossrec_cli.artifacts.store import Artifact, Store
from crossrec_cli.config.schema import Config
from crossrec_cli.errors import ArtifactError
from crossrec_cli.pipeline.changes import basis_of, out_of_date
from crossrec_cli.pipeline.nightly import set_by_a_night
from crossrec_cli.pipeline.table import BY_NAME, STAGES, Stage
from crossrec_cli.runtime.progress import Reporter, Silent


def read_by(config: Config, stage: str, report: Reporter) -> dict[str, Artifact]:
    """The artifacts of the earlier stages that a stage reads, by their names.

    Args:
        config: the whole config.
        stage: the name of the stage that reads.
        report: gets a warning about added items that are ignored.

    Raises:
        ArtifactError: if one of these stages is missing, damaged or out of date.
    """
    store, current = Store(config.run_path), dict[str, Artifact]()
    for earlier in STAGES:
        if earlier.name in BY_NAME[stage].upstream:
            current[earlier.name] = _require(store, earlier, config, current, [stage])
    if ADDED in BY_NAME[stage].reads_if_there:
        current |= additions(store, config, current, report)
    return current


def inputs_of(
    config: Config, stage: str, report: Reporter | None = None, exported: Artifact | None = None
) -> dict[str, Path]:
    """The earlier stages' files that a stage reads, by stage/name; see ``read_by``, and ``run_stages`` for exports."""
    artifacts = (
        {earlier.name: exported for earlier in STAGES} if exported else read_by(config, stage, report or Silent())
    )
    return {file: made.file(file) for file, made in BY_NAME[stage].inputs(artifacts).items()}


def up_to_date(config: Config, stage: str, report: Reporter) -> Artifact:
    """A stage's artifact.

    Raises:
        ArtifactError: if it, or one of its sources, is missing, damaged or out of date.
    """
    return _require(Store(config.run_path), BY_NAME[stage], config, read_by(config, stage, report), [])


def resolve_unrequested(
    store: Store,
    stage: Stage,
    config: Config,
    current: Mapping[str, Artifact],
    requested: Collection[str],
    report: Reporter,
) -> dict[str, Artifact]:
    """A stage's artifact by its name, if the requested stages read it; see ``read_by``."""
    if any(stage.name in BY_NAME[name].upstream for name in requested):
        return {stage.name: _require(store, stage, config, current, requested)}
    if stage.name == ADDITIONS and any(ADDED in BY_NAME[name].reads_if_there for name in requested):
        return additions(store, config, current, report)
    return {}


def _require(
    store: Store, stage: Stage, config: Config, current: Mapping[str, Artifact], readers: Collection[str]
) -> Artifact:
    """The artifact of a stage that is read, which must exist and fit the config.

    If a reader encodes texts, as ``pretrain-adapt`` did, the language model must still be the same.
    """
    artifact = store.current(stage.name)
    if artifact is None:
        raise ArtifactError(f"{store.run_dir}: no {stage.name} artifact yet; run 'crossrec {stage.name}' first")
    with_model = stage.name == PRETRAIN_ADAPT and any(BY_NAME[reader].encodes_texts for reader in readers)
    basis = basis_of(stage, config, current, None if with_model else artifact)
    as_made = set_by_a_night(artifact.manifest.config, (made.manifest.config for made in current.values()))
    basis = replace(basis, config=basis.config | as_made)
    if reason := out_of_date(stage, artifact, basis):
        raise ArtifactError(f"{artifact.path}: out of date ({reason}); run 'crossrec {stage.name}' first")
    return artifact


def additions(store: Store, config: Config, current: Mapping[str, Artifact], report: Reporter) -> dict[str, Artifact]:
    """The items that were added since training, by their stage's name, if they fit the catalogue in use."""
    stage, folder = BY_NAME[ADDITIONS], store.run_dir / ADDITIONS
    try:
        artifact = store.current(stage.name)
        stale = artifact and out_of_date(stage, artifact, basis_of(stage, config, current, artifact))
    except ArtifactError as error:
        artifact, stale = None, str(error)
    if stale:
        report.begin(stage.name)
        report.warn(
            f"the items added to an earlier catalogue are ignored ({stale}); add those that are still missing with "
            f"'crossrec items add', or remove {folder}"
        )
    return {stage.name: artifact} if artifact and not stale else {}
