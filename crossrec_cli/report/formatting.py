"""Figures and names as people read them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from crossrec_cli.artifacts import columns as c

NONE = "–"
SMALL = 50
"""A segment with fewer users is marked: its figures are mostly chance."""


def figure(value: float | None, digits: int) -> str:
    """A number, or a dash where there is none."""
    return NONE if value is None or math.isnan(value) else f"{value:.{digits}f}"


def gain(row: Mapping[str, Any]) -> str:
    """A difference with its interval, without leading zeros: ``+.0180 (+.0096 to +.0260)``."""
    return f"{row[c.GAIN]:+.4f} ({row[c.GAIN_LOW]:+.4f} to {row[c.GAIN_HIGH]:+.4f})".replace("0.", ".")


def tested(summary: Mapping[str, Any]) -> str:
    """How many of the test users were evaluated, from the evaluation's summary; empty if all were."""
    evaluated, total = summary["evaluated_users"], summary["test_users"]
    return "" if evaluated == total else f"{evaluated:,} of {total:,} test users, drawn at random"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever reads best."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def measure(metric: str) -> str:
    """``ndcg_among_999`` as ``NDCG among 999``."""
    first, *rest = metric.split("_")
    return " ".join([first.upper() if first in {"hr", "ndcg", "mrr", "map"} else first, *rest])


def join_names(names: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
