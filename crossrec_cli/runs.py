"""Many run directories: what is in each, how two differ, and which of them go."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from crossrec_cli.artifacts import tables as t
from crossrec_cli.artifacts.store import CURRENT, MANIFEST, Artifact, Manifest, Store, read_manifest
from crossrec_cli.errors import ArtifactError, InputError, LockedError
from crossrec_cli.evaluation.gate import Comparison
from crossrec_cli.evaluation.segments import ALL
from crossrec_cli.pipeline import BY_NAME
from crossrec_cli.stages import EVALUATE, METRICS, PER_USER

LOCK = {".lock", ".holder"}
OF_A_RUN = {*BY_NAME, "embeddings", "report.html", "charts", "tensorboard", "run.log", "events.jsonl"}
"""What crossrec leaves in a run directory."""
DEPTH = 2
"""Runs are looked for so many directories below the one given."""


@dataclass(frozen=True)
class Run:
    """A run directory."""

    path: Path
    manifests: dict[str, Manifest]
    """Of the current artifacts, by stage; those that cannot be read are missing."""
    figures: dict[str, float]
    """crossrec's on test, such as ``ndcg@10``; empty if it was not evaluated."""
    bytes: int
    """Of all that is in it."""

    @property
    def newest(self) -> Manifest:
        """Of the stage that was made last; ids sort by time."""
        return max(self.manifests.values(), key=lambda manifest: manifest.id)

    @classmethod
    def read(cls, path: Path) -> Run | None:
        """What is in a directory; None if it is no run's. Files are not checked against their hashes."""
        manifests = {}
        for stage in BY_NAME:
            link = path / stage / CURRENT
            if link.is_symlink():
                try:
                    manifests[stage] = read_manifest(link / MANIFEST)
                except ArtifactError:
                    continue
        if not manifests:
            return None
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink())
        return cls(path, manifests, _figures(path, manifests), size)


def _figures(path: Path, manifests: dict[str, Manifest]) -> dict[str, float]:
    if EVALUATE not in manifests:
        return {}
    table = t.read_table(path / EVALUATE / CURRENT / Path(METRICS).name)
    rows = table.filter(pc.and_(pc.equal(table[t.MODEL], t.CROSSREC), pc.equal(table[t.SEGMENT], ALL))).to_pylist()
    return {f"{row[t.METRIC]}@{row[t.K]}" if row[t.K] else row[t.METRIC]: row[t.VALUE] for row in rows}


def runs_in(folder: Path) -> list[Run]:
    """The runs in a directory, in its directories and in theirs, the newest first.

    Raises:
        InputError: if it cannot be read.
    """
    return sorted(_found(folder, DEPTH + 1), key=lambda run: run.newest.id, reverse=True)


def _found(folder: Path, depth: int) -> Iterator[Run]:
    if run := Run.read(folder):
        yield run
    elif depth:
        try:
            below = sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
        except OSError as error:
            raise InputError(f"{folder}: {error.strerror}") from None
        for path in below:
            if not path.name.startswith("."):
                yield from _found(path, depth - 1)


def compared(runs: Sequence[Run]) -> list[Comparison | None]:
    """Each run's ranking beside the first one's, for the users whom both were tested on; None if there are none."""
    first, *others = [_per_user(run.path) for run in runs]
    names = [name for name in first.column_names if name.startswith("ndcg")]
    measure = next((name for name in names if name.endswith("@10")), names[-1])
    found: list[Comparison | None] = []
    for other in others:
        try:
            found.append(Comparison.of(other, first, measure, 0.0))
        except InputError:
            found.append(None)
    return found


def _per_user(path: Path) -> Any:
    artifact: Artifact | None = Store(path).current(EVALUATE)
    if artifact is None:
        raise ArtifactError(f"{path}: no evaluate artifact; run 'crossrec evaluate' there first")
    return t.read_table(artifact.file(PER_USER))


def differences(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """The config fields in which runs differ, with each one's value; None where a run has no such field."""
    configs = [
        {key: value for manifest in run.manifests.values() for key, value in manifest.config.items()} for run in runs
    ]
    keys = sorted({key for config in configs for key in config})
    rows = {key: [config.get(key) for config in configs] for key in keys}
    return {key: row for key, row in rows.items() if any(value != row[0] for value in row)}


def remove(run: Run) -> bool:
    """Delete what crossrec left in a run directory, and the directory if nothing else is in it.

    Returns:
        Whether the directory is gone.

    Raises:
        LockedError: if somebody works there.
    """
    with Store(run.path).lock():
        for path in [run.path / name for name in sorted(OF_A_RUN)]:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    for name in LOCK:
        (run.path / name).unlink(missing_ok=True)
    if any(run.path.iterdir()):
        return False
    run.path.rmdir()
    return True


def busy(run: Run) -> bool:
    """Whether somebody works there."""
    try:
        with Store(run.path).lock():
            return False
    except LockedError:
        return True
