"""Exact scores of every candidate item, a chunk of users at a time, so that memory does not grow with the users."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from crossrec_cli.interest.batches import Cases, Histories, Ints, Ragged
from crossrec_cli.interest.model import InterestModel
from crossrec_cli.reporting import Advance

CHUNK_CELLS = 2**24
"""Scores held at once, 64 MB in float32."""


class Scorer(Protocol):
    """Anything that scores candidate items for users."""

    def __call__(self, histories: Ragged, tags: Ragged) -> Tensor:
        """Scores (B, C), float32, of C candidates for these users, for the caller to change."""


@dataclass(frozen=True)
class Chunk:
    """Some users' scores."""

    begin: int
    """Place of the first of them among the users asked for."""
    scores: Tensor
    """float32 (B, C); −inf where the candidate is in the history and seen items are masked."""
    seen: tuple[Tensor, Tensor]
    """Rows and columns, int64 each, of candidates in the history."""


def interest_scorer(model: InterestModel, candidates: Ints) -> Scorer:
    """Scores by the interest model, before calibration."""
    model.eval()
    with torch.inference_mode():
        known = model.tower()
        chosen = torch.from_numpy(candidates).to(model.device)
        wanted, bias = known.vectors[chosen].T.contiguous(), known.bias[chosen]

    @torch.no_grad()  # what comes out of inference mode could not be changed
    def score(histories: Ragged, tags: Ragged) -> Tensor:
        scores: Tensor = model.user_vectors(known, histories, tags) @ wanted + bias
        return scores.cpu()

    return score


def chunks(
    scorer: Scorer,
    histories: Histories,
    users: Ints,
    lengths: Ints,
    candidates: Ints,
    mask_seen: bool,
    advance: Advance | None = None,
) -> Iterator[Chunk]:
    """Score candidates for users, chunk by chunk.

    Args:
        scorer: gives the scores.
        histories: everybody's.
        users: whom to score, int64 (n,).
        lengths: how much of each one's history is given, int64 (n,).
        candidates: item indices, sorted, int64 (C,).
        mask_seen: whether items in the given history get −inf.
        advance: told how many users were scored since the last call.
    """
    number = np.full(len(histories.domain.is_target), -1)
    number[candidates] = np.arange(len(candidates))
    size = max(CHUNK_CELLS // max(len(candidates), 1), 1)
    for begin in range(0, len(users), size):
        chosen = users[begin : begin + size]
        given = histories.items.take(chosen, lengths[begin : begin + size])
        scores = scorer(given, histories.tags.take(chosen))
        among = given.where(number[given.values] >= 0)
        seen = torch.from_numpy(among.rows), torch.from_numpy(number[among.values])
        if mask_seen:
            scores[seen] = -torch.inf
        yield Chunk(begin, scores, seen)
        if advance:
            advance(len(chosen))


def truth_ranks(scorer: Scorer, histories: Histories, cases: Cases, candidates: Ints, mask_seen: bool) -> Ranks:
    """The rank of each case's true items among all candidates, ties at mid-rank.

    A true item that the history already holds cannot be found where seen items are masked; it is not asked for.
    """
    case, rank = [], []
    for chunk in chunks(scorer, histories, cases.users, cases.history_lengths, candidates, mask_seen):
        lists = np.arange(chunk.begin, chunk.begin + len(chunk.scores))
        truth = cases.truth.take(lists)
        rows, columns = torch.from_numpy(truth.rows), torch.from_numpy(np.searchsorted(candidates, truth.values))
        alone = len(rows) == len(chunk.scores) and len(np.unique(truth.rows)) == len(rows)
        scores = chunk.scores if alone else chunk.scores[rows]  # a copy of all scores only where it has to be
        own = scores.gather(1, columns.unsqueeze(1))
        ranks = 1 + (scores > own).sum(dim=1) + ((scores == own).sum(dim=1) - 1) / 2
        asked = (own.squeeze(1) > -torch.inf).numpy()
        case.append(truth.rows[asked] + chunk.begin)
        rank.append(ranks.numpy()[asked])
    return Ranks(np.concatenate([*case, np.empty(0, np.int64)]), np.concatenate([*rank, np.empty(0)]), cases.count)


@dataclass(frozen=True)
class Ranks:
    """Where the true items came in."""

    case: Ints
    """For each true item, its case."""
    rank: np.ndarray[tuple[int], np.dtype[np.float64]]
    """Its rank from 1; a tie counts as the middle of the tied places, so ranks may end in .5."""
    cases: int
    """Number of cases, those with nothing left to find among them."""


def top_k(chunk: Chunk, k: int) -> tuple[Tensor, Tensor]:
    """The best k candidates of each user, best first: scores and places (B, k); masked ones score −inf."""
    best = torch.topk(chunk.scores, min(k, chunk.scores.shape[1]), dim=1)
    return best.values, best.indices
