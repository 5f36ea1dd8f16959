from __future__ import annotations

import numpy as np
import pytest
import torch

from crossrec_cli.models.base import purchases
from crossrec_cli.models.histories import Cases, Histories, ItemStats
from crossrec_cli.models.ragged import Ragged
from crossrec_cli.ranking import topk
from crossrec_cli.runtime import distributed

ITEMS, USERS = 40, 25


@pytest.fixture
def histories() -> Histories:
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 12, USERS)
    items = np.concatenate([rng.choice(ITEMS, n, replace=False) for n in lengths])
    is_target = np.arange(ITEMS) % 2 == 0
    nobody = Ragged(np.empty(0, np.int64), np.zeros(USERS, np.int64))
    return Histories(Ragged(items, lengths), lengths // 2, nobody, ItemStats(is_target, np.ones(ITEMS, int)))


@pytest.fixture
def candidates(histories: Histories) -> np.ndarray:
    return np.flatnonzero(histories.item_stats.is_target)


def scorer_with(table: np.ndarray):
    """Scores by a table; it is told nothing of the users, so it counts the rows that were asked for."""
    served = 0

    def score(histories: Ragged, tags: Ragged) -> torch.Tensor:
        nonlocal served
        rows = table[served : served + len(histories.lengths)]
        served += len(rows)
        return torch.from_numpy(rows)

    return score


@pytest.mark.parametrize("mask_seen", [True, False])
@pytest.mark.parametrize("cells", [1, 64, 10**6])
def test_ranks_against_a_plain_loop_whatever_the_chunks(histories, candidates, mask_seen, cells, monkeypatch):
    monkeypatch.setattr(topk, "CHUNK_CELLS", cells)
    rng = np.random.default_rng(1)
    table = rng.integers(0, 6, (USERS, len(candidates))).astype(np.float32)  # few values, so many ties
    lengths = histories.items.lengths // 2
    truth = np.array([rng.choice(candidates, 2, replace=False) for _ in range(USERS)])
    cases = Cases(np.arange(USERS), lengths, Ragged(truth.reshape(-1), np.full(USERS, 2)))
    found = topk.ranked(scorer_with(table), histories, cases, candidates, mask_seen)
    expected = []
    for user in range(USERS):
        seen = set(histories.items.take(np.array([user]), lengths[[user]]).values) if mask_seen else set()
        pool = {item: table[user, place] for place, item in enumerate(candidates) if item not in seen}
        for item in truth[user]:
            if item in pool:
                better = sum(score > pool[item] for score in pool.values())
                equal = sum(score == pool[item] for score in pool.values())
                expected.append((user, better + (equal + 1) / 2))
    assert list(zip(found.case.tolist(), found.rank.tolist(), strict=True)) == expected
    assert found.cases == USERS


def test_top_k_is_a_sort_without_what_was_seen(histories, candidates):
    rng = np.random.default_rng(2)
    table = rng.random((USERS, len(candidates)), dtype=np.float32)
    users = np.arange(USERS)
    (chunk,) = topk.chunks(scorer_with(table), histories, users, histories.items.lengths, candidates, mask_seen=True)
    scores, places = topk.top_k(chunk, 5)
    for user in users:
        seen = histories.items.take(np.array([user])).values
        order = [p for p in np.argsort(-table[user]) if candidates[p] not in seen][:5]
        assert places[user].tolist() == order
        np.testing.assert_array_equal(scores[user], table[user, order])


@pytest.mark.parametrize("candidates", [64 * 21, 64 * 50 + 17, 5000])
def test_the_best_of_many_are_those_of_a_sort(candidates):
    scores = torch.from_numpy(np.random.default_rng(3).permuted(np.arange(candidates * 7.0).reshape(7, -1), axis=1))
    scores[0] = -torch.inf
    scores[1, 5:] = -torch.inf  # fewer than k are left
    scores[2, -3:] = torch.arange(3) + 1e6  # behind the last whole span
    nothing = torch.empty(0, dtype=torch.int64)
    values, places = topk.top_k(topk.Chunk(0, scores, (nothing, nothing)), 10)
    assert torch.equal(values, scores.sort(dim=1, descending=True).values[:, :10])
    assert torch.equal(scores.gather(1, places), values)
    assert all(len(row.unique()) == 10 for row in places)


def test_k_beyond_the_catalogue(histories, candidates):
    table = np.zeros((1, len(candidates)), np.float32)
    one = np.array([0])
    (chunk,) = topk.chunks(scorer_with(table), histories, one, one, candidates, mask_seen=False)
    assert topk.top_k(chunk, 1000)[0].shape == (1, len(candidates))


@pytest.mark.parametrize("cells", [64, 10**6])
def test_lists_come_along_with_ranks(histories, candidates, cells, monkeypatch):
    """Item 0 is rank 1 for who lacks it; who has all but three of the candidates gets a list of three."""
    monkeypatch.setattr(topk, "CHUNK_CELLS", cells)
    table = np.tile(-np.arange(len(candidates), dtype=np.float32), (USERS, 1))
    lengths = histories.items.lengths
    cases = Cases(np.arange(USERS), lengths, Ragged(np.repeat(candidates[:1], USERS), np.ones(USERS, np.int64)))
    found = topk.ranked(scorer_with(table), histories, cases, candidates, True, k=len(candidates))
    for user in range(USERS):
        seen = histories.items.take(np.array([user])).values
        left = [place for place in range(len(candidates)) if candidates[place] not in seen]
        assert found.lists[user].tolist() == left + [-1] * (len(candidates) - len(left))
    assert (found.rank == 1).all()
    assert len(found.rank) == (found.lists[:, 0] == 0).sum()


@pytest.mark.parametrize("mask_seen", [True, False])
def test_a_sample_holds_so_many_unseen_items_beside_the_true_ones(histories, candidates, mask_seen):
    """The truth scores least, so that its rank counts who runs against it; over seeds, everybody does as often."""
    lengths = histories.items.lengths
    truth = np.array([np.setdiff1d(candidates, histories.items.take(np.array([u])).values)[0] for u in range(USERS)])
    cases = Cases(np.arange(USERS), lengths, Ragged(truth, np.ones(USERS, np.int64)))
    counts = np.zeros(len(candidates))
    for seed in range(20):
        table = np.random.default_rng(seed).random((USERS, len(candidates)), dtype=np.float32)
        table[np.arange(USERS), np.searchsorted(candidates, truth)] = -1
        sampled = topk.Sampled(4, seed)
        found = topk.ranked(scorer_with(table), histories, cases, candidates, mask_seen, k=3, among=sampled)
        assert (found.rank == 5).all()
        assert (found.lists >= 0).all(), "the lists are those of the whole catalogue"
    (chunk,) = topk.chunks(
        scorer_with(np.zeros((USERS, len(candidates)), np.float32)),
        histories,
        cases.users,
        lengths,
        candidates,
        mask_seen,
    )
    seen = torch.zeros(chunk.scores.shape, dtype=torch.bool)
    seen[chunk.seen] = True
    rows, columns = torch.arange(USERS), torch.from_numpy(np.searchsorted(candidates, truth))
    for seed in range(300):
        scores = chunk.scores.clone()
        topk.Sampled(4, seed).mask_others(topk.Chunk(0, scores, chunk.seen), rows, columns)
        left = scores > -torch.inf
        assert not (left & seen).any()
        counts += left[0].numpy()
    mine = ~seen[0].numpy()
    mine[columns[0]] = False
    assert counts[mine].min() > 0.7 * 300 * 4 / mine.sum()


@pytest.mark.parametrize("cells", [1, 10**6])
def test_among_listed_candidates_the_rank_counts_these_alone(histories, candidates, monkeypatch, cells):
    """Each case against a plain count; the truth runs whether it is listed or not, what is seen does not."""
    monkeypatch.setattr(topk, "CHUNK_CELLS", cells)
    monkeypatch.setattr(topk, "LEAST_USERS", 3)
    rng = np.random.default_rng(4)
    truth = np.array([np.setdiff1d(candidates, histories.items.take(np.array([u])).values)[0] for u in range(USERS)])
    cases = Cases(np.arange(USERS), histories.items.lengths, Ragged(truth, np.ones(USERS, np.int64)))
    table = rng.random((USERS, len(candidates)), dtype=np.float32)
    lists = [rng.choice(len(candidates), 5, replace=False).tolist() for _ in range(USERS)]
    lists[0] = [int(np.searchsorted(candidates, truth[0]))]
    found = topk.ranked(
        scorer_with(table.copy()), histories, cases, candidates, True, k=3, among=topk.Listed(Ragged.of(lists))
    )
    whole = topk.ranked(scorer_with(table.copy()), histories, cases, candidates, True, k=3)
    for user, listed in enumerate(lists):
        seen = histories.items.take(np.array([user])).values
        own = table[user, np.searchsorted(candidates, truth[user])]
        better = [place for place in listed if candidates[place] not in seen and table[user, place] > own]
        assert found.rank[user] == 1 + len(better)
    assert found.lists.tolist() == whole.lists.tolist(), "the lists are those of the whole catalogue"
    assert found.rank[0] == 1 and (found.rank < whole.rank).any()


@pytest.mark.parametrize("among", [None, topk.Sampled(5, 3)])
@pytest.mark.parametrize(("least", "processes"), [(2, 3), (4, 2), (32, 2)])
def test_processes_that_share_the_cases_rank_them_as_one_does(
    histories, candidates, among, least, processes, monkeypatch
):
    monkeypatch.setattr(topk, "CHUNK_CELLS", 1)
    monkeypatch.setattr(topk, "LEAST_USERS", least)
    weights = np.random.default_rng(2).standard_normal((ITEMS, len(candidates))).astype(np.float32)

    def score(given: Ragged, tags: Ragged) -> torch.Tensor:
        return torch.from_numpy(purchases(given, np.arange(ITEMS), ITEMS) @ weights)

    truth = Ragged(np.random.default_rng(1).choice(candidates, USERS), np.ones(USERS, int))
    cases = Cases(np.arange(USERS), histories.items.lengths // 2, truth)
    alone = topk.ranked(score, histories, cases, candidates, True, 4, among)
    sent, ranked = [], []

    def gather(own: list[topk.Ranks]) -> list[list[topk.Ranks]]:
        sent.append(own)
        return sent[::-1] if distributed.leads() else []

    monkeypatch.setattr(distributed, "gather", gather)
    for rank in reversed(range(processes)):  # the leader is the last
        monkeypatch.setattr(distributed, "_team", distributed._Team(rank, processes))
        together = topk.ranked(score, histories, cases, candidates, True, 4, among, ranked.append, shared=True)
    assert sum(part.cases for own in sent for part in own) == USERS, "nobody twice"
    for name in ("case", "rank", "lists"):
        assert (getattr(together, name) == getattr(alone, name)).all(), name
    assert together.cases == USERS
    assert sum(ranked) == USERS * processes, "each counts all as done"
