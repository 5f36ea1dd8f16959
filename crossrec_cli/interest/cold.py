"""Items that nobody bought yet: what the texts of others say about them."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  the field's usual name
from torch import Tensor

NEIGHBOURS = 20
SHARPNESS = 1 / 0.03
"""Cosines times this are the logits of the neighbours' shares. On validation of the Complete Journey and of Amazon 2 to
20 neighbours, with a fitting sharpness, differ by less than two draws of items (benchmarks/README.md)."""
CELLS = 2**22
"""Numbers held at once, 16 MB in float32."""


class Neighbours(NamedTuple):
    """Which trained items stand in for cold ones."""

    cold: Tensor
    """Items without training interactions, int64 (n,)."""
    near: Tensor
    """The trained items of the same domain whose texts are nearest, int64 (n, k)."""
    share: Tensor
    """How much each counts; they add up to 1, float32 (n, k)."""

    def place(self, vectors: Tensor, bias: Tensor) -> None:
        """In place, give cold items their neighbours' mean vector and bias; float32 (I, d) and (I,).

        The vector is made as long as theirs are: the mean of unlike vectors is shorter, and would be crowded out.
        """
        together = max(CELLS // (self.near.shape[1] * vectors.shape[1]), 1)
        for cold, near, share in zip(*(torch.split(part, together) for part in self), strict=True):
            around = vectors[near]
            mean = (share.unsqueeze(2) * around).sum(dim=1)
            length = (share * around.norm(dim=2)).sum(dim=1, keepdim=True)
            vectors[cold] = F.normalize(mean, dim=1) * length
            bias[cold] = (share * bias[near]).sum(dim=1)


@torch.no_grad()
def neighbours(text: Tensor, cold: Tensor, trained: Tensor) -> Neighbours:
    """The trained items whose texts are nearest to those of cold items, by the softmax of their cosines.

    A tower that saw ids while training makes too short a vector of a text alone; other items crowd it out of all lists.

    Args:
        text: whitened text embeddings, float32 (I, r).
        cold: items without training interactions, int64 (n,).
        trained: items that may stand in for them, int64 (m,), at least one.
    """
    directions = F.normalize(text[trained], dim=1).T
    near, share = [], []
    for some in torch.split(cold, max(CELLS // len(trained), 1)):
        cosine = F.normalize(text[some], dim=1) @ directions
        best = torch.topk(cosine, min(NEIGHBOURS, len(trained)), dim=1)
        near.append(trained[best.indices])
        share.append(torch.softmax(SHARPNESS * best.values, dim=1))
    return Neighbours(cold, torch.cat(near), torch.cat(share))
