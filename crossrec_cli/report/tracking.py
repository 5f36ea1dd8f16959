"""An evaluated run's config, figures and page, sent to MLflow or written for TensorBoard."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crossrec_cli.artifacts import columns as c
from crossrec_cli.config.schema import Tracking
from crossrec_cli.errors import UnavailableError
from crossrec_cli.evaluation.segments import ALL
from crossrec_cli.report.facts import CROSSREC, Facts

LOGS = "tensorboard"
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
"""Seconds and tries; MLflow's own are minutes. What the environment says already stands."""
LONGEST = 500
"""Characters of a config value that MLflow is given; older servers take no more."""


def track(tracking: Tracking, facts: Facts, run_dir: Path, page: Path) -> list[str]:
    """Send and write what is wanted and is not there yet; where it went.

    Raises:
        UnavailableError: if MLflow's server does not take it.
    """
    told = []
    folder = run_dir / LOGS / facts.evaluated.id
    if tracking.tensorboard and not folder.exists():  # first, since nothing can be in its way
        _tensorboard(facts, folder)
        told.append(f"TensorBoard: {folder}")
    if tracking.mlflow and _mlflow(tracking.mlflow, tracking.experiment, facts, run_dir, page):
        told.append(f"MLflow: {tracking.mlflow}, experiment {tracking.experiment}")
    return told


def _mlflow(address: str, experiment: str, facts: Facts, run_dir: Path, page: Path) -> bool:
    """Whether it was not there yet, and is now."""
    for setting, patience in PATIENCE.items():
        os.environ.setdefault(setting, patience)
    import mlflow  # noqa: PLC0415  an extra

    name = f"{run_dir.name} {facts.evaluated.id}"
    try:
        mlflow.set_tracking_uri(address)
        found = mlflow.set_experiment(experiment)
        known = f"attributes.run_name = '{name}' and attributes.status = 'FINISHED'"
        if mlflow.MlflowClient().search_runs([found.experiment_id], known, max_results=1):
            return False
        with mlflow.start_run(run_name=name):
            mlflow.log_params({_plain(key): str(value)[:LONGEST] for key, value in _config(facts).items()})
            mlflow.log_metrics({_plain(name): value for name, value in _figures(facts)})
            for stage, epoch, loss in _losses(facts):
                mlflow.log_metric(f"{stage}/loss", loss, step=epoch)
            mlflow.log_artifact(str(page))
        return True
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise UnavailableError(f"tracking.mlflow: {address}: {str(error).splitlines()[0]}") from None


def _plain(name: str) -> str:
    """A name that MLflow takes: ``ndcg_at_10``, ``data.platforms.0.name``."""
    return re.sub(r"\[(\d+)\]", r".\1", name.replace("@", "_at_"))


def _tensorboard(facts: Facts, folder: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  an extra

    with SummaryWriter(str(folder)) as writer:
        for stage, epoch, loss in _losses(facts):
            writer.add_scalar(f"{stage}/loss", loss, epoch)
        for name, value in _figures(facts):
            writer.add_scalar(f"test/{name}", value, 0)
        lines = [f"    {key}: {value}" for key, value in sorted(_config(facts).items())]
        writer.add_text("config", "\n".join(lines), 0)


def _config(facts: Facts) -> dict[str, Any]:
    return {key: value for made in facts.manifests for key, value in made.config.items()}


def _figures(facts: Facts) -> Iterator[tuple[str, float]]:
    """Every measure of crossrec over all users, by names such as ``ndcg@10``."""
    for row in facts.metrics.to_pylist():
        if (row[c.MODEL], row[c.SEGMENT]) == (CROSSREC, ALL) and math.isfinite(row[c.VALUE]):
            yield f"{row[c.METRIC]}@{row[c.K]}", row[c.VALUE]


def _losses(facts: Facts) -> Iterator[tuple[str, int, float]]:
    """Stage, epoch and loss of what was learned."""
    for stage, table in facts.learning.items():
        for row in table.to_pylist():
            yield stage, row[c.EPOCH], row["loss"]
