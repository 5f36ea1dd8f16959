"""What a stage's files depend on, and what of it has changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from crossrec_cli import __version__
from crossrec_cli.artifacts.store import Artifact
from crossrec_cli.config.schema import Config
from crossrec_cli.config.secrets import mask
from crossrec_cli.pipeline.table import Stage


@dataclass(frozen=True)
class Basis:
    """What a stage's files depend on."""

    code: str
    """The versions of crossrec and of the stage."""
    config: dict[str, Any]
    inputs: dict[str, str]

    @property
    def digest(self) -> str:
        """A hash of all of it; unfinished work with another hash is not continued."""
        return hashlib.sha256(json.dumps([self.code, self.config, self.inputs], sort_keys=True).encode()).hexdigest()


def basis_of(stage: Stage, config: Config, current: Mapping[str, Artifact], made: Artifact | None = None) -> Basis:
    """What a stage's files would depend on now.

    Args:
        stage: the stage.
        config: the whole config.
        current: the earlier stages' artifacts.
        made: the stage's own artifact, where it is only read: its sources outside the run directory count as they were
            when it was made, and are not read again.
    """
    leaves = dict(_leaves(config.model_dump(mode="json")))
    declared = {
        key: mask(value) if isinstance(value, str) else value for key, value in leaves.items() if stage.depends_on(key)
    }
    if made:
        outside = {file: sha for file, sha in made.manifest.inputs.items() if file not in stage.files}
    else:
        outside = {mask(file): sha for file, sha in stage.outside(config).items()}
    inside = {file: artifact.sha256(file) for file, artifact in stage.inputs(current).items()}
    return Basis(code_of(stage), declared, inside | outside)


def code_of(stage: Stage) -> str:
    """The versions of crossrec and of a stage."""
    return f"crossrec {__version__}, {stage.name} {stage.version}"


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _leaves(child, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index, child in enumerate(value):
            yield from _leaves(child, f"{path}[{index}]")
    else:
        yield path, value


def out_of_date(stage: Stage, artifact: Artifact, basis: Basis) -> str | None:
    """Why an artifact differs from what its stage would make now; None if it does not."""
    return next(iter(changes(stage, artifact, basis)), None)


def changes(stage: Stage, artifact: Artifact, basis: Basis) -> Iterator[str]:
    """All that has changed since an artifact was made."""
    manifest = artifact.manifest
    if manifest.stage_version != stage.version:
        yield f"made by version {manifest.stage_version} of the stage, now {stage.version}"
    for kind, before, now in (
        ("config", manifest.config, basis.config),
        ("input", manifest.inputs, basis.inputs),
    ):
        for key in sorted(before.keys() | now.keys()):
            if before.get(key) != now.get(key):
                change = f" from {before.get(key)} to {now.get(key)}" if kind == "config" else ""
                yield f"{kind} {key} changed{change}"
