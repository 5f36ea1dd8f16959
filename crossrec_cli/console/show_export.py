"""The result of ``crossrec export`` on the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crossrec_cli.artifacts.store import Artifact
from crossrec_cli.console.terminal import Console
from crossrec_cli.export.folder import CARD


def exported(console: Console, folder: Path, artifact: Artifact) -> dict[str, Any]:
    """Print where an export is and how to use it.

    Returns:
        The same for ``--json``.
    """
    size = sum(entry.bytes for entry in artifact.manifest.files.values())
    console.say(f"done in {artifact.manifest.wall_seconds:.1f} s, {size / 1e6:,.1f} MB in {folder}")
    console.remark(f"To use it: crossrec recommend --from {folder}")
    console.remark(f"Model card: {folder / CARD}")
    return {"folder": str(folder), "bytes": size} | artifact.manifest.summary
