"""Figures and names as people read them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from crossrec_cli.artifacts import columns as c
from crossrec_cli.report.translator import IN_ENGLISH, Translator

NONE = "–"
SMALL = 50
"""A segment with fewer users is marked: its figures are mostly chance."""


def figure(value: float | None, digits: int) -> str:
    """A number, or a dash where there is none."""
    return NONE if value is None or math.isnan(value) else f"{value:.{digits}f}"


def gain(row: Mapping[str, Any], translate: Translator = IN_ENGLISH) -> str:
    """A difference with its interval, without leading zeros: ``+.0180 (+.0096 to +.0260)``."""
    value, low, high = (f"{row[column]:+.4f}".replace("0.", ".") for column in (c.GAIN, c.GAIN_LOW, c.GAIN_HIGH))
    return translate("{value} ({low} to {high})", value=value, low=low, high=high)


def between(low: str, high: str, translate: Translator) -> str:
    """An interval: ``0.0512 to 0.0688``."""
    return translate("{low} to {high}", low=low, high=high)


def tested(summary: Mapping[str, Any], translate: Translator = IN_ENGLISH) -> str:
    """How many of the test users were evaluated, from the evaluation's summary; empty if all were."""
    evaluated, total = summary["evaluated_users"], summary["test_users"]
    if evaluated == total:
        return ""
    return translate("{evaluated:,} of {total:,} test users, drawn at random", evaluated=evaluated, total=total)


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever reads best."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def measure(metric: str, translate: Translator = IN_ENGLISH) -> str:
    """``ndcg_among_999`` as ``NDCG among 999``."""
    name, _, count = metric.partition("_among_")
    name = name.upper() if name in {"hr", "ndcg", "mrr", "map"} else name.replace("_", " ")
    return translate("{name} among {count}", name=name, count=count) if count else name


def join_names(names: Sequence[str]) -> str:
    """``a, b and c``."""
    return IN_ENGLISH.join(names)
