"""What a night sets in place of the config, and how what it leaves is read without that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

OVERRIDES = {
    "finetune.init": "previous",
    "finetune.epochs": "1",
    "adapt.init": "previous",
    "adapt.epochs": "0",
    "evaluate.baselines": "[popularity]",
}
"""Texts are read as before, the model before learns one epoch, and only the guard's part is evaluated."""
RATE = "finetune.lr"
GENTLER = 0.1
"""The learning rate of that epoch, relative to a whole training's, in which it decreases to zero."""


def overrides(rate: float) -> tuple[str, ...]:
    """As ``--set`` takes them; ``rate`` is the config's learning rate."""
    return *(f"{field}={value}" for field, value in OVERRIDES.items()), f"{RATE}={GENTLER * rate}"


def set_by_a_night(made: Mapping[str, Any], sources: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The fields that a night may have set, with the values by which an artifact was made.

    Args:
        made: the artifact's config fields, dotted.
        sources: those of the artifacts that it was made from; only one that goes on from an earlier one is a night's.
    """
    starts = [fields.get(f"{part}.init") for fields in (made, *sources) for part in ("adapt", "finetune")]
    return {field: made[field] for field in (*OVERRIDES, RATE) if field in made} if "previous" in starts else {}
