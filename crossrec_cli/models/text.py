"""text: what a pretrained language model says two items have in common."""

from __future__ import annotations

from crossrec_cli.models.base import Floats, NewItems, Scorer, TrainingData, whole_and_target

NAME = "text"


def text(data: TrainingData) -> Scorer:
    """The cosine of an item's whitened embedding to the history's: to the whole of it, and to its target part."""
    return Scorer(NAME, data.texts, whole_and_target(NAME, data.texts, data.is_target))


def place(scorer: Scorer, new: NewItems) -> Floats:
    """Vectors of new items."""
    return new.texts
