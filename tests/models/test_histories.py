from __future__ import annotations

import numpy as np
import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.models.dataset import Dataset
from crossrec_cli.models.histories import Cases, load_histories
from crossrec_cli.models.ragged import Ragged
from crossrec_cli.ranking.history_updates import with_events


def lists(of: Ragged) -> list[list[int]]:
    return [part.tolist() for part in np.split(of.values, np.cumsum(of.lengths)[:-1])]


def test_histories_are_read_with_their_weights():
    interactions = pa.table(
        {
            c.USER_INDEX: pa.array([0, 0, 2, 2, 2], pa.int32()),
            c.ITEM_INDEX: pa.array([1, 0, 2, 1, 0], pa.int32()),
            c.WEIGHT: pa.array([0.5, 3, 1, 20, 0.25], pa.float32()),
            c.SPLIT: [c.TRAIN, c.VALID, c.TRAIN, c.TRAIN, c.HELD_OUT],
        }
    )
    items = pa.table({c.DOMAIN: [c.SOURCE, c.TARGET, c.TARGET]})
    users = pa.table({c.TAGS: pa.array([[], ["a"], []], pa.list_(pa.string()))})
    histories = load_histories(interactions, items, users, ["a"])
    assert lists(histories.items) == [[1, 0], [], [2, 1, 0]]
    assert histories.items.weights.dtype == np.float32
    assert histories.items.weights.tolist() == [0.5, 3, 1, 20, 0.25]
    assert lists(histories.training) == [[1], [], [2, 1]]
    assert histories.training.weights.tolist() == [0.5, 1, 20]
    assert histories.item_stats.popularity.tolist() == [0, 2, 1]
    validated = load_histories(interactions, items, users, ["a"], validated=True)
    assert lists(validated.training) == [[1, 0], [], [2, 1]]
    assert validated.item_stats.popularity.tolist() == [1, 2, 1]


def scattered() -> Dataset:
    """Two users whose training is not the beginning of their histories: items 0 and 2 are target, 1 is source."""
    interactions = pa.table(
        {
            c.USER_INDEX: pa.array([0, 0, 0, 0, 1, 1], pa.int32()),
            c.ITEM_INDEX: pa.array([1, 0, 2, 1, 2, 0], pa.int32()),
            c.WEIGHT: pa.array([1, 2, 3, 4, 5, 6], pa.float32()),
            c.SPLIT: [c.TRAIN, c.HELD_OUT, c.TRAIN, c.TRAIN, c.VALID, c.TRAIN],
        }
    )
    items = pa.table({c.ITEM_ID: ["a", "b", "c"], c.DOMAIN: [c.TARGET, c.SOURCE, c.TARGET]})
    users = pa.table({c.USER_ID: ["ann", "bob"], c.TAGS: pa.array([[], []], pa.list_(pa.string()))})
    return Dataset(items, users, load_histories(interactions, items, users, []))


def test_what_trains_may_stand_anywhere_in_a_history():
    histories = scattered().histories
    assert histories.train_lengths.tolist() == [1, 0]
    assert lists(histories.training) == [[1, 2, 1], [0]]
    assert histories.training.weights.tolist() == [1, 3, 4, 6]
    assert histories.item_stats.popularity.tolist() == [1, 2, 1]
    assert lists(histories.source_training) == [[1, 1], []]
    target = histories.of_target()
    assert lists(target.items) == [[0, 2], [2, 0]]
    assert lists(target.training) == [[2], [0]]
    cases = histories.in_target(Cases(np.array([0]), np.array([3]), Ragged.of([[0]])))
    assert cases.history_lengths.tolist() == [2]


def test_events_behind_such_a_history_train_nothing():
    events = pa.table({c.USER_ID: ["bob", "eve", "ann"], c.ITEM_ID: ["b", "a", "c"], c.WEIGHT: [1.0, 1.0, 1.0]})
    dataset, unknown = with_events(scattered(), events)
    assert unknown == 0
    assert lists(dataset.histories.items) == [[1, 0, 2, 1, 2], [2, 0, 1], [0]]
    assert lists(dataset.histories.training) == [[1, 2, 1], [0], []]
