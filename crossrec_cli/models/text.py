"""text: the similarity of items' texts, by a pretrained language model."""

from __future__ import annotations

from crossrec_cli.models.base import NewItems, Scorer, TrainingData, history_features
from crossrec_cli.models.vectors import Floats

NAME = "text"


def text(data: TrainingData) -> Scorer:
    """The cosine of an item's whitened embedding with the history's: with all of it, and with its target part."""
    return Scorer(NAME, data.texts, history_features(NAME, data.texts, data.is_target))


def new_vectors(scorer: Scorer, new: NewItems) -> Floats:
    """Vectors of new items."""
    return new.texts
