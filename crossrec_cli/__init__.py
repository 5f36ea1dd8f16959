"""crossrec: recommend from one category to the buyers of another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crossrec_cli.api import TrainedRun

__version__ = "0.1.0"


def open(path: str | Path, overrides: Sequence[str] = ()) -> TrainedRun:
    """Open a run directory, a run's config file, or an export: see ``crossrec_cli.api.open_run``."""
    from crossrec_cli.api import open_run  # noqa: PLC0415  takes a moment to import

    return open_run(path, overrides)
