"""The drift between two runs on the terminal."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from crossrec_cli.console.terminal import Console
from crossrec_cli.evaluation.drift import Drift, shown


def drift(console: Console, measured: Drift) -> dict[str, Any]:
    """Print all measures.

    Returns:
        The same for ``--json``.
    """
    sizes = [(name, f"{before:,}", f"{now:,}") for name, (before, now) in measured.sizes.items()]
    console.table("Sizes", ["", "before", "now"], sizes)
    console.table("New and gone", ["", "share"], [(name, f"{share:.1%}") for name, share in measured.shares.items()])
    rows = [
        (name, f"{change.stability_index:.3f}", change.level, change.figure, shown(change.before), shown(change.now))
        for name, change in measured.distributions.items()
    ]
    console.table("Distributions", ["", "stability index", "drift", "figure", "before", "now"], rows)
    return asdict(measured)
