"""The arguments of a stage, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossrec_cli.artifacts.store import Artifact
from crossrec_cli.runtime.progress import Reporter

if TYPE_CHECKING:
    from crossrec_cli.config.schema import Config


Summary = dict[str, Any]
"""A stage's figures, as JSON values, for the manifest and the screen."""


@dataclass(frozen=True)
class Job:
    """The arguments of a stage."""

    config: Config
    inputs: Mapping[str, Path]
    """The files that the pipeline's table declares for it, by stage/name; a stage may read no others."""
    out: Path
    """An empty directory for its files. When the stage returns, this becomes the artifact."""
    report: Reporter
    checkpoint: Path
    """The file from which a killed training continues; deleted once the stage is done."""
    code: str = ""
    """The versions of crossrec and of the stage: a run of other code is not continued."""
    earlier: Artifact | None = None
    """What this stage made before, by the same version: the artifact that this one replaces."""

    def output(self, file: str) -> Path:
        """The path for one of its files, given as stage/name."""
        return self.out / Path(file).name
