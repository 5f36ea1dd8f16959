"""A member in closed form: EASE (Steck 2019, https://arxiv.org/abs/1905.03375), cut down to two short vectors an item.

It errs in other ways than what gradients have taught, so that a little of it helps where histories are long baskets;
where purchases are few, one that reads texts too may rank better than the others (benchmarks/README.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg
import torch
from scipy.sparse import csr_array
from torch import Tensor

from crossrec_cli.interest.batches import Bools, Histories, Ints, Ragged, Weights
from crossrec_cli.interest.encoders import WEIGHT_SPEED
from crossrec_cli.interest.model import InterestModel

ITERATIONS = 4
"""Of the randomised singular value decomposition."""
LIGHT = 0.3
"""How much a source purchase counts where long source histories shall not drown the target's."""

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Way:
    """How EASE is told to learn."""

    l2: float
    """λ, the weight of its regularisation."""
    source_weight: float = 1.0
    """How much a source purchase counts where one of the target counts 1."""
    text_weight: float = 0.0
    """β, how much texts count beside purchases."""

    def __str__(self) -> str:
        source = f", source weight {self.source_weight:g}" if self.source_weight != 1 else ""
        text = f", text weight {self.text_weight:g}" if self.text_weight else ""
        return f"EASE, λ {self.l2:g}{source}{text}"


def purchases(histories: Ragged, number: Ints, items: int) -> csr_array[np.float32]:
    """Who bought what, float32 (lists, items), each item once; ``number`` is an item's column, −1 for none."""
    known = histories.where(number[histories.values] >= 0)
    ones = np.ones(len(known.values), np.float32)
    matrix = csr_array((ones, (known.rows, number[known.values])), shape=(len(known.lengths), items))
    matrix.data[:] = 1  # what stood there twice was added up
    return matrix


def ease_cells(users: int, items: int, wanted: int) -> int:
    """Numbers in the largest dense matrix that ``ease`` needs; where it has texts, their width counts among users."""
    return max(min(users, items) ** 2, items * wanted)


def source_counts(is_target: Bools, source_weight: float) -> Weights:
    """How much each item's purchases count: 1 in the target, else ``source_weight``; float32 (items,)."""
    return np.where(is_target, np.float32(1), np.float32(source_weight))


def ease(bought: csr_array[np.float32], wanted: Ints, l2: float, text: Matrix | None = None) -> Matrix:
    """EASE's weights from every item to the wanted ones, float32 (items, wanted).

    They need those columns of (XᵀX + λ)⁻¹ alone, and where users are fewer than items, by Woodbury's identity,
    (XXᵀ + λ)⁻¹. A text's directions stand below X as more users, who have of each item what its text has of them
    (CEASE, Jeunen et al. 2020, https://doi.org/10.1145/3383313.3418480).

    Args:
        bought: X, (users, items).
        wanted: int64 (wanted,).
        l2: λ.
        text: the items' texts times √β, (items, r).
    """
    users, items = bought.shape
    below = np.zeros((0, items)) if text is None else text.T.astype(np.float64)
    unit = np.zeros((items, len(wanted)))
    unit[wanted, np.arange(len(wanted))] = 1.0
    if users + len(below) < items:
        across = bought @ below.T
        inner = np.block([[(bought @ bought.T).toarray(), across], [across.T, below @ below.T]])
        inner[np.diag_indices(len(inner))] += l2
        given = np.concatenate([bought[:, wanted].toarray(), below[:, wanted]])
        solved = scipy.linalg.solve(inner, given, assume_a="pos", overwrite_a=True)
        columns = (unit - bought.T @ solved[:users] - below.T @ solved[users:]) / l2
    else:
        inner = (bought.T @ bought).toarray().astype(np.float64)
        if text is not None:
            inner += below.T @ below
        inner[np.diag_indices(items)] += l2
        columns = scipy.linalg.solve(inner, unit, assume_a="pos", overwrite_a=True)
    weights = -columns / columns[wanted, np.arange(len(wanted))]
    weights[wanted, np.arange(len(wanted))] = 0.0
    return weights.astype(np.float32)


@torch.no_grad()
def learn(member: InterestModel, histories: Histories, way: Way, seed: int) -> None:
    """Give an untaught member with a bag EASE's weights from all items to the target's, in place.

    The first half of an item's vector is what it says in a history, the second what is said of it; the bag turns the
    one into the other. So the score is EASE's, of rank d / 2 and divided by the length of the summed history.

    Args:
        member: its encoder is a bag alone.
        histories: their training part teaches.
        way: how.
        seed: of the randomised decomposition.
    """
    assert member.bag is not None
    target = np.flatnonzero(histories.domain.is_target)
    weights = torch.from_numpy(_weights(member.tower.text, histories, target, way))
    dim = len(member.nobody)
    said, heard = _factors(weights, dim // 2, seed)
    for parameter in (*member.tower.parameters(), member.bag.turn.weight):
        parameter.zero_()
    rank = said.shape[1]
    ids = member.tower.id_embedding.weight
    ids[:, :rank] = said.to(ids.device)
    ids[torch.from_numpy(target).to(ids.device), dim - rank :] = heard.to(ids.device)
    member.bag.turn.weight[dim - rank :, :rank] = torch.eye(rank)
    member.bag.target_weight.fill_(-math.log(way.source_weight) / WEIGHT_SPEED)
    scale(member, 1.0)


def _weights(text: Tensor, histories: Histories, target: Ints, way: Way) -> Matrix:
    """EASE's from all items to the target's, taught in this way."""
    counts = source_counts(histories.domain.is_target, way.source_weight)
    bought = purchases(histories.training, np.arange(len(counts)), len(counts)) * counts[None, :]
    texts = counts[:, None] * math.sqrt(way.text_weight) * text.cpu().numpy() if way.text_weight else None
    return ease(csr_array(bought), target, way.l2, texts)


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
