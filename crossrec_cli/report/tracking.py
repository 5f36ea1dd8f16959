"""Sends an evaluated run's config, figures and page to MLflow, and writes them for TensorBoard."""

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
from crossrec_cli.report.facts import CROSSREC, Facts

LOGS = "tensorboard"
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
"""Seconds and tries; MLflow's defaults take minutes. Values set in the environment have priority."""
MAX_VALUE_CHARS = 500
"""Characters of a config value sent to MLflow; older servers accept no more."""


def track(tracking: Tracking, facts: Facts, run_dir: Path, page: Path) -> list[str]:
    """Send and write what the config asks for and was not tracked before; returns where it went.

    Raises:
        UnavailableError: if MLflow's server cannot be reached or refuses it.
    """
    targets = []
    folder = run_dir / LOGS / facts.evaluated.id
    if tracking.tensorboard and not folder.exists():  # first, since it needs no server
        _tensorboard(facts, folder)
        targets.append(f"TensorBoard: {folder}")
    if tracking.mlflow and _mlflow(tracking.mlflow, tracking.experiment, facts, run_dir, page):
        targets.append(f"MLflow: {tracking.mlflow}, experiment {tracking.experiment}")
    return targets


def _mlflow(address: str, experiment: str, facts: Facts, run_dir: Path, page: Path) -> bool:
    """Send a run that the server does not have yet; returns whether it was sent."""
    for setting, value in PATIENCE.items():
        os.environ.setdefault(setting, value)
    import mlflow  # noqa: PLC0415  an extra

    name = f"{run_dir.name} {facts.evaluated.id}"
    try:
        mlflow.set_tracking_uri(address)
        experiment_id = mlflow.set_experiment(experiment).experiment_id
        finished = f"attributes.run_name = '{name}' and attributes.status = 'FINISHED'"
        if mlflow.MlflowClient().search_runs([experiment_id], finished, max_results=1):
            return False
        with mlflow.start_run(run_name=name):
            mlflow.log_params({_plain(key): str(value)[:MAX_VALUE_CHARS] for key, value in _config(facts).items()})
            mlflow.log_metrics({_plain(name): value for name, value in _figures(facts)})
            for stage, epoch, loss in _losses(facts):
                mlflow.log_metric(f"{stage}/loss", loss, step=epoch)
            mlflow.log_artifact(str(page))
        return True
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise UnavailableError(f"tracking.mlflow: {address}: {str(error).splitlines()[0]}") from None


def _plain(name: str) -> str:
    """A name that MLflow accepts: ``ndcg_at_10``, ``data.platforms.0.name``."""
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
    return {key: value for manifest in facts.manifests for key, value in manifest.config.items()}


def _figures(facts: Facts) -> Iterator[tuple[str, float]]:
    """Every measure of crossrec over all users, by names such as ``ndcg@10``."""
    for row in facts.metrics.to_pylist():
        if (row[c.MODEL], row[c.SEGMENT]) == (CROSSREC, c.ALL) and math.isfinite(row[c.VALUE]):
            yield f"{row[c.METRIC]}@{row[c.K]}", row[c.VALUE]


def _losses(facts: Facts) -> Iterator[tuple[str, int, float]]:
    """Stage, epoch and mean loss of each epoch."""
    for stage, table in facts.learning.items():
        for row in table.to_pylist():
            yield stage, row[c.EPOCH], row["loss"]
