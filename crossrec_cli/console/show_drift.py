"""The drift between two runs on the terminal."""

from __future__ import annotations

from typing import Any

from crossrec_cli.console.terminal import Console
from crossrec_cli.evaluation.drift import LARGE, MODERATE, Drift


def drift(console: Console, measured: Drift) -> dict[str, Any]:
    """Print both kinds of measures.

    Returns:
        The same for ``--json``.
    """
    console.table("New and gone", ["", "share"], [(name, f"{share:.1%}") for name, share in measured.shares.items()])
    rows = [(name, f"{index:.3f}", level(index)) for name, index in measured.indices.items()]
    console.table("Distributions", ["", "stability index", "drift"], rows)
    return {"shares": measured.shares, "stability_indices": measured.indices}


def level(index: float) -> str:
    """An index as a word."""
    return "large" if index > LARGE else "moderate" if index > MODERATE else "small"
