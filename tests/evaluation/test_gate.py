from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from facts import fails

from crossrec_cli.artifacts.files import CASES
from crossrec_cli.errors import InputError
from crossrec_cli.evaluation.gate import AgainstEarlier, Comparison

RNG = np.random.default_rng(0)
BEFORE = RNG.random(400) * (RNG.random(400) < 0.3)


def scores(values: np.ndarray, users: range = range(400), measure: str = "ndcg@10") -> pa.Table:
    """One run's per-user table, in an order of its own."""
    order = RNG.permutation(len(values))
    rows = {"user_id": [f"u{users[i]}" for i in order], measure: values[order]}
    ours = pa.table({"model": ["crossrec"] * len(values), **rows})
    return pa.concat_tables([ours, pa.table({"model": ["popularity"] * len(values), **rows, measure: values * 0})])


@pytest.mark.parametrize(("share", "tolerance", "lost"), [(0.5, 0.05, True), (0.5, 0.6, False), (0.99, 0.05, False)])
def test_a_loss_counts_where_it_is_larger_than_chance_and_tolerance(share, tolerance, lost):
    found = Comparison.of(scores(BEFORE * share), scores(BEFORE), "ndcg@10", tolerance)
    assert found.lost is lost
    assert found.difference.mean == pytest.approx((share - 1) * BEFORE.mean())
    assert (found.ours, found.theirs) == pytest.approx((share * BEFORE.mean(), BEFORE.mean()))
    assert not Comparison.of(scores(BEFORE), scores(BEFORE * share), "ndcg@10", tolerance).lost, "a gain is no loss"


def test_equally_good_rankings_for_others_users_are_no_loss():
    for seed in range(20):
        other = np.random.default_rng(seed).permutation(BEFORE)
        assert not Comparison.of(scores(other), scores(BEFORE), "ndcg@10", 0.05).lost


def with_nan(values: np.ndarray, *users: int) -> np.ndarray:
    """The same without a figure for some users."""
    return np.where(np.isin(np.arange(len(values)), users), np.nan, values)


@pytest.mark.parametrize(("ours", "theirs", "unpaired"), [([3], [3], 0), ([3], [], 1), ([], [3, 7], 2), ([3], [7], 2)])
def test_a_user_without_a_figure_hides_no_loss(ours, theirs, unpaired):
    found = Comparison.of(
        scores(with_nan(np.zeros(400), *ours)), scores(with_nan(np.ones(400), *theirs)), "ndcg@10", 0.05
    )
    assert found.lost
    assert (found.ours, found.theirs, found.difference.mean) == (0, 1, -1)
    assert found.difference.users == 400 - len({*ours, *theirs})
    assert found.unpaired == unpaired


def test_runs_without_a_figure_for_the_same_user_cannot_be_compared():
    with fails(InputError, "--against", "ndcg@10"):
        Comparison.of(scores(np.full(9, np.nan), range(9)), scores(np.ones(9), range(9)), "ndcg@10", 0.05)


def test_users_of_both_runs_are_compared():
    found = Comparison.of(scores(BEFORE[:300], range(300)), scores(BEFORE[100:], range(100, 400)), "ndcg@10", 0.0)
    assert found.difference.users == 200
    assert found.difference.mean == 0
    with fails(InputError, "--against"):
        Comparison.of(scores(BEFORE[:9], range(9)), scores(BEFORE[:9], range(9, 18)), "ndcg@10", 0.0)
    with fails(InputError, "ndcg@5", "evaluate.k"):
        Comparison.of(scores(BEFORE, measure="ndcg@5"), scores(BEFORE), "ndcg@5", 0.0)


@pytest.fixture
def evaluation(tmp_path):
    """An evaluation of nine users with these figures."""

    def made(name: str, figures: list[float], test: str = "a") -> SimpleNamespace:
        path = tmp_path / f"{name}.parquet"
        users = [f"u{i}" for i in range(len(figures))]
        pq.write_table(pa.table({"model": ["crossrec"] * len(figures), "user_id": users, "ndcg@10": figures}), path)
        return SimpleNamespace(manifest=SimpleNamespace(id=name, inputs={CASES: test}), file=lambda _: path)

    return made


def test_a_figure_that_one_run_lacks_on_the_same_test_is_an_error_and_else_counted(evaluation, tmp_path):
    whole, one_less = evaluation("whole", [0.5] * 9), evaluation("less", [float("nan"), *[0.5] * 8])
    with fails(InputError, "1 of 9", "ndcg@10"):
        AgainstEarlier.of(one_less, whole, tmp_path, 0.05)
    newer = evaluation("newer", [float("nan"), *[0.5] * 8], test="b")
    found = AgainstEarlier.of(newer, whole, tmp_path, 0.05)
    change = found.comparison.difference
    assert (found.comparison.unpaired, change.users, change.mean, found.same_test) == (1, 8, 0, False)


def test_an_evaluation_beside_itself_is_the_same_one(evaluation, tmp_path):
    whole = evaluation("whole", [0.1, float("nan"), 0.9])
    found = AgainstEarlier.of(whole, whole, tmp_path, 0.05)
    change = found.comparison.difference
    assert (found.same_evaluation, change.mean, change.users, found.comparison.unpaired) == (True, 0, 2, 0)
