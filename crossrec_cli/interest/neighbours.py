"""What the items that are alike say about an item that was bought little or not at all."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  the field's usual name
from torch import Tensor

NEIGHBOURS = 20
SHARPNESS = 1 / 0.03
"""Cosines times this are the logits of the neighbours' shares. On validation of the Complete Journey and of Amazon 2 to
20 neighbours, with a fitting sharpness, differ by less than two draws of items (benchmarks/README.md)."""
FAR = 4.0
"""Taken off a cosine, it leaves no share."""
CELLS = 2**22
"""Numbers held at once, 16 MB in float32."""


class Neighbours(NamedTuple):
    """For some items, the trained ones that are nearest."""

    items: Tensor
    """int64 (n,)."""
    near: Tensor
    """Trained items of the same domain, int64 (n, k)."""
    share: Tensor
    """How much each of them counts; they add up to 1, float32 (n, k)."""

    def lend(self, vectors: Tensor, bias: Tensor, trust: Tensor) -> None:
        """In place, move each item's vector and bias to its neighbours' mean.

        The vector is made as long as they are: the mean of unlike vectors is shorter, and would be crowded out.

        Args:
            vectors: of all items, float32 (I, d).
            bias: of all items, float32 (I,).
            trust: how much of its own each item keeps, 0 to 1, float32 (n,).
        """
        known, known_bias = vectors, bias
        if trust.any():  # else these are cold items, and no neighbour of anybody
            known, known_bias = vectors.clone(), bias.clone()
        together = max(CELLS // (self.near.shape[1] * vectors.shape[1]), 1)
        for items, near, share, own in zip(*(torch.split(part, together) for part in (*self, trust)), strict=True):
            around, share_of, own_of = known[near], share.unsqueeze(2), own.unsqueeze(1)
            length = (share_of * around.norm(dim=2, keepdim=True)).sum(dim=1)
            theirs = F.normalize((share_of * around).sum(dim=1), dim=1) * length
            mine = known[items]
            length = own_of * mine.norm(dim=1, keepdim=True) + (1 - own_of) * length
            vectors[items] = F.normalize(own_of * mine + (1 - own_of) * theirs, dim=1) * length
            bias[items] = own * known_bias[items] + (1 - own) * (share * known_bias[near]).sum(dim=1)


@torch.no_grad()
def neighbours(features: Tensor, items: Tensor, trained: Tensor) -> Neighbours:
    """The trained items that are nearest to some items, by the softmax of their cosines.

    Args:
        features: by which items are compared, their whitened texts for one, float32 (I, r).
        items: whose neighbours, int64 (n,); nobody is his own.
        trained: items that may be neighbours, sorted, int64 (m,), at least one.
    """
    directions = F.normalize(features[trained], dim=1).T
    near, share = [], []
    for some in torch.split(items, max(CELLS // len(trained), 1)):
        cosine = F.normalize(features[some], dim=1) @ directions
        place = torch.searchsorted(trained, some).clamp(max=len(trained) - 1)
        cosine[torch.arange(len(some), device=some.device), place] -= FAR * (trained[place] == some)
        best = torch.topk(cosine, min(NEIGHBOURS, len(trained)), dim=1)
        near.append(trained[best.indices])
        share.append(torch.softmax(SHARPNESS * best.values, dim=1))
    return Neighbours(items, torch.cat(near), torch.cat(share))
