"""Exact scores of every candidate item, a chunk of users at a time, so that memory does not grow with the users."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from crossrec_cli.models.histories import Cases, Histories
from crossrec_cli.models.ragged import Bools, Ints, Ragged, numbered
from crossrec_cli.runtime import distributed
from crossrec_cli.runtime.progress import Advance

CHUNK_CELLS = 2**23
"""Scores held at once, 32 MB in float32, or those of ``LEAST_USERS``; a scorer may need several times that."""
LEAST_USERS = 96
"""The least number of users in a chunk: with 32, reading a million items' vectors takes longer than the products."""
MOST_USERS = 4_096
"""The most: their vectors take memory too, however few the candidates are."""
RANKED_CELLS, LONG_ROW = 2**16, 4_096
"""Scores that are compared at once, so that they stay in the processor's cache; and what a long row of them is."""
SPAN = 64
"""Neighbouring candidates whose maximum is computed first."""


class ScoreFunction(Protocol):
    """Anything that scores candidate items for users."""

    def __call__(self, histories: Ragged, tags: Ragged) -> Tensor:
        """Scores (B, C), float32, of C candidates for these users; the caller may change the tensor."""


@dataclass(frozen=True)
class Chunk:
    """Some users' scores."""

    begin: int
    """Index of the first of them among all users to score."""
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
    shared: bool = False,
) -> Iterator[Chunk]:
    """Score candidates for users, chunk by chunk.

    Args:
        scorer: gives the scores.
        histories: of all users.
        users: the users to score, int64 (n,).
        lengths: how many interactions of each one's history the scorer sees, int64 (n,).
        candidates: item indices, sorted, int64 (C,).
        mask_seen: whether items in that part of the history get −inf.
        advance: gets the number of users scored since the last call.
        shared: whether this process scores only its share; the chunks are those of one process, whose scores they have.
    """
    number = numbered(candidates, len(histories.item_stats.is_target))
    size = min(max(CHUNK_CELLS // max(len(candidates), 1), LEAST_USERS), MOST_USERS)
    begins = range(0, len(users), size)
    own = begins[distributed.contiguous_shard(len(begins))] if shared else begins
    for begin in own:
        chunk_users = users[begin : begin + size]
        history_parts = histories.items.take(chunk_users, lengths[begin : begin + size])
        scores = scorer(history_parts, histories.tags.take(chunk_users))
        seen = cells(history_parts, number)
        if mask_seen:
            scores[seen] = -torch.inf
        yield Chunk(begin, scores, seen)
        if advance:
            advance(len(chunk_users))
    if advance and shared:
        advance(len(users) - sum(len(users[begin : begin + size]) for begin in own))


def cells(lists: Ragged, number: Ints) -> tuple[Tensor, Tensor]:
    """Rows and columns, int64 each, of the lists' items; ``number`` gives an item's column, −1 for none."""
    candidates = lists.where(number[lists.values] >= 0)
    return torch.from_numpy(candidates.rows), torch.from_numpy(number[candidates.values])


@dataclass(frozen=True)
class Ranks:
    """The ranks of the true items."""

    case: Ints
    """For each true item, its case."""
    rank: npt.NDArray[np.float64]
    """Its rank from 1; tied items share their mean rank, so ranks may end in .5."""
    cases: int
    """Number of cases, including those without an item to rank."""
    lists: Ints
    """Columns of each case's best candidates, best first, int64 (cases, k); −1 where there are fewer."""

    @classmethod
    def joined(cls, parts: Iterable[Ranks], k: int) -> Ranks:
        """The ranks of some cases, followed by those of others, whose lists have the same length k."""
        case, rank, count, lists = [np.empty(0, np.int64)], [np.empty(0)], 0, [np.empty((0, k), np.int64)]
        for part in parts:
            case.append(count + part.case)
            rank.append(part.rank)
            lists.append(part.lists)
            count += part.cases
        return cls(np.concatenate(case), np.concatenate(rank), count, np.concatenate(lists))


def ranked(
    scorer: ScoreFunction,
    histories: Histories,
    cases: Cases,
    candidates: Ints,
    mask_seen: bool,
    k: int = 0,
    among: Sampled | Listed | None = None,
    advance: Advance | None = None,
    shared: bool = False,
) -> Ranks:
    """Rank all candidates for each case: the mid-ranks of its true items, and the best k.

    Where seen items are masked, a true item that is already in the history is skipped.

    Args:
        scorer: gives the scores.
        histories: of all users.
        cases: the held-out items, and how much of each history is given.
        candidates: item indices, sorted, int64 (C,).
        mask_seen: whether items in the history are excluded.
        k: how long the lists are.
        among: rank the true items among some candidates only; the lists are still of all candidates.
        advance: gets the number of cases ranked since the last call.
        shared: whether the processes of a job share the cases; the leader alone then gets the ranks.
    """
    all_chunks = chunks(scorer, histories, cases.users, cases.history_lengths, candidates, mask_seen, advance, shared)
    k = min(k, len(candidates))
    parts = (_ranked_chunk(chunk, cases, candidates, k, among) for chunk in all_chunks)
    return Ranks.joined(distributed.in_order(parts) if shared else parts, k)


def _ranked_chunk(chunk: Chunk, cases: Cases, candidates: Ints, k: int, among: Sampled | Listed | None) -> Ranks:
    """``ranked`` for the cases of one chunk."""
    truth = cases.truth.take(np.arange(chunk.begin, chunk.begin + len(chunk.scores)))
    rows, columns = torch.from_numpy(truth.rows), torch.from_numpy(np.searchsorted(candidates, truth.values))
    lists = np.empty((len(chunk.scores), 0), np.int64)
    if k:
        best, columns_of_best = top_k(chunk, k)
        lists = columns_of_best.masked_fill(best == -torch.inf, -1).numpy()
    if among:
        among.mask_others(chunk, rows, columns)
    ranks, rankable = mid_ranks(chunk.scores, rows, columns)
    return Ranks(truth.rows[rankable], ranks[rankable], len(chunk.scores), lists)


def mid_ranks(scores: Tensor, rows: Tensor, columns: Tensor) -> tuple[npt.NDArray[np.float64], Bools]:
    """The ranks of cells in their rows, and whether they are not masked."""
    table, row = scores.numpy(), rows.numpy()
    own = table[row, columns.numpy()]
    better, equal = np.zeros((2, len(row)), np.int64)
    size = max(RANKED_CELLS // max(table.shape[1], 1), 1)
    for cells in (slice(begin, begin + size) for begin in range(0, len(row), size)):
        of_row, threshold = table[row[cells]], own[cells, None]
        better[cells], equal[cells] = _in_rows(of_row > threshold), _in_rows(of_row == threshold)
    return 1 + better + (equal - 1) / 2, np.isfinite(own)


def _in_rows(cells: Bools) -> Ints:
    """How many cells of each row are true; those of a long row by themselves, as NumPy is slow along an axis."""
    if cells.shape[1] >= LONG_ROW:
        return np.array([np.count_nonzero(row) for row in cells], np.int64)
    counts: Ints = cells.sum(axis=1)
    return counts


@dataclass(frozen=True)
class Sampled:
    """The true items are ranked among so many negatives, sampled for each case from items not in its history.

    Sampled metrics differ from exact ones, and may order models differently (Krichene & Rendle 2020,
    https://doi.org/10.1145/3394486.3403226); they serve to compare with papers that report them.
    """

    negatives: int
    seed: int

    def mask_others(self, chunk: Chunk, rows: Tensor, columns: Tensor) -> None:
        """In place, mask all but the true items, at (rows, columns), and the sampled ones."""
        scores = chunk.scores
        random = torch.rand(scores.shape, generator=torch.Generator().manual_seed(self.seed + chunk.begin))
        random[chunk.seen] = -1.0
        random[rows, columns] = -1.0
        kept = torch.topk(random, min(self.negatives, scores.shape[1]), dim=1)
        out = torch.ones_like(scores, dtype=torch.bool)
        out.scatter_(1, kept.indices, kept.values < 0)
        out[rows, columns] = False
        scores[out] = -torch.inf


@dataclass(frozen=True)
class Listed:
    """The true items are ranked among candidates that a file names for each case."""

    columns: Ragged
    """For each case, their indices in all candidates."""

    def mask_others(self, chunk: Chunk, rows: Tensor, columns: Tensor) -> None:
        """In place, mask all but the true items, at (rows, columns), and the listed ones."""
        scores = chunk.scores
        chosen = self.columns.take(np.arange(chunk.begin, chunk.begin + len(scores)))
        out = torch.ones_like(scores, dtype=torch.bool)
        out[torch.from_numpy(chosen.rows), torch.from_numpy(chosen.values)] = False
        out[rows, columns] = False
        scores[out] = -torch.inf


def top_k(chunk: Chunk, k: int) -> tuple[Tensor, Tensor]:
    """The best k candidates of each user, best first: scores and columns (B, k); masked ones score −inf."""
    scores = chunk.scores
    span_count = scores.shape[1] // SPAN
    if span_count <= 2 * k:
        best = torch.topk(scores, min(k, scores.shape[1]), dim=1)
        return best.values, best.indices
    # each of the best k is in one of the k spans with the highest maxima, or in the rest; the maxima are found in one
    # pass with vector instructions, which torch.topk has none of
    spans = torch.topk(scores[:, : span_count * SPAN].view(len(scores), span_count, SPAN).amax(dim=2), k, dim=1).indices
    rest = torch.arange(span_count * SPAN, scores.shape[1]).expand(len(scores), -1)
    candidates = torch.cat([(spans.unsqueeze(2) * SPAN + torch.arange(SPAN)).flatten(1), rest], dim=1)
    best = torch.topk(scores.gather(1, candidates), k, dim=1)
    return best.values, candidates.gather(1, best.indices)
