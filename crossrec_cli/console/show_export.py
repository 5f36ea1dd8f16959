"""Where an export is, as people read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crossrec_cli.artifacts.store import Artifact
from crossrec_cli.console.terminal import Console
from crossrec_cli.export.folder import CARD


def exported(console: Console, folder: Path, made: Artifact) -> dict[str, Any]:
    """Say where an export is and how it is served.

    Returns:
        The same for ``--json``.
    """
    size = sum(entry.bytes for entry in made.manifest.files.values())
    console.say(f"done in {made.manifest.wall_seconds:.1f} s, {size / 1e6:,.1f} MB in {folder}")
    console.remark(f"Served by: crossrec recommend --from {folder}")
    console.remark(f"The model card: {folder / CARD}")
    return {"folder": str(folder), "bytes": size} | made.manifest.summary
