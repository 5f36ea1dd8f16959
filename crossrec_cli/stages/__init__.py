"""The five stages. Each is one function ``run(job)`` that loads, computes and leaves its files in ``job.out``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossrec_cli.artifacts.store import Artifact
from crossrec_cli.config.schema import Config
from crossrec_cli.reporting import Reporter

Summary = dict[str, Any]
"""A stage's own figures, as JSON values, for the manifest and the screen."""


@dataclass(frozen=True)
class Job:
    """What a stage is given."""

    config: Config
    inputs: Mapping[str, Artifact]
    """The artifacts of the stages that it reads, by stage name."""
    out: Path
    """An empty directory for its files; what is in it when it returns becomes the artifact."""
    report: Reporter


PREPROCESS = "preprocess"
PRETRAIN_ADAPT = "pretrain-adapt"
FINETUNE = "finetune"
EVALUATE = "evaluate"
RECOMMEND = "recommend"
