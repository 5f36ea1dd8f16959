from __future__ import annotations

import numpy as np
import pytest

from crossrec_cli.models.neural.sampler import Candidates, Sampler
from crossrec_cli.models.ragged import Ragged


def weighted(of: Ragged) -> Ragged:
    """Each value weighs a tenth more than itself, so that a weight tells whose it is."""
    return Ragged(of.values, of.lengths, of.values.astype(np.float32) + np.float32(0.1))


def lists(of: Ragged) -> list[list[int]]:
    return [part.tolist() for part in np.split(of.values, np.cumsum(of.lengths)[:-1])]


@pytest.fixture
def sampler() -> Sampler:
    predict = np.array([False, True] * 5)  # odd items
    histories = Ragged.of([[1, 2, 3, 4], [2, 4, 6], list(range(10)), [9]])
    return Sampler(histories, Ragged.of([[]] * 4), (predict,), batch_size=2, window=3)


def test_an_epoch_is_every_user_with_something_to_ask_for_once(sampler):
    batches = list(sampler.epoch(np.random.default_rng(0)))
    assert [len(batch) for batch in batches] == [2, 1]
    assert sorted(np.concatenate(batches)) == [0, 2, 3]
    assert sampler.steps == 2


def test_halves_share_nothing_and_ask_for_predictable_items_alone(sampler):
    users = np.array([2, 0])
    asked_for, given_items = set(), set()
    for seed in range(50):
        halves = sampler.set_examples(users, np.random.default_rng(seed))
        given = lists(halves.given)
        for row, item in zip(halves.rows.tolist(), halves.items.tolist(), strict=True):
            assert item not in given[row]
            assert item % 2 == 1
            asked_for.add((row, item))
        given_items |= {(row, item) for row, items in enumerate(given) for item in items}
    assert asked_for == {(0, i) for i in (1, 3, 5, 7, 9)} | {(1, 1), (1, 3)}
    assert len(given_items) == 14, "sooner or later everything is given"


def test_of_some_users_nothing_is_given(sampler):
    long = Sampler(Ragged.of([list(range(10))] * 2000), Ragged.of([[]] * 2000), sampler.domains, 2000, window=3)
    halves = long.set_examples(np.arange(2000), np.random.default_rng(0))
    assert 0.08 < (halves.given.lengths == 0).mean() < 0.12
    asked = np.bincount(halves.rows.numpy(), minlength=2000)
    assert (asked[halves.given.lengths == 0] == 5).all(), "then everything is asked for"


def test_windows_are_consecutive_and_end_in_something_to_ask_for(sampler):
    ends = set()
    for seed in range(50):
        nexts = sampler.next_examples(np.array([2]), np.random.default_rng(seed))
        before, window = nexts.before.values.tolist(), nexts.window[0].tolist()
        assert before + window == list(range(len(before) + 3))
        assert nexts.predicted[0].tolist() == [item % 2 == 1 for item in window]
        ends.add(window[-1])
    assert ends == {2, 3, 5, 7, 9}, "an end before the window is full becomes the first full window"


def test_a_short_history_is_one_window(sampler):
    nexts = sampler.next_examples(np.array([3, 0]), np.random.default_rng(0))
    assert nexts.window[0].tolist() == [9, 0, 0]
    assert nexts.predicted[0].tolist() == [True, False, False]
    assert nexts.before.lengths[0] == 0


def test_examples_carry_the_weights_of_their_items(sampler):
    heavy = Sampler(weighted(sampler.histories), sampler.tags, sampler.domains, batch_size=3, window=3)
    users = np.array([2, 3, 0])
    for seed in range(20):
        halves = heavy.set_examples(users, np.random.default_rng(seed))
        np.testing.assert_array_equal(halves.given.weights, weighted(halves.given).weights)
        np.testing.assert_array_equal(halves.weights, halves.items.numpy().astype(np.float32) + np.float32(0.1))
        nexts = heavy.next_examples(users, np.random.default_rng(seed))
        np.testing.assert_array_equal(nexts.before.weights, weighted(nexts.before).weights)
        filled = np.arange(3) < np.array([[3], [1], [3]])
        own = nexts.window.astype(np.float32) + np.float32(0.1)
        np.testing.assert_array_equal(nexts.weights, np.where(filled, own, 0))


def test_every_item_is_a_candidate_where_they_are_few(sampler):
    found = Candidates.sampled(sampler.predict, np.array([3]), 5, np.random.default_rng(0))
    assert found.items.tolist() == [1, 3, 5, 7, 9]
    assert found.shift is None


def test_sampled_candidates_stand_for_the_whole_catalogue():
    """Over many draws, the sum that a softmax divides by is that over all items, and what is asked for counts once."""
    domain = np.arange(300) < 200
    scores = np.random.default_rng(1).normal(size=300)
    asked = np.array([5, 150, 5, 7])
    sums = []
    for seed in range(4000):
        found = Candidates.sampled(domain, asked, 40, np.random.default_rng(seed))
        assert found.items[:3].tolist() == [5, 7, 150]
        assert found.shift[:3].tolist() == [0, 0, 0]
        assert found.n_positives == 3
        assert len(found.items) == 40
        assert not np.isin(found.items[3:], asked).any()
        assert domain[found.items].all()
        sums.append(np.exp(scores[found.items] + found.shift).sum())
    assert np.mean(sums) == pytest.approx(np.exp(scores[:200]).sum(), rel=0.01)


def test_some_are_drawn_however_many_are_asked_for():
    domain = np.ones(100, bool)
    found = Candidates.sampled(domain, np.arange(60), 40, np.random.default_rng(0))
    assert len(found.items) == 70
    found = Candidates.sampled(domain, np.arange(100), 40, np.random.default_rng(0))
    assert found.items.tolist() == list(range(100)), "of no others, none"


def test_users_of_like_length_share_a_batch():
    lengths = np.random.default_rng(0).integers(1, 40, 500)
    histories = Ragged(np.zeros(lengths.sum(), np.int64), lengths)
    sampler = Sampler(histories, Ragged.of([[]] * 500), (np.array([True]),), batch_size=10, window=30, by_length=True)
    epochs = [list(sampler.epoch(np.random.default_rng(seed))) for seed in (0, 1)]
    for batches in epochs:
        assert sorted(np.concatenate(batches)) == list(range(500))
        assert len(batches) == sampler.steps
        assert np.mean([np.ptp(np.minimum(lengths[batch], 30)) for batch in batches]) < 3
    assert {frozenset(batch) for batch in epochs[0]} != {frozenset(batch) for batch in epochs[1]}
