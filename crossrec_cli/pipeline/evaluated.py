"""What the page of a run says, where its evaluation is of the run as it stands."""

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
    """Those of a run; None if it has not been evaluated as it stands.

    Raises:
        ArtifactError: if one of its artifacts is damaged.
    """
    found = {stage: artifact for stage in (*SHOWN, TRANSFER) if (artifact := store.current(stage))}
    if not {PREPROCESS, PRETRAIN_ADAPT, FINETUNE, EVALUATE} <= found.keys():
        return None
    if not _inputs(found, EVALUATE).items() <= found[EVALUATE].manifest.inputs.items():
        return None
    return Facts.of(found, shown, _stale(found) if TRANSFER in found else None)


def earlier_evaluation(run_dir: Path) -> Artifact:
    """The evaluation that another is to be compared with.

    Raises:
        ArtifactError: if there is none.
    """
    found = Store(run_dir).current(EVALUATE)
    if found is None:
        raise ArtifactError(f"--against: {run_dir}: no evaluate artifact; run 'crossrec evaluate' there first")
    return found


def _inputs(found: Mapping[str, Artifact], stage: str) -> dict[str, str]:
    """The hash of each file of the run that a stage reads."""
    return {file: made.sha256(file) for file, made in BY_NAME[stage].inputs(found).items()}


def _stale(found: Mapping[str, Artifact]) -> str | None:
    """In what transfer was run otherwise than the stages that were evaluated; None if in nothing.

    Fields that it alone depends on, such as its seeds, are its own.
    """
    stage, transfer = BY_NAME[TRANSFER], found[TRANSFER]
    of_run = {
        key: value
        for name in (PRETRAIN_ADAPT, FINETUNE, EVALUATE)
        for key, value in found[name].manifest.config.items()
        if stage.depends_on(key)
    }
    return out_of_date(
        stage, transfer, Basis(code_of(stage), transfer.manifest.config | of_run, _inputs(found, TRANSFER))
    )
