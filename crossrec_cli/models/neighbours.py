"""neighbours: what was bought by the buyers of the same items."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from crossrec_cli.models.base import NewItems, Scorer, TrainingData, history_features, trained_purchases
from crossrec_cli.models.vectors import Matrix, unit_rows

NAME = "neighbours"


def neighbours(data: TrainingData) -> Scorer:
    """The cosine of two items' buyers (Sarwar et al. 2001, https://doi.org/10.1145/371920.372071).

    An item's vector has a dimension for each user. ``linear`` smooths such vectors into few directions; here rare
    pairs still count.
    """
    vectors = unit_rows(csr_array(trained_purchases(data).T))
    return Scorer(NAME, vectors, history_features(NAME, vectors, data.is_target))


def new_vectors(scorer: Scorer, new: NewItems) -> Matrix:
    """Vectors of new items, which nobody has bought."""
    return csr_array((new.items.num_rows, scorer.item_vectors.shape[1]), dtype=np.float32)
