"""neighbours: what was bought by those who bought the very items of a history."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from crossrec_cli.models.base import (
    Matrix,
    NewItems,
    Scorer,
    TrainingData,
    trained_purchases,
    unit_rows,
    whole_and_target,
)

NAME = "neighbours"


def neighbours(data: TrainingData) -> Scorer:
    """The cosine of two items' buyers (Sarwar et al. 2001, https://doi.org/10.1145/371920.372071).

    An item's vector has a dimension for each user. ``linear`` smooths such vectors into few directions; here what two
    items alone have in common still counts.
    """
    vectors = unit_rows(csr_array(trained_purchases(data).T))
    return Scorer(NAME, vectors, whole_and_target(NAME, vectors, data.is_target))


def place(scorer: Scorer, new: NewItems) -> Matrix:
    """Vectors of new items, which nobody has bought."""
    return csr_array((new.items.num_rows, scorer.item_vectors.shape[1]), dtype=np.float32)
