"""A member in closed form: EASE (Steck 2019, https://arxiv.org/abs/1905.03375), cut down to two short vectors an item.

It errs in other ways than what gradients have taught, so that a little of it helps where histories are long baskets.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import scipy.linalg
import torch
from scipy.sparse import csr_array
from torch import Tensor

from crossrec_cli.interest.batches import Histories, Ints, Ragged
from crossrec_cli.interest.model import InterestModel

ITERATIONS = 4
"""Of the randomised singular value decomposition."""


def purchases(histories: Ragged, number: Ints, items: int) -> csr_array[np.float32]:
    """Who bought what, float32 (lists, items), each item once; ``number`` is an item's column, −1 for none."""
    known = histories.where(number[histories.values] >= 0)
    ones = np.ones(len(known.values), np.float32)
    matrix = csr_array((ones, (known.rows, number[known.values])), shape=(len(known.lengths), items))
    matrix.data[:] = 1  # what stood there twice was added up
    return matrix


def ease_cells(users: int, items: int, wanted: int) -> int:
    """Numbers in the largest dense matrix that ``ease`` needs."""
    return max(min(users, items) ** 2, items * wanted)


def ease(bought: csr_array[np.float32], wanted: Ints, l2: float) -> npt.NDArray[np.float32]:
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


@torch.no_grad()
def learn(member: InterestModel, histories: Histories, l2: float, seed: int) -> None:
    """Give an untaught member with a bag EASE's weights from all items to the target's, in place.

    The first half of an item's vector is what it says in a history, the second what is said of it; the bag turns the
    one into the other. So the score is EASE's, of rank d / 2 and divided by the length of the summed history.

    Args:
        member: its encoder is a bag alone.
        histories: their training part teaches.
        l2: the weight λ of EASE's regularisation.
        seed: of the randomised decomposition.
    """
    assert member.bag is not None
    target = np.flatnonzero(histories.domain.is_target)
    everything = np.arange(len(histories.domain.is_target))
    weights = torch.from_numpy(ease(purchases(histories.training, everything, len(everything)), target, l2))
    dim = len(member.nobody)
    said, heard = _factors(weights, dim // 2, seed)
    for parameter in (*member.tower.parameters(), member.bag.turn.weight, member.bag.target_weight):
        parameter.zero_()
    rank = said.shape[1]
    ids = member.tower.id_embedding.weight
    ids[:, :rank] = said.to(ids.device)
    ids[torch.from_numpy(target).to(ids.device), dim - rank :] = heard.to(ids.device)
    member.bag.turn.weight[dim - rank :, :rank] = torch.eye(rank)
    scale(member, 1.0)


@torch.no_grad()
def scale(member: InterestModel, times: float) -> None:
    """Multiply the scores of a member with EASE's weights by this, in place of what they were multiplied by before."""
    assert member.bag is not None
    member.bag.log_scale.fill_(math.log(times))


def _factors(weights: Tensor, rank: int, seed: int) -> tuple[Tensor, Tensor]:
    """(items, r) and (wanted, r) whose product is nearest to the weights (items, wanted)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        left, values, right = torch.svd_lowrank(weights, q=min(rank, *weights.shape), niter=ITERATIONS)
    return left * values.sqrt(), right * values.sqrt()
