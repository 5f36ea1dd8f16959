"""EASE exactly (Steck 2019, https://arxiv.org/abs/1905.03375); ``models.linear`` approximates it at any size."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from scipy.sparse import csr_array

from crossrec_cli.models.base import Floats
from crossrec_cli.models.ragged import Ints


def ease_cells(users: int, items: int, wanted: int) -> int:
    """Numbers in the largest dense matrix that ``ease`` needs."""
    return max(min(users, items) ** 2, items * wanted)


def ease(bought: csr_array, wanted: Ints, l2: float) -> Floats:
    """Weights from every item to the wanted ones, float32 (items, wanted).

    They need those columns of (XᵀX + λ)⁻¹ alone, and where users are fewer than items, by Woodbury's identity,
    (XXᵀ + λ)⁻¹.

    Args:
        bought: X, (users, items).
        wanted: int64 (wanted,).
        l2: λ.
    """
    users, items = bought.shape
    unit = np.zeros((items, len(wanted)))
    unit[wanted, np.arange(len(wanted))] = 1.0
    if users < items:
        inner = (bought @ bought.T).toarray().astype(np.float64)
        inner[np.diag_indices(users)] += l2
        solved = scipy.linalg.solve(inner, bought[:, wanted].toarray(), assume_a="pos", overwrite_a=True)
        columns = (unit - bought.T @ solved) / l2
    else:
        inner = (bought.T @ bought).toarray().astype(np.float64)
        inner[np.diag_indices(items)] += l2
        columns = scipy.linalg.solve(inner, unit, assume_a="pos", overwrite_a=True)
    weights = -columns / columns[wanted, np.arange(len(wanted))]
    weights[wanted, np.arange(len(wanted))] = 0.0
    found: Floats = weights.astype(np.float32)
    return found
