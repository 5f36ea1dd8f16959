"""How much each interaction of a history adds to the neural model's scores.

Shapes: B users, H interactions of all of them together, k items listed for each, d dimensions.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from crossrec_cli.artifacts import columns as c
from crossrec_cli.models.base import Domain
from crossrec_cli.models.history_sums import HistorySums, Parts
from crossrec_cli.models.neural.tower import ItemRows, UserEncoder
from crossrec_cli.models.ragged import Ints, Ragged

CHUNK_CELLS = 2**22
"""Numbers of the vectors of shortened histories that are held at once, 16 MB in float32."""


@torch.no_grad()
def history_parts(encoder: UserEncoder, items: ItemRows, histories: Ragged, tags: Ragged, listed: Ints) -> Parts:
    """Exact for a bag, whose user vector is a sum; otherwise the part added is the fall of the score without it.

    For a sequence that is the fall if its last layer did not see the interaction (``UserEncoder.lost_vectors``).

    Args:
        encoder: in evaluation mode.
        items: all items.
        histories: complete histories of some users.
        tags: of the same users.
        listed: item indices to explain, int64 (B, k).
    """
    vectors = items.vectors[torch.from_numpy(listed).to(encoder.device)]
    added, falls = Parts.none(len(histories.values), listed.shape[1])
    if encoder.bag is not None:
        added, falls = _bag(encoder, items, histories, tags, vectors)
    if encoder.sequence is None:
        return Parts(added, falls)
    falls = falls + _sequence_falls(encoder, items, histories, tags, vectors).cpu().numpy()
    return Parts(falls, falls)


@torch.no_grad()
def vector_parts(
    encoder: UserEncoder, items: ItemRows, histories: Ragged, tags: Ragged, domain: Domain
) -> tuple[Tensor, Tensor, Tensor]:
    """User vectors, what of them comes from one domain, and what from no interaction; (B, d) each.

    Exact for a bag. A sequence is no sum: it is read again without the source purchases, and without any. What it is
    then above the vector of no history comes from the target, what it lacks comes from the source.

    Args:
        encoder: in evaluation mode.
        items: all items.
        histories: complete histories of some users.
        tags: of the same users.
        domain: the one domain.
    """
    chosen = (items.in_target.cpu().numpy()[histories.values] > 0) == (domain == c.TARGET)
    parts = []
    if encoder.bag is not None:
        given = (histories, histories.where(chosen))
        whole, of_both = (encoder.bag_totals(items, some, tags) for some in given)
        prefix = encoder.prefix(tags)
        scale = encoder.bag.log_scale.exp() / whole.norm(dim=1, keepdim=True).clamp(min=1e-12)
        in_part, rest = (encoder.bag.projection(scale * some) for some in (of_both - prefix, prefix))
        parts.append((encoder.bag(whole), in_part, rest))
    if encoder.sequence is not None:
        total, target, rest = _sequence_parts(encoder, items, histories, tags)
        parts.append((total, target if domain == c.TARGET else total - target - rest, rest))
    total, of_domain, rest = (torch.stack(some).sum(dim=0) for some in zip(*parts, strict=True))
    return total, of_domain, rest


def _sequence_parts(
    encoder: UserEncoder, items: ItemRows, histories: Ragged, tags: Ragged
) -> tuple[Tensor, Tensor, Tensor]:
    """``vector_parts`` of a sequence, for the target; users with the same tags have the same vector of no history."""
    latest = encoder.latest(histories)
    bought = latest.where(items.in_target.cpu().numpy()[latest.values] > 0)
    nothing = bought.where(np.zeros(len(bought.values), np.bool_))
    tag_lists, filled = tags.padded()
    _, first, same = np.unique(np.where(filled, tag_lists, -1), axis=0, return_index=True, return_inverse=True)
    of_tags = encoder.sequence_vectors(items, nothing.take(first), tags.take(first))
    rest = of_tags[torch.from_numpy(same.ravel()).to(of_tags.device)]
    target, users = torch.zeros_like(rest), np.flatnonzero(bought.lengths)
    rows = torch.from_numpy(users).to(rest.device)
    target[rows] = encoder.sequence_vectors(items, bought.take(users), tags.take(users)) - rest[rows]
    return encoder.sequence_vectors(items, latest, tags), target, rest


def _bag(encoder: UserEncoder, items: ItemRows, histories: Ragged, tags: Ragged, vectors: Tensor) -> Parts:
    """What each interaction adds to the bag's part of the scores of the listed items, and its fall without it.

    A user's vector is the sum, brought to one length and projected; so a score is a product of the sum with the listed
    item's projected vector.
    """
    assert encoder.bag is not None
    projected = vectors @ encoder.bag.projection.weight
    prefix, counts = encoder.prefix(tags).cpu().numpy(), encoder.counts(items, histories).cpu().numpy()
    sums = HistorySums(items.vectors.cpu().numpy(), histories, counts[None], prefix)
    ((_, parts),) = sums.parts(projected.reshape(-1, projected.shape[2]).cpu().numpy())
    scale = np.float32(encoder.bag.log_scale.exp().item())
    return Parts(scale * parts.added, scale * parts.falls)


def _sequence_falls(encoder: UserEncoder, items: ItemRows, histories: Ragged, tags: Ragged, vectors: Tensor) -> Tensor:
    """The fall of the sequence's part of the score without each of the latest interactions, (H, k)."""
    falls, liked = torch.zeros(len(histories.values), vectors.shape[1], device=vectors.device), histories.liked
    latest = encoder.latest(histories)
    skipped = np.bincount(histories.rows[liked], minlength=len(latest.lengths)) - latest.lengths
    first = np.cumsum(skipped)  # of the liked ones, so many before a user's latest are not read
    position = np.flatnonzero(liked)[np.arange(len(latest.values)) + first[latest.rows]]
    chunk_size = max(CHUNK_CELLS // (encoder.max_sequence * max(vectors.shape[1:])), 1)
    for begin in range(0, len(latest.lengths), chunk_size):
        users = np.arange(begin, min(begin + chunk_size, len(latest.lengths)))
        some = latest.take(users)
        lost = encoder.lost_vectors(items, some, tags.take(users))
        rows = position[latest.starts[begin] : latest.starts[begin] + len(some.values)]
        fall = torch.bmm(vectors[users[some.rows]], lost.unsqueeze(2)).squeeze(2)
        falls[torch.from_numpy(rows).to(vectors.device)] = fall
    return falls
