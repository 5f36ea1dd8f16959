"""What each interaction of a history adds to the trained model's scores.

Shapes: B users, H interactions of all of them together, k items listed for each, d dimensions.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from crossrec_cli.models.base import Parts
from crossrec_cli.models.neural.tower import ItemRows, UserEncoder
from crossrec_cli.models.ragged import Ints, Ragged

TOGETHER = 2**22
"""Numbers of shortened histories' vectors held at once, 16 MB in float32."""


@torch.no_grad()
def history_parts(encoder: UserEncoder, items: ItemRows, histories: Ragged, tags: Ragged, listed: Ints) -> Parts:
    """Of a bag exact, as the user's vector is a sum; else what is added is by how much the score falls.

    Args:
        encoder: as it ranks.
        items: all of them.
        histories: of some users, whole.
        tags: theirs.
        listed: item indices to explain, int64 (B, k).
    """
    vectors = items.vectors[torch.from_numpy(listed).to(encoder.device)]
    left_out = torch.zeros(len(histories.values), listed.shape[1], device=encoder.device)
    if encoder.bag is not None:
        left_out += _left_out_of_bag(encoder, items, histories, tags, vectors)
    if encoder.sequence is None:
        return Parts(_bag(encoder, items, histories, tags, vectors).cpu().numpy(), left_out.cpu().numpy())
    left_out += _left_out_of_sequence(encoder, items, histories, tags, vectors)
    return Parts(left_out.cpu().numpy(), left_out.cpu().numpy())


def _bag(encoder: UserEncoder, items: ItemRows, histories: Ragged, tags: Ragged, vectors: Tensor) -> Tensor:
    """Each interaction's weighted vector, times what the bag makes of a sum, times the listed items; (H, k)."""
    assert encoder.bag is not None
    scale, wanted = encoder.bag_scales(items, histories, tags), vectors @ encoder.bag.projection.weight
    parts = [vectors.new_empty(0, vectors.shape[1])]
    for user, (begin, length) in enumerate(zip(histories.starts, histories.lengths, strict=True)):
        some = torch.from_numpy(histories.values[begin : begin + length]).to(vectors.device)
        parts.append(items.vectors[some] @ (scale[user] * wanted[user]).T)
    return torch.cat(parts) * encoder.counts(items, histories).unsqueeze(1)


def _left_out_of_bag(encoder: UserEncoder, items: ItemRows, histories: Ragged, tags: Ragged, vectors: Tensor) -> Tensor:
    """By how much the bag's part of the score falls without each interaction; (H, k)."""
    assert encoder.bag is not None
    totals, counts = encoder.bag_totals(items, histories, tags), encoder.counts(items, histories).unsqueeze(1)
    whole = encoder.bag(totals)
    values, rows = (torch.from_numpy(part).to(vectors.device) for part in (histories.values, histories.rows))
    falls = [vectors.new_empty(0, vectors.shape[1])]
    together = max(TOGETHER // (vectors.shape[1] * vectors.shape[2]), 1)
    for item, count, who in zip(*(torch.split(part, together) for part in (values, counts, rows)), strict=True):
        shorter = encoder.bag(totals[who] - count * items.vectors[item])
        falls.append(torch.einsum("nd,nkd->nk", whole[who] - shorter, vectors[who]))
    return torch.cat(falls)


def _left_out_of_sequence(
    encoder: UserEncoder, items: ItemRows, histories: Ragged, tags: Ragged, vectors: Tensor
) -> Tensor:
    """By how much the sequence's part of the score falls without each of the latest interactions; (H, k)."""
    lengths = np.minimum(histories.lengths, encoder.max_sequence)
    whole = encoder.sequence_vectors(items, histories, tags)
    falls = torch.zeros(len(histories.values), vectors.shape[1], device=vectors.device)
    latest = histories.slice(np.arange(len(lengths)), histories.lengths - lengths, histories.lengths)
    skipped = histories.starts + histories.lengths - lengths - latest.starts
    place = np.arange(len(latest.values)) + skipped[latest.rows]
    together = max(TOGETHER // (encoder.max_sequence * vectors.shape[2]), 1)
    for begin in range(0, len(place), together):
        some = np.arange(begin, min(begin + together, len(place)))
        users = latest.rows[some]
        copies = latest.take(users)
        kept = np.ones(len(copies.values), bool)
        kept[copies.starts + some - latest.starts[users]] = False
        shorter = encoder.sequence_vectors(items, copies.where(kept), tags.take(users))
        who = torch.from_numpy(users).to(vectors.device)
        falls[torch.from_numpy(place[some]).to(vectors.device)] = torch.einsum(
            "nd,nkd->nk", whole[who] - shorter, vectors[who]
        )
    return falls
