from __future__ import annotations

from dataclasses import replace

import numpy as np
import shops

from crossrec_cli.evaluation.baselines import BaselineInputs
from crossrec_cli.evaluation.compared import _without_duplicates
from crossrec_cli.evaluation.measured import _source_cases
from crossrec_cli.evaluation.ranked_cases import sample_cases
from crossrec_cli.models.base import TrainingData
from crossrec_cli.models.dataset import Dataset
from crossrec_cli.models.histories import Cases, Histories, ItemStats
from crossrec_cli.models.ragged import Ragged


def test_a_baseline_that_is_another_one_on_these_data_is_left_out():
    data, valid, _ = shops.shop("text", users=20)
    names = ["popularity", "tag_popularity", "ease_target", "ease"]

    def different(data: TrainingData) -> list[str]:
        return _without_duplicates(names, BaselineInputs(data, data, np.flatnonzero(data.is_target), valid, True, 0))

    assert different(data) == ["popularity", "ease_target", "ease"], "nobody has a tag"
    tagged = replace(data, histories=replace(data.histories, tags=Ragged.of([[0]] * 20)))
    assert different(tagged) == names


def test_so_many_cases_are_drawn_alike_each_time_and_others_by_another_seed():
    cases = Cases(np.arange(50) * 2, np.arange(50), Ragged.of([[number, number + 1] for number in range(50)]))
    assert sample_cases(cases, None, 0) is cases
    assert sample_cases(cases, 50, 0) is cases
    some, again, others = (sample_cases(cases, 20, seed) for seed in (0, 0, 1))
    assert some.count == 20
    assert (np.diff(some.users) > 0).all()
    assert some.users.tolist() == again.users.tolist() != others.users.tolist()
    assert some.history_lengths.tolist() == (some.users // 2).tolist()
    assert some.truth.values[::2].tolist() == (some.users // 2).tolist()


def test_what_trains_is_not_asked_of_the_source_though_it_comes_later():
    bought, trains = Ragged.of([[0, 1, 2, 0, 1], [1, 0]]), np.array([1, 0, 0, 1, 1, 1, 0], bool)
    domain = ItemStats(np.array([False, False, True, True]), np.ones(4, int))
    histories = Histories(bought, np.array([1, 1]), Ragged.of([[], []]), domain, trains)
    cases, candidates = _source_cases(Dataset(None, None, histories), 0)
    assert candidates.tolist() == [0, 1]
    assert cases.users.tolist() == [0, 1]
    assert cases.history_lengths.tolist() == [1, 1]
    assert (cases.truth.values.tolist(), cases.truth.lengths.tolist()) == ([1, 0], [1, 1])
