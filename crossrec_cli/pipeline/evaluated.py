"""The facts for a run's page, if its evaluation is of the current artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from crossrec_cli.artifacts.files import EVALUATE, FINETUNE, PREPROCESS, PRETRAIN_ADAPT, TRANSFER
from crossrec_cli.artifacts.store import Artifact, Store
from crossrec_cli.config.schema import Report
from crossrec_cli.errors import ArtifactError
from crossrec_cli.pipeline.changes import Basis, code_of, out_of_date
from crossrec_cli.pipeline.table import BY_NAME
from crossrec_cli.report.facts import SHOWN, Facts


def read_facts(store: Store, shown: Report) -> Facts | None:
    """The facts of a run; None if its current artifacts have not been evaluated.

    Raises:
        ArtifactError: if one of its artifacts is damaged.
    """
    artifacts = {stage: artifact for stage in (*SHOWN, TRANSFER) if (artifact := store.current(stage))}
    if not {PREPROCESS, PRETRAIN_ADAPT, FINETUNE, EVALUATE} <= artifacts.keys():
        return None
    if not _inputs(artifacts, EVALUATE).items() <= artifacts[EVALUATE].manifest.inputs.items():
        return None
    return Facts.of(artifacts, shown, _stale(artifacts) if TRANSFER in artifacts else None)


def earlier_evaluation(run_dir: Path) -> Artifact:
    """The evaluation of another run, to compare with.

    Raises:
        ArtifactError: if there is none.
    """
    artifact = Store(run_dir).current(EVALUATE)
    if artifact is None:
        raise ArtifactError(f"--against: {run_dir}: no evaluate artifact; run 'crossrec evaluate' there first")
    return artifact


def _inputs(artifacts: Mapping[str, Artifact], stage: str) -> dict[str, str]:
    """The hash of each file of the run that a stage reads."""
    return {file: made.sha256(file) for file, made in BY_NAME[stage].inputs(artifacts).items()}


def _stale(artifacts: Mapping[str, Artifact]) -> str | None:
    """How transfer's config or inputs differ from those of the evaluated stages; None if they do not.

    Fields on which only transfer depends, such as its seeds, are not compared.
    """
    stage, transfer = BY_NAME[TRANSFER], artifacts[TRANSFER]
    run_config = {
        key: value
        for name in (PRETRAIN_ADAPT, FINETUNE, EVALUATE)
        for key, value in artifacts[name].manifest.config.items()
        if stage.depends_on(key)
    }
    return out_of_date(
        stage, transfer, Basis(code_of(stage), transfer.manifest.config | run_config, _inputs(artifacts, TRANSFER))
    )
