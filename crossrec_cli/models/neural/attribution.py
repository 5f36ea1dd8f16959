"""How much each interaction of a history adds to the neural model's scores.

Shapes: B users, H interactions of all of them together, k items listed for each, d dimensions.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from crossrec_cli.models.base import Parts
from crossrec_cli.models.neural.tower import ItemRows, UserEncoder
from crossrec_cli.models.ragged import Ints, Ragged

CHUNK_CELLS = 2**22
"""Numbers of the vectors of shortened histories that are held at once, 16 MB in float32."""


@torch.no_grad()
def history_parts(encoder: UserEncoder, items: ItemRows, histories: Ragged, tags: Ragged, listed: Ints) -> Parts:
    """Exact for a bag, whose user vector is a sum; otherwise the part added is the fall of the score without it.

    Args:
        encoder: in evaluation mode.
        items: all items.
        histories: complete histories of some users.
        tags: of the same users.
        listed: item indices to explain, int64 (B, k).
    """
    vectors = items.vectors[torch.from_numpy(listed).to(encoder.device)]
    falls = torch.zeros(len(histories.values), listed.shape[1], device=encoder.device)
    if encoder.bag is not None:
        falls += _bag_falls(encoder, items, histories, tags, vectors)
    if encoder.sequence is None:
        return Parts(_bag_parts(encoder, items, histories, tags, vectors).cpu().numpy(), falls.cpu().numpy())
    falls += _sequence_falls(encoder, items, histories, tags, vectors)
    return Parts(falls.cpu().numpy(), falls.cpu().numpy())


def _bag_parts(encoder: UserEncoder, items: ItemRows, histories: Ragged, tags: Ragged, vectors: Tensor) -> Tensor:
    """Each interaction's weighted vector, through the bag's linear map, times the listed items' vectors; (H, k)."""
    assert encoder.bag is not None
    scale, projected = encoder.bag_scales(items, histories, tags), vectors @ encoder.bag.projection.weight
    parts = [vectors.new_empty(0, vectors.shape[1])]
    for user, (begin, length) in enumerate(zip(histories.starts, histories.lengths, strict=True)):
        history_items = torch.from_numpy(histories.values[begin : begin + length]).to(vectors.device)
        parts.append(items.vectors[history_items] @ (scale[user] * projected[user]).T)
    return torch.cat(parts) * encoder.counts(items, histories).unsqueeze(1)


def _bag_falls(encoder: UserEncoder, items: ItemRows, histories: Ragged, tags: Ragged, vectors: Tensor) -> Tensor:
    """The fall of the bag's part of the score without each interaction, (H, k)."""
    assert encoder.bag is not None
    totals, counts = encoder.bag_totals(items, histories, tags), encoder.counts(items, histories).unsqueeze(1)
    full = encoder.bag(totals)
    values, rows = (torch.from_numpy(part).to(vectors.device) for part in (histories.values, histories.rows))
    falls = [vectors.new_empty(0, vectors.shape[1])]
    chunk_size = max(CHUNK_CELLS // (vectors.shape[1] * vectors.shape[2]), 1)
    for item, count, user_rows in zip(*(torch.split(part, chunk_size) for part in (values, counts, rows)), strict=True):
        reduced = encoder.bag(totals[user_rows] - count * items.vectors[item])
        falls.append(torch.einsum("nd,nkd->nk", full[user_rows] - reduced, vectors[user_rows]))
    return torch.cat(falls)


def _sequence_falls(encoder: UserEncoder, items: ItemRows, histories: Ragged, tags: Ragged, vectors: Tensor) -> Tensor:
    """The fall of the sequence's part of the score without each of the latest interactions, (H, k)."""
    lengths = np.minimum(histories.lengths, encoder.max_sequence)
    full = encoder.sequence_vectors(items, histories, tags)
    falls = torch.zeros(len(histories.values), vectors.shape[1], device=vectors.device)
    latest = histories.slice(np.arange(len(lengths)), histories.lengths - lengths, histories.lengths)
    skipped = histories.starts + histories.lengths - lengths - latest.starts
    position = np.arange(len(latest.values)) + skipped[latest.rows]
    chunk_size = max(CHUNK_CELLS // (encoder.max_sequence * vectors.shape[2]), 1)
    for begin in range(0, len(position), chunk_size):
        chunk = np.arange(begin, min(begin + chunk_size, len(position)))
        users = latest.rows[chunk]
        copies = latest.take(users)
        kept = np.ones(len(copies.values), bool)
        kept[copies.starts + chunk - latest.starts[users]] = False
        reduced = encoder.sequence_vectors(items, copies.where(kept), tags.take(users))
        user_rows = torch.from_numpy(users).to(vectors.device)
        falls[torch.from_numpy(position[chunk]).to(vectors.device)] = torch.einsum(
            "nd,nkd->nk", full[user_rows] - reduced, vectors[user_rows]
        )
    return falls
