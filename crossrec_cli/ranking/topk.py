"""Exact scores of every candidate item, a chunk of users at a time, so that memory does not grow with the users."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from crossrec_cli.models.histories import Cases, Histories
from crossrec_cli.models.ragged import Bools, Ints, Ragged, numbered
from crossrec_cli.runtime.progress import Advance

CHUNK_CELLS = 2**23
"""Scores held at once, 32 MB in float32; a scorer may need several times that on the way."""
LEAST_USERS = 32
"""Held at once whatever the catalogue: reading a million items' vectors takes longer than multiplying a few users'."""
SPAN = 64
"""Neighbouring candidates of which the best is looked for first."""


class ScoreFunction(Protocol):
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


def chunks(
    scorer: ScoreFunction,
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
    number = numbered(candidates, len(histories.item_stats.is_target))
    size = max(CHUNK_CELLS // max(len(candidates), 1), LEAST_USERS)
    for begin in range(0, len(users), size):
        chosen = users[begin : begin + size]
        given = histories.items.take(chosen, lengths[begin : begin + size])
        scores = scorer(given, histories.tags.take(chosen))
        seen = cells(given, number)
        if mask_seen:
            scores[seen] = -torch.inf
        yield Chunk(begin, scores, seen)
        if advance:
            advance(len(chosen))


def cells(lists: Ragged, number: Ints) -> tuple[Tensor, Tensor]:
    """Rows and columns, int64 each, of what the lists hold; ``number`` tells an item's column, or −1 for none."""
    among = lists.where(number[lists.values] >= 0)
    return torch.from_numpy(among.rows), torch.from_numpy(number[among.values])


@dataclass(frozen=True)
class Ranks:
    """Where the true items came in."""

    case: Ints
    """For each true item, its case."""
    rank: npt.NDArray[np.float64]
    """Its rank from 1; a tie counts as the middle of the tied places, so ranks may end in .5."""
    cases: int
    """Number of cases, those with nothing left to find among them."""
    lists: Ints
    """The best candidates' places of each case, best first, int64 (cases, k); −1 where there are fewer."""


def ranked(
    scorer: ScoreFunction,
    histories: Histories,
    cases: Cases,
    candidates: Ints,
    mask_seen: bool,
    k: int = 0,
    among: Sampled | Listed | None = None,
    advance: Advance | None = None,
) -> Ranks:
    """Rank all candidates for each case: where its true items come in, ties at mid-rank, and the best k.

    A true item that the history already holds cannot be found where seen items are masked; it is not asked for.

    Args:
        scorer: gives the scores.
        histories: everybody's.
        cases: what is asked.
        candidates: item indices, sorted, int64 (C,).
        mask_seen: whether items in the history are left out.
        k: how long the lists are.
        among: rank the true items among some candidates only; the lists are still of all.
        advance: told how many cases were ranked since the last call.
    """
    case, rank, lists = [np.empty(0, np.int64)], [np.empty(0)], [np.empty((0, min(k, len(candidates))), np.int64)]
    for chunk in chunks(scorer, histories, cases.users, cases.history_lengths, candidates, mask_seen, advance):
        truth = cases.truth.take(np.arange(chunk.begin, chunk.begin + len(chunk.scores)))
        rows, columns = torch.from_numpy(truth.rows), torch.from_numpy(np.searchsorted(candidates, truth.values))
        if k:
            best, places = top_k(chunk, k)
            lists.append(places.masked_fill(best == -torch.inf, -1).numpy())
        if among:
            among.leave_some(chunk, rows, columns)
        ranks, asked = mid_ranks(chunk.scores, rows, columns)
        case.append(truth.rows[asked] + chunk.begin)
        rank.append(ranks[asked])
    return Ranks(np.concatenate(case), np.concatenate(rank), cases.count, np.concatenate(lists))


def mid_ranks(scores: Tensor, rows: Tensor, columns: Tensor) -> tuple[npt.NDArray[np.float64], Bools]:
    """The ranks of cells in their rows, and whether they are in the running at all."""
    alone = len(rows) == len(scores) and bool((rows.diff() > 0).all())
    compared = scores if alone else scores[rows]  # a copy of all scores only where it has to be
    own = compared.gather(1, columns.unsqueeze(1))
    ranks = 1 + (compared > own).sum(dim=1) + ((compared == own).sum(dim=1) - 1) / 2
    return ranks.double().numpy(), (own.squeeze(1) > -torch.inf).numpy()


@dataclass(frozen=True)
class Sampled:
    """The true items stand among so many others, drawn anew for each case from those not in its history.

    Figures from samples are not those of the whole catalogue, and may order models differently (Krichene & Rendle 2020,
    https://doi.org/10.1145/3394486.3403226); they are for comparison with papers that report them.
    """

    negatives: int
    seed: int

    def leave_some(self, chunk: Chunk, rows: Tensor, columns: Tensor) -> None:
        """In place, take what is neither true, which (row, column) tells, nor drawn out of the running."""
        scores = chunk.scores
        chance = torch.rand(scores.shape, generator=torch.Generator().manual_seed(self.seed + chunk.begin))
        chance[chunk.seen] = -1.0
        chance[rows, columns] = -1.0
        kept = torch.topk(chance, min(self.negatives, scores.shape[1]), dim=1)
        out = torch.ones_like(scores, dtype=torch.bool)
        out.scatter_(1, kept.indices, kept.values < 0)
        out[rows, columns] = False
        scores[out] = -torch.inf


@dataclass(frozen=True)
class Listed:
    """The true items stand among candidates that somebody else chose for each case."""

    columns: Ragged
    """For each case their places among all candidates."""

    def leave_some(self, chunk: Chunk, rows: Tensor, columns: Tensor) -> None:
        """In place, take what is neither true, which (row, column) tells, nor chosen out of the running."""
        scores = chunk.scores
        chosen = self.columns.take(np.arange(chunk.begin, chunk.begin + len(scores)))
        out = torch.ones_like(scores, dtype=torch.bool)
        out[torch.from_numpy(chosen.rows), torch.from_numpy(chosen.values)] = False
        out[rows, columns] = False
        scores[out] = -torch.inf


def top_k(chunk: Chunk, k: int) -> tuple[Tensor, Tensor]:
    """The best k candidates of each user, best first: scores and places (B, k); masked ones score −inf."""
    scores = chunk.scores
    whole = scores.shape[1] // SPAN
    if whole <= 2 * k:
        best = torch.topk(scores, min(k, scores.shape[1]), dim=1)
        return best.values, best.indices
    # each of the best k is in one of the k spans with the highest maxima, or in the rest; the maxima are found in one
    # pass with vector instructions, which torch.topk has none of
    spans = torch.topk(scores[:, : whole * SPAN].view(len(scores), whole, SPAN).amax(dim=2), k, dim=1).indices
    rest = torch.arange(whole * SPAN, scores.shape[1]).expand(len(scores), -1)
    places = torch.cat([(spans.unsqueeze(2) * SPAN + torch.arange(SPAN)).flatten(1), rest], dim=1)
    best = torch.topk(scores.gather(1, places), k, dim=1)
    return best.values, places.gather(1, best.indices)
