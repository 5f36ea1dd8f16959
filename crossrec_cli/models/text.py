"""text: what a pretrained language model says two items have in common."""

from __future__ import annotations

import numpy as np

from crossrec_cli.artifacts import tables as t
from crossrec_cli.interest.model import whitening
from crossrec_cli.models.base import Floats, Scorer, TrainingData, unit_rows, whole_and_target

NAME = "text"


def text(data: TrainingData) -> Scorer:
    """The cosine of an item's whitened embedding to the history's: to the whole of it, and to its target part.

    Whitening spreads the narrow cone of a language model's embeddings; see ``interest.model.whitening``.
    """
    vectors = text_vectors(data)
    return Scorer(NAME, vectors, whole_and_target(NAME, vectors, data))


def text_vectors(data: TrainingData) -> Floats:
    """Whitened embeddings of length 1, (I, width); zeros for an item without text."""
    has_text = data.items[t.TEXT].is_valid().to_numpy()
    white = whitening(data.embeddings)
    vectors = white.of([data.embeddings], len(data.embeddings)).numpy() * has_text[:, None]
    found: Floats = np.asarray(unit_rows(vectors))
    return found
