"""All that a stage's files depend on, and what of it is not as it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from crossrec_cli.artifacts.store import Artifact
from crossrec_cli.config.schema import Config
from crossrec_cli.pipeline.table import Stage
from crossrec_cli.reporting import mask


@dataclass(frozen=True)
class Basis:
    """All that a stage's files depend on."""

    config: dict[str, Any]
    inputs: dict[str, str]

    @property
    def digest(self) -> str:
        """A hash of it all."""
        return hashlib.sha256(json.dumps([self.config, self.inputs], sort_keys=True).encode()).hexdigest()


def basis_of(stage: Stage, config: Config, current: Mapping[str, Artifact]) -> Basis:
    """All that a stage's files would depend on now, with those of the earlier stages' artifacts that it reads."""
    leaves = dict(_leaves(config.model_dump(mode="json")))
    declared = {
        key: mask(value) if isinstance(value, str) else value for key, value in leaves.items() if stage.depends_on(key)
    }
    outside = {mask(file): sha for file, sha in stage.outside(config).items()}
    return Basis(declared, {file: made.sha256(file) for file, made in stage.inputs(current).items()} | outside)


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
    """Why an artifact is not what its stage would make now; None if it is."""
    return next(iter(changes(stage, artifact, basis)), None)


def changes(stage: Stage, artifact: Artifact, basis: Basis) -> Iterator[str]:
    """All that is not as it was when an artifact was made."""
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
