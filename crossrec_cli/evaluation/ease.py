"""EASE exactly (Steck 2019, https://arxiv.org/abs/1905.03375); ``models.linear`` approximates it at any size."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from scipy.sparse import csr_array

from crossrec_cli.models.ragged import Ints
from crossrec_cli.models.vectors import Floats


def ease_cells(users: int, items: int, outputs: int) -> int:
    """Numbers in the largest dense matrix that ``ease`` needs."""
    return max(min(users, items) ** 2, items * outputs)


def ease(bought: csr_array, outputs: Ints, l2: float) -> Floats:
    """Weights from every item to some of the items, float32 (items, outputs).

    Only the outputs' columns of (XᵀX + λ)⁻¹ are needed; with fewer users than items, by Woodbury's identity, those of
    (XXᵀ + λ)⁻¹.

    Args:
        bought: X, (users, items).
        outputs: item indices, int64 (outputs,).
        l2: λ.
    """
    users, items = bought.shape
    unit = np.zeros((items, len(outputs)))
    unit[outputs, np.arange(len(outputs))] = 1.0
    if users < items:
        inner = (bought @ bought.T).toarray().astype(np.float64)
        inner[np.diag_indices(users)] += l2
        solved = scipy.linalg.solve(inner, bought[:, outputs].toarray(), assume_a="pos", overwrite_a=True)
        inverse_columns = (unit - bought.T @ solved) / l2
    else:
        inner = (bought.T @ bought).toarray().astype(np.float64)
        inner[np.diag_indices(items)] += l2
        inverse_columns = scipy.linalg.solve(inner, unit, assume_a="pos", overwrite_a=True)
    weights = -inverse_columns / inverse_columns[outputs, np.arange(len(outputs))]
    weights[outputs, np.arange(len(outputs))] = 0.0
    result: Floats = weights.astype(np.float32)
    return result
