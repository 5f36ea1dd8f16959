"""What carried an item into a user's list, history item by history item.

Shapes: B users, H interactions of all of them together, k items listed for each, d dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from crossrec_cli.interest.batches import Ints, Ragged
from crossrec_cli.interest.ensemble import Ensemble
from crossrec_cli.interest.model import InterestModel, Items

TOGETHER = 2**22
"""Numbers of shortened histories' vectors held at once, 16 MB in float32."""


@dataclass(frozen=True)
class Parts:
    """What each listed item's score u·v(i) + b(i) is made of; the parts add up to it.

    Of the ``bag`` a history item's part is exact, as the user's vector is a sum. Of the ``sequence`` and the ``hybrid``
    it is by how much the score falls when that item is left out of the history; what these do not add up to stands
    under ``rest``.
    """

    history: Tensor
    """Of each interaction, float32 (H, k)."""
    rest: Tensor
    """Of tags, and of what is not of one interaction alone, float32 (B, k)."""
    bias: Tensor
    """b(i), float32 (B, k)."""


@torch.no_grad()
def explain(model: Ensemble, known: Sequence[Items], histories: Ragged, tags: Ragged, listed: Ints) -> Parts:
    """Take the members' mean scores apart.

    Args:
        model: as it ranks.
        known: its items, from ``Ensemble.known``.
        histories: of some users, whole.
        tags: theirs.
        listed: item indices to explain, int64 (B, k).
    """
    items = torch.from_numpy(listed).to(model.device)
    found = [_of_member(*pair, histories, tags, items) for pair in zip(model.members, known, strict=True)]
    return Parts(*(torch.stack(part).mean(dim=0).cpu() for part in zip(*found, strict=True)))


def _of_member(
    member: InterestModel, items: Items, histories: Ragged, tags: Ragged, listed: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    vectors = items.vectors[listed]
    if member.sequence is None:
        history = _bag(member, items, histories, tags, vectors)
    else:
        history = _left_out_of_sequence(member, items, histories, tags, vectors)
        if member.bag is not None:  # beside the other, exact parts would be told by another measure
            history += _left_out_of_bag(member, items, histories, tags, vectors)
    whole = torch.einsum("bd,bkd->bk", member.user_vectors(items, histories, tags), vectors)
    rows = torch.from_numpy(histories.rows).to(listed.device)
    history *= member.gains(items, histories)[rows].unsqueeze(1)
    return history, whole - torch.zeros_like(whole).index_add_(0, rows, history), items.bias[listed]


def _bag(member: InterestModel, items: Items, histories: Ragged, tags: Ragged, vectors: Tensor) -> Tensor:
    """Each interaction's weighted vector, times what the bag makes of a sum, times the listed items; (H, k)."""
    assert member.bag is not None
    scale, wanted = member.bag_scales(items, histories, tags), vectors @ member.bag.turn.weight
    parts = [vectors.new_empty(0, vectors.shape[1])]
    for user, (begin, length) in enumerate(zip(histories.starts, histories.lengths, strict=True)):
        some = torch.from_numpy(histories.values[begin : begin + length]).to(vectors.device)
        parts.append(items.vectors[some] @ (scale[user] * wanted[user]).T)
    return torch.cat(parts) * member.counts(items, histories).unsqueeze(1)


def _left_out_of_bag(member: InterestModel, items: Items, histories: Ragged, tags: Ragged, vectors: Tensor) -> Tensor:
    """By how much the bag's part of the score falls without each interaction; (H, k)."""
    assert member.bag is not None
    totals, counts = member.bag_totals(items, histories, tags), member.counts(items, histories).unsqueeze(1)
    whole = member.bag(totals)
    values, rows = (torch.from_numpy(part).to(vectors.device) for part in (histories.values, histories.rows))
    falls = [vectors.new_empty(0, vectors.shape[1])]
    together = max(TOGETHER // (vectors.shape[1] * vectors.shape[2]), 1)
    for item, count, who in zip(*(torch.split(part, together) for part in (values, counts, rows)), strict=True):
        shorter = member.bag(totals[who] - count * items.vectors[item])
        falls.append(torch.einsum("nd,nkd->nk", whole[who] - shorter, vectors[who]))
    return torch.cat(falls)


def _left_out_of_sequence(
    member: InterestModel, items: Items, histories: Ragged, tags: Ragged, vectors: Tensor
) -> Tensor:
    """By how much the sequence's part of the score falls without each of the latest interactions; (H, k)."""
    lengths = np.minimum(histories.lengths, member.max_sequence)
    whole = member.sequence_vectors(items, histories, tags)
    falls = torch.zeros(len(histories.values), vectors.shape[1], device=vectors.device)
    latest = histories.slice(np.arange(len(lengths)), histories.lengths - lengths, histories.lengths)
    skipped = histories.starts + histories.lengths - lengths - latest.starts
    place = np.arange(len(latest.values)) + skipped[latest.rows]
    together = max(TOGETHER // (member.max_sequence * vectors.shape[2]), 1)
    for begin in range(0, len(place), together):
        some = np.arange(begin, min(begin + together, len(place)))
        users = latest.rows[some]
        copies = latest.take(users)
        kept = np.ones(len(copies.values), bool)
        kept[copies.starts + some - latest.starts[users]] = False
        shorter = member.sequence_vectors(items, copies.where(kept), tags.take(users))
        who = torch.from_numpy(users).to(vectors.device)
        falls[torch.from_numpy(place[some]).to(vectors.device)] = torch.einsum(
            "nd,nkd->nk", whole[who] - shorter, vectors[who]
        )
    return falls
