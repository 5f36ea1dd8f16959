"""What any shop could do without this model."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.linalg
import torch
from scipy.sparse import csr_array
from torch import Tensor

from crossrec_cli.interest.batches import Bools, Histories, Ints, Ragged
from crossrec_cli.ranking.topk import Scorer


def popularity_scorer(world: Histories, candidates: Ints) -> Scorer:
    """Everybody gets what was bought most in training."""
    counts = np.bincount(world.training.values, minlength=len(world.domain.is_target))[candidates]
    scores = torch.from_numpy(counts.astype(np.float32))

    def score(histories: Ragged, tags: Ragged) -> Tensor:
        return scores.repeat(len(histories.lengths), 1)

    return score


def ease_scorer(world: Histories, candidates: Ints, within: Bools, l2: float) -> Scorer:
    """The linear item-to-item model with a closed form, EASE (Steck 2019, https://arxiv.org/abs/1905.03375).

    Args:
        world: trained on the training part of its histories, each item once a user.
        candidates: item indices to score, int64 (C,).
        within: the items that it knows, bool (I,); what else is in a history it passes over.
        l2: the weight λ of its regularisation.
    """
    number = np.full(len(within), -1)
    number[within] = np.arange(int(within.sum()))
    bought = _matrix(world.training, number)
    wanted = number[candidates]
    weights = np.zeros((bought.shape[1], len(candidates)), np.float32)
    known = wanted >= 0
    weights[:, known] = _ease(bought, wanted[known], l2)

    def score(histories: Ragged, tags: Ragged) -> Tensor:
        return torch.from_numpy(_matrix(histories, number) @ weights)

    return score


def text_scorer(embeddings: npt.NDArray[np.float32], candidates: Ints) -> Scorer:
    """The cosine between an item's text and the mean text of a history. Embeddings are float32 (I, width)."""
    unit = torch.nn.functional.normalize(torch.from_numpy(embeddings), dim=1)
    wanted = unit[torch.from_numpy(candidates)].T.contiguous()

    def score(histories: Ragged, tags: Ragged) -> Tensor:
        values, starts = torch.from_numpy(histories.values), torch.from_numpy(histories.starts)
        mean = torch.nn.functional.embedding_bag(values, unit, starts, mode="mean")
        return torch.nn.functional.normalize(mean, dim=1) @ wanted

    return score


def _matrix(histories: Ragged, number: Ints) -> csr_array[np.float32]:
    """Who bought what, float32 (lists, items), each item once."""
    known = histories.where(number[histories.values] >= 0)
    ones = np.ones(len(known.values), np.float32)
    matrix = csr_array((ones, (known.rows, number[known.values])), shape=(len(known.lengths), int(number.max()) + 1))
    matrix.data[:] = 1  # what stood there twice was added up
    return matrix


def _ease(bought: csr_array[np.float32], wanted: Ints, l2: float) -> npt.NDArray[np.float32]:
    """EASE's weights from every item to the wanted ones, float32 (items, wanted).

    They need those columns of (XᵀX + λ)⁻¹ alone, and where users are fewer than items, by Woodbury's identity,
    (XXᵀ + λ)⁻¹.
    """
    users, items = bought.shape
    unit = np.zeros((items, len(wanted)))
    unit[wanted, np.arange(len(wanted))] = 1.0
    if users < items:
        inner = (bought @ bought.T).toarray().astype(np.float64)
        inner[np.diag_indices(users)] += l2
        solved = scipy.linalg.solve(inner, bought[:, wanted].toarray().astype(np.float64), assume_a="pos")
        columns = (unit - bought.T @ solved) / l2
    else:
        inner = (bought.T @ bought).toarray().astype(np.float64)
        inner[np.diag_indices(items)] += l2
        columns = scipy.linalg.solve(inner, unit, assume_a="pos", overwrite_a=True)
    weights = -columns / columns[wanted, np.arange(len(wanted))]
    weights[wanted, np.arange(len(wanted))] = 0.0
    return weights.astype(np.float32)
