"""The linear scorer is EASE with texts, by one decomposition for every λ."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from crossrec_cli.artifacts import columns as c
from crossrec_cli.models import linear
from crossrec_cli.models.base import NewItems, TrainedTexts, TrainingData
from crossrec_cli.models.histories import Histories, ItemStats
from crossrec_cli.models.ragged import Ragged
from crossrec_cli.models.vectors import products

USERS, ITEMS, COLD = 80, 30, 20
TARGET = np.arange(ITEMS // 2, ITEMS)


@pytest.fixture(params=[USERS, 12], ids=["more users than items", "fewer"])
def data(request: pytest.FixtureRequest) -> TrainingData:
    """Nobody bought one target item; its text is that of another."""
    rng, users = np.random.default_rng(0), request.param
    bought = Ragged.of([np.unique(rng.integers(0, ITEMS, rng.integers(4, 12))).tolist() for _ in range(users)])
    bought = bought.where(bought.values != COLD)
    item_stats = ItemStats(np.arange(ITEMS) >= TARGET[0], np.bincount(bought.values, minlength=ITEMS))
    embeddings = rng.normal(size=(ITEMS, 12)).astype(np.float32)
    embeddings[COLD] = embeddings[25]
    items = pa.table({c.TEXT: ["a text"] * ITEMS, c.DOMAIN: np.where(item_stats.is_target, c.TARGET, c.SOURCE)})
    return TrainingData(Histories(bought, bought.lengths, Ragged.of([[]] * users), item_stats), items, embeddings)


def closed_form(data: TrainingData, l2: float) -> tuple[np.ndarray, np.ndarray]:
    """Who bought what, as much as it counts, and EASE's weights by the paper's formula."""
    counts = np.where(data.is_target, 1.0, linear.SOURCE_WEIGHT)
    bought = np.zeros((data.histories.users, ITEMS))
    bought[data.histories.items.rows, data.histories.items.values] = 1
    bought, texts = bought * counts, data.texts * counts[:, None]
    inverse = np.linalg.inv(bought.T @ bought + linear.TEXT_WEIGHT * texts @ texts.T + l2 * np.eye(ITEMS))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return bought, weights


@pytest.mark.parametrize(("l2", "together"), [(10.0, 7), (300.0, linear.TOGETHER)])
def test_it_scores_as_ease_does_what_a_user_does_not_have(data, l2, together, monkeypatch):
    """Each user's scores are EASE's times one number of the user's own, which orders nothing."""
    monkeypatch.setattr(linear, "TOGETHER", together)
    scorer = linear.decompose(data, 7).scorer(l2)
    bought, weights = closed_form(data, l2)
    (feature,) = scorer.features
    found = products(feature.user_vectors(data.histories.items, data.histories.tags), scorer.item_vectors)
    expected, new = bought @ weights, bought == 0
    ratio = (found * expected * new).sum(axis=1, keepdims=True) / (expected**2 * new).sum(axis=1, keepdims=True)
    assert (ratio > 0).all()
    np.testing.assert_allclose(found * new, ratio * expected * new, atol=1e-3 * np.abs(found * new).max())


def test_the_largest_singular_values_are_kept(data, monkeypatch):
    whole = linear.decompose(data, 7)
    monkeypatch.setattr(linear, "RANK", 14)
    narrow = linear.decompose(data, 7)
    assert len(narrow.values) < len(whole.values)
    np.testing.assert_allclose(narrow.values, whole.values[: len(narrow.values)], rtol=0.02)


def test_an_item_that_comes_later_stands_where_one_of_its_text_stands_that_nobody_bought(data):
    scorer = linear.decompose(data, 7).scorer(100.0)
    new = NewItems(data.items.take([COLD]), data.texts[[COLD]], TrainedTexts(data.texts, data.is_target))
    np.testing.assert_allclose(linear.new_vectors(scorer, new)[0], scorer.item_vectors[COLD], atol=1e-5)
    assert scorer.item_vectors[COLD].any()


def test_the_same_seed_gives_the_same_vectors(data):
    one, other = (linear.decompose(data, 7).scorer(100.0).item_vectors for _ in range(2))
    np.testing.assert_array_equal(one, other)
