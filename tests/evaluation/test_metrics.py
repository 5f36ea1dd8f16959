from __future__ import annotations

import numpy as np
import pytest

from crossrec_cli.evaluation import metrics
from crossrec_cli.ranking.topk import Ranks


def ranks(*cases: list[float]) -> Ranks:
    case = np.repeat(np.arange(len(cases)), [len(x) for x in cases])
    return Ranks(case, np.concatenate([np.array(x, dtype=float) for x in cases]), len(cases))


def test_one_true_item():
    found = metrics.per_case(ranks([1], [3], [11]), [1, 10])
    assert found["hr@1"].tolist() == [1, 0, 0]
    assert found["hr@10"].tolist() == [1, 1, 0]
    assert found["recall@10"].tolist() == [1, 1, 0]
    np.testing.assert_allclose(found["ndcg@10"], [1, 0.5, 0])
    np.testing.assert_allclose(found["mrr@10"], [1, 1 / 3, 0])


def test_several_true_items_by_hand():
    found = metrics.per_case(ranks([2, 4, 20]), [3, 5])
    assert found["recall@5"][0] == pytest.approx(2 / 3)
    assert found["hr@3"][0] == 1
    assert found["mrr@3"][0] == pytest.approx(1 / 2)
    ideal = 1 + 1 / np.log2(3) + 1 / 2
    assert found["ndcg@5"][0] == pytest.approx((1 / np.log2(3) + 1 / np.log2(5)) / ideal)


def test_more_true_items_than_places_can_still_be_perfect():
    assert metrics.per_case(ranks([1, 2, 3]), [2])["ndcg@2"][0] == pytest.approx(1)


def test_a_tie_across_the_border_counts_by_its_middle():
    found = metrics.per_case(ranks([10.5], [9.5]), [10])
    assert found["hr@10"].tolist() == [0, 1]


def test_a_case_with_nothing_to_find_counts_in_no_mean():
    found = metrics.per_case(ranks([1], []), [5])
    assert np.isnan(found["hr@5"][1])
    assert metrics.mean(found["hr@5"]) == 1
    assert metrics.mean(np.array([np.nan])) == 0


def test_against_a_plain_loop():
    rng = np.random.default_rng(0)
    cases = [sorted(rng.choice(np.arange(1, 60), rng.integers(1, 8), replace=False).tolist()) for _ in range(200)]
    found = metrics.per_case(ranks(*cases), [5, 20])
    for k in (5, 20):
        for index, case in enumerate(cases):
            hits = [rank for rank in case if rank <= k]
            ideal = sum(1 / np.log2(1 + place) for place in range(1, min(len(case), k) + 1))
            assert found[f"hr@{k}"][index] == bool(hits)
            assert found[f"recall@{k}"][index] == pytest.approx(len(hits) / len(case))
            assert found[f"ndcg@{k}"][index] == pytest.approx(sum(1 / np.log2(1 + r) for r in hits) / ideal)
            assert found[f"mrr@{k}"][index] == pytest.approx(1 / hits[0] if hits else 0)
