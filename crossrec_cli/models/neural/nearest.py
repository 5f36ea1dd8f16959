"""The items whose texts are nearest, among very many too.

Among many, only those are compared whose group is near. Some items are drawn, each item is in the group of the nearest
of them, and a text is compared with the groups of those that are nearest to it. The time then grows with the number of
texts times the square root of the number of items, and not with their product.

Shapes: n texts, m items, r the width of a text's vector, k neighbours.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from crossrec_cli.models.ragged import Ints
from crossrec_cli.models.vectors import Floats

FEW = 10_000
"""So many items are all compared."""
GROUPS, LOOKED_AT = 2, 32
"""Groups for each unit of the square root of the items' number, and how many of them a text is compared with."""
CELLS = 2**22
"""Cosines held at once, 16 MB."""


def nearest(texts: Floats, items: Floats, k: int) -> tuple[Tensor, Tensor]:
    """The cosines of the nearest items, and their indices, int64; (n, k) each, or (n, m) of fewer than k items.

    Args:
        texts: rows of length 1, (n, r).
        items: the same, (m, r).
        k: how many.
    """
    k = min(k, len(items))
    best = torch.full((len(texts), k), -torch.inf), torch.zeros(len(texts), k, dtype=torch.int64)
    if len(items) <= FEW:
        _compare(best, np.arange(len(texts)), np.arange(len(items)), texts, items)
        return best
    number = int(GROUPS * len(items) ** 0.5)
    drawn = items[np.sort(np.random.default_rng(0).choice(len(items), number, replace=False))]
    members = _lists(_nearest_of(items, drawn, 1), number)
    askers = _lists(_nearest_of(texts, drawn, min(LOOKED_AT, number)), number)
    for in_group, asking in zip(members, askers, strict=True):
        _compare(best, asking, in_group, texts, items)
    return best


def _compare(best: tuple[Tensor, Tensor], asking: Ints, among: Ints, texts: Floats, items: Floats) -> None:
    """Put the nearest of some items into the best of some texts, in place."""
    values, indices = best
    k, some_items = values.shape[1], items[among]
    for rows in np.array_split(asking, len(asking) * len(among) // CELLS + 1):
        cosines = torch.from_numpy(texts[rows] @ some_items.T)
        numbers = torch.from_numpy(among).expand(len(rows), -1)
        found = torch.topk(torch.cat([values[rows], cosines], dim=1), k, dim=1)
        values[rows] = found.values
        indices[rows] = torch.cat([indices[rows], numbers], dim=1).gather(1, found.indices)


def _nearest_of(texts: Floats, drawn: Floats, k: int) -> Ints:
    """The nearest of the drawn items of each text, int64 (n, k)."""
    parts = np.array_split(texts, len(texts) * len(drawn) // CELLS + 1)
    return np.concatenate([torch.topk(torch.from_numpy(part @ drawn.T), k, dim=1).indices.numpy() for part in parts])


def _lists(groups: Ints, number: int) -> list[Ints]:
    """Which rows name each of the groups, from the groups that each row names, (n, any)."""
    order = np.argsort(groups.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(groups.ravel(), minlength=number))
    return np.split(order // groups.shape[1], ends[:-1])
