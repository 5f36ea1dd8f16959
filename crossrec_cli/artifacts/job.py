"""What a stage is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossrec_cli.runtime.progress import Reporter

if TYPE_CHECKING:
    from crossrec_cli.config.schema import Config


Summary = dict[str, Any]
"""A stage's own figures, as JSON values, for the manifest and the screen."""


@dataclass(frozen=True)
class Job:
    """What a stage is given."""

    config: Config
    inputs: Mapping[str, Path]
    """The files that the pipeline's table says it reads, by stage/name; it can reach no others."""
    out: Path
    """An empty directory for its files; what is in it when it returns becomes the artifact."""
    report: Reporter
    checkpoint: Path
    """Where training keeps what a killed run goes on from; gone once the stage is done."""
    code: str = ""
    """The versions of crossrec and of the stage: what other code has begun is not continued."""

    def output(self, file: str) -> Path:
        """Where to write one of its own files."""
        return self.out / Path(file).name
