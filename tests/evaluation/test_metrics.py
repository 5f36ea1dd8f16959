from __future__ import annotations

import ir_measures
import numpy as np
import pytest

from crossrec_cli.evaluation import metrics
from crossrec_cli.ranking.topk import Ranks


def ranks(*cases: list[float]) -> Ranks:
    case = np.repeat(np.arange(len(cases)), [len(x) for x in cases])
    flat = np.concatenate([np.array(x, dtype=float) for x in cases])
    return Ranks(case, flat, len(cases), np.empty((len(cases), 0), np.int64))


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


def test_every_metric_is_what_ir_measures_says():
    """An independent library, on random lists among 60 items of which 1 to 7 are true."""
    rng = np.random.default_rng(1)
    lists = rng.permuted(np.tile(np.arange(60), (150, 1)), axis=1)
    wanted = [rng.choice(60, rng.integers(1, 8), replace=False) for _ in lists]
    found = metrics.per_case(
        ranks(*[(1 + np.flatnonzero(np.isin(row, t))).tolist() for row, t in zip(lists, wanted, strict=True)]), [3, 10]
    )
    truth = [ir_measures.Qrel(str(q), str(item), 1) for q, items in enumerate(wanted) for item in items]
    run = [
        ir_measures.ScoredDoc(str(q), str(item), -place)
        for q, row in enumerate(lists)
        for place, item in enumerate(row)
    ]
    names = {
        "hr": ir_measures.Success,
        "recall": ir_measures.R,
        "precision": ir_measures.P,
        "ndcg": ir_measures.nDCG,
        "mrr": ir_measures.RR,
        "map": ir_measures.AP,
    }
    for metric, theirs in names.items():
        for k in (10,) if metric == "map" else (3, 10):  # with more true items than places theirs cannot reach 1
            expected = np.zeros(len(lists))
            for value in ir_measures.iter_calc([theirs @ k], truth, run):
                expected[int(value.query_id)] = value.value
            np.testing.assert_allclose(found[f"{metric}@{k}"], expected, atol=1e-9, err_msg=f"{metric}@{k}")
