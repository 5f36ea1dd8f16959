"""How much of the scores the source says, in shops where one domain alone says what is wanted."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from crossrec_cli.artifacts import columns as c
from crossrec_cli.evaluation.source_share import source_share_rows, strongest, telling_categories
from crossrec_cli.models.base import HistoryFeature, Scorer
from crossrec_cli.models.dataset import Dataset
from crossrec_cli.models.fused import FusedModel
from crossrec_cli.models.fusion import KNOTS, Fusion
from crossrec_cli.models.histories import Cases, Histories, ItemStats
from crossrec_cli.models.ragged import Ragged
from crossrec_cli.models.vectors import unit_rows

CATEGORIES = ["Food > Snacks", "Food > Milk", "Care > Nutrition", "Care > Beauty"]
IS_TARGET = np.repeat([False, False, True, True], 3)
USERS = 60


def shares(telling: str, is_target: np.ndarray = IS_TARGET) -> list[dict]:
    """Of a shop where the texts of one category are like those of Nutrition, which is in everybody's list."""
    directions = np.eye(12, dtype=np.float32)
    directions[6:9] = directions[0]
    directions[[CATEGORIES.index(telling) * 3 + one for one in range(3)]] = directions[6]
    vectors = unit_rows(directions + 0.01)
    items = pa.table({c.CATEGORY: np.repeat(CATEGORIES, 3)})
    lists = [[0, 3, 10], [1, 4], [2, 5, 9, 11]]  # of both parts of the source, and Beauty
    histories = Ragged.of([lists[user % 3] if telling != "none" else [] for user in range(USERS)])
    feature = HistoryFeature("text", vectors, is_target)
    fusion = Fusion(("text",), np.ones((len(KNOTS), 1), np.float32), np.zeros(len(KNOTS), np.float32), np.ones(1, "f4"))
    model = FusedModel([Scorer("text", vectors, [feature])], fusion, is_target, None)
    everybody = np.arange(USERS)
    no_tags, stats = Ragged.of([[]] * USERS), ItemStats(is_target, np.ones(12, np.int64))
    data = Dataset(items, None, Histories(histories, histories.lengths, no_tags, stats))
    cases = Cases(everybody, histories.lengths, Ragged.of([[6]] * USERS))
    return source_share_rows(model, data, cases, np.tile([0, 1, 2, -1], (USERS, 1)), seed=0)


@pytest.mark.parametrize(("telling", "least", "most"), [("Food > Snacks", 0.9, 1), ("Care > Beauty", 0, 0.3)])
def test_the_share_is_near_one_where_the_source_alone_tells_and_low_where_the_target_does(telling, least, most):
    rows = shares(telling)
    everybody = next(row for row in rows if row[c.SEGMENT] == "all" and row[c.CATEGORY] is None)
    with_target = next(row for row in rows if row[c.SEGMENT] == "target history 1-2")
    assert least <= with_target[c.SHARE] <= most
    assert with_target[c.LOW] <= with_target[c.SHARE] <= with_target[c.HIGH]
    assert everybody[c.N] == USERS
    only_source = next(row for row in rows if row[c.SEGMENT] == "target history 0")
    assert (only_source[c.SHARE], only_source[c.N]) == (pytest.approx(1), USERS // 3)


def test_the_planted_pair_leads_and_the_pairs_of_a_category_come_to_its_share():
    pairs = {(row[c.SOURCE_CATEGORY], row[c.CATEGORY]): row for row in shares("Food > Snacks") if row[c.CATEGORY]}
    assert next(iter(pairs)) == ("Snacks", "Nutrition"), "the list has Nutrition alone"
    assert set(pairs) == {("Snacks", "Nutrition"), ("Milk", "Nutrition")}
    assert pairs["Snacks", "Nutrition"][c.SHARE] > 0.8
    assert pairs["Milk", "Nutrition"][c.SHARE] < 0.1
    assert sum(row[c.SHARE] for row in pairs.values()) < 1
    assert pairs["Snacks", "Nutrition"][c.N] == 3 * USERS


def test_a_pair_whose_category_is_hardly_listed_does_not_lead_others():
    rare, common = {c.SHARE: 0.5, c.N: 2}, {c.SHARE: 0.1, c.N: 500}
    assert strongest([rare, common]) == [common]
    assert strongest([rare]) == [rare]


def test_a_shop_without_a_source_has_no_rows():
    assert shares("Food > Snacks", np.ones(12, bool)) == []


def test_categories_are_those_of_the_first_level_at_which_they_differ():
    paths = ["A > B > C", "A > B > D > E", "A > B > D", None, "A", "X > Y"]
    chosen = np.array([True, True, True, True, False, False])
    names, number = telling_categories(pa.table({c.CATEGORY: paths}), chosen)
    assert (names, number.tolist()) == (["C", "D"], [0, 1, 1, -1, -1, -1])
    names, number = telling_categories(
        pa.table({c.CATEGORY: paths}), np.array([False, False, False, False, True, True])
    )
    assert (names, number.tolist()) == (["A", "X"], [-1, -1, -1, -1, 0, 1])
    assert telling_categories(pa.table({c.CATEGORY: pa.nulls(6, pa.string())}), chosen)[0] == []


def test_evaluate_leaves_them_as_a_file_in_its_summary_and_on_the_page(quick):
    """The source's records and the target's books are a category each."""
    table = quick.table("evaluate", "source_share").astype(object)
    of_segments, pairs = table[table["category"].isna()], table[table["category"].notna()]
    assert of_segments.set_index("segment").loc["target history 0", "share"] == pytest.approx(1)
    assert pairs[["source_category", "category"]].values.tolist() == [["record", "book"]]
    assert 0 < pairs["share"].item() <= 1
    summary = json.loads((quick.run_dir / "evaluate/current/manifest.json").read_text())["summary"]
    assert summary["source_share"] == of_segments.set_index("segment").loc["all", "share"]
    assert summary["source_pairs"][0]["share"] == pairs["share"].item()
    assert "record → book" in (quick.run_dir / "report.html").read_text()
