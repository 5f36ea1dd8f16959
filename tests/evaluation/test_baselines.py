from __future__ import annotations

import numpy as np
import pytest

from crossrec_cli.evaluation.baselines import ease_scorer, text_scorer
from crossrec_cli.interest.batches import Domain, Histories, Ragged

NOBODY = Ragged.of([[]] * 3)


def histories(users: int, items: int, seed: int = 0) -> Histories:
    """Random purchases of which the last of each user is held out; some items are bought twice."""
    rng = np.random.default_rng(seed)
    bought = Ragged.of([rng.integers(0, items, rng.integers(2, 9)).tolist() for _ in range(users)])
    domain = Domain(np.arange(items) < items // 2, np.ones(items, bool))
    return Histories(bought, bought.lengths - 1, Ragged.of([[]] * users), domain)


@pytest.mark.parametrize(("users", "items"), [(15, 40), (60, 12)])
def test_ease_is_the_closed_form_of_the_paper(users, items):
    world = histories(users, items)
    matrix = np.zeros((users, items))
    matrix[world.training.rows, world.training.values] = 1
    inverse = np.linalg.inv(matrix.T @ matrix + 7 * np.eye(items))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    candidates = np.arange(0, items // 2)
    given = Ragged.of([[0, 3, 5], [], [items - 1, 1]])
    asked = np.zeros((3, items))
    asked[given.rows, given.values] = 1
    scores = ease_scorer(world, candidates, np.ones(items, bool), l2=7)(given, NOBODY)
    np.testing.assert_allclose(scores, (asked @ weights)[:, candidates], atol=1e-5)


def test_ease_within_the_target_knows_the_target_alone():
    world = histories(60, 20)
    within = np.arange(20) < 10
    scorer = ease_scorer(world, np.array([2, 4, 15]), within, l2=5)
    scores = scorer(Ragged.of([[0, 3, 17], [0, 3], [18]]), NOBODY)
    assert scores[0].tolist() == scores[1].tolist()
    assert scores[0].abs().max() > 0
    assert scores[:, 2].tolist() == [0, 0, 0], "an item that it does not know"
    assert scores[2].tolist() == [0, 0, 0]


def test_text_scorer_is_the_cosine_to_the_mean_text():
    embeddings = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    scores = text_scorer(embeddings, np.array([1, 4]))(Ragged.of([[0, 2], [], [3]]), NOBODY)
    mean = (unit[0] + unit[2]) / 2
    np.testing.assert_allclose(scores[0], unit[[1, 4]] @ mean / np.linalg.norm(mean), atol=1e-6)
    assert scores[1].tolist() == [0, 0]
    np.testing.assert_allclose(scores[2], unit[[1, 4]] @ unit[3], atol=1e-6)
