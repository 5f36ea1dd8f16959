from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import shops
from facts import fails

from crossrec_cli.artifacts import columns as c
from crossrec_cli.errors import UnavailableError
from crossrec_cli.evaluation import baselines, ease
from crossrec_cli.evaluation.baselines import (
    BASELINES,
    BaselineInputs,
    TooLargeError,
    ease_scorer,
    ials_scorer,
    knn_scorer,
    popularity_scorer,
    tag_popularity_scorer,
)
from crossrec_cli.evaluation.ease import Ease
from crossrec_cli.models.base import TrainingData
from crossrec_cli.models.fused import FusedModel
from crossrec_cli.models.histories import Cases, Histories, ItemStats
from crossrec_cli.models.ragged import Ragged
from crossrec_cli.models.scorers import SCORERS

NOBODY = Ragged.of([[]] * 3)


def histories(users: int, items: int, seed: int = 0) -> Histories:
    """Random purchases of which the last of each user is held out; some items are bought twice."""
    rng = np.random.default_rng(seed)
    bought = Ragged.of([rng.integers(0, items, rng.integers(2, 9)).tolist() for _ in range(users)])
    item_stats = ItemStats(np.arange(items) < items // 2, np.ones(items, int))
    return Histories(bought, bought.lengths - 1, Ragged.of([[]] * users), item_stats)


def shop(dataset: Histories, candidates: list[int]) -> BaselineInputs:
    items = len(dataset.item_stats.is_target)
    texts = pa.table({c.TEXT: [f"model{item // 3} in red" for item in range(items)]})
    nothing = Cases(np.empty(0, np.int64), np.empty(0, np.int64), Ragged.of([]))
    data = TrainingData(dataset, texts, np.eye(items, dtype=np.float32))
    return BaselineInputs(data, data, np.array(candidates), nothing, True, 0)


def bought(dataset: Histories) -> np.ndarray:
    """Who bought what in training, (users, items) of 0 and 1."""
    matrix = np.zeros((dataset.users, len(dataset.item_stats.is_target)))
    matrix[dataset.training.rows, dataset.training.values] = 1
    return matrix


def closed_form(matrix: np.ndarray, l2: float) -> np.ndarray:
    """EASE's weights by the paper's formula."""
    inverse = np.linalg.inv(matrix.T @ matrix + l2 * np.eye(matrix.shape[1]))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights


@pytest.mark.parametrize(("users", "items"), [(15, 40), (60, 12)])
def test_ease_is_the_closed_form_of_the_paper_for_every_l2_that_is_tried(users, items, monkeypatch):
    dataset = histories(users, items)
    candidates = list(range(items // 2))
    given = Ragged.of([[0, 3, 5], [], [items - 1, 1]])
    asked = np.zeros((3, items))
    asked[given.rows, given.values] = 1
    monkeypatch.setattr(ease, "CELLS", 2 * users)  # two histories at once
    of_setting = ease_scorer(shop(dataset, candidates), np.ones(items, bool))
    for l2 in (7, 0.5, 300):
        expected = (asked @ closed_form(bought(dataset), l2))[:, candidates]
        np.testing.assert_allclose(of_setting(l2)(given, NOBODY), expected, rtol=1e-4, atol=1e-6)


def test_ease_within_the_target_knows_the_target_alone():
    dataset = histories(60, 20)
    within = np.arange(20) < 10
    scorer = ease_scorer(shop(dataset, [2, 4, 15]), within)(5)
    scores = scorer(Ragged.of([[0, 3, 17], [0, 3], [18]]), NOBODY)
    assert scores[0].tolist() == scores[1].tolist()
    assert scores[0].abs().max() > 0
    assert scores[:, 2].tolist() == [0, 0, 0], "an item that it does not know"
    assert scores[2].tolist() == [0, 0, 0]


@pytest.mark.parametrize(("users", "items"), [(15, 40), (60, 12)])
def test_weighted_ease_counts_the_source_less_in_training_and_in_histories(users, items):
    dataset = histories(users, items)
    counts = np.where(dataset.item_stats.is_target, 1, 0.3)
    weights = closed_form(bought(dataset) * counts, 7)
    candidates = list(range(items // 2))
    asked = np.zeros((1, items))
    asked[0, [0, 3, items - 1]] = counts[[0, 3, items - 1]]
    scores = BASELINES["ease_weighted"].make(shop(dataset, candidates))(7)(Ragged.of([[0, 3, items - 1]]), NOBODY)
    np.testing.assert_allclose(scores, (asked @ weights)[:, candidates], atol=1e-5)


@pytest.mark.parametrize(("name", "knows"), [("text", "text"), ("text_knn", "words")])
def test_text_rivals_find_what_the_texts_tell(name, knows):
    """Their decay and weights are chosen on validation; without any they take those that are sensible."""
    data, valid, _ = shops.shop(knows)
    candidates = np.flatnonzero(data.is_target)
    for cases in (valid, valid.of(np.empty(0, np.int64))):
        dataset = BaselineInputs(data, data, candidates, cases, True, 0)
        given = data.histories.items.take(valid.users, valid.history_lengths)
        scores = BASELINES[name].make(dataset)(0)(given, Ragged.of([[]] * len(valid.users))).numpy()
        best = candidates[scores.argmax(axis=1)]
        same = best % shops.GROUPS == given.values[given.starts + given.lengths - 1] % shops.GROUPS
        assert same.mean() > 0.8


def test_rivals_of_the_same_scorers_share_them_with_each_other_and_with_crossrec(monkeypatch):
    """They are what each is alone: the same variants, decays and vectors."""
    data, valid, _ = shops.shop("words")
    names, candidates = ["text", "words", "neighbours", "linear"], np.flatnonzero(data.is_target)
    earlier = replace(data, histories=replace(data.histories, train_lengths=data.histories.train_lengths // 2))
    crossrec = FusedModel.fitted(names, earlier, valid, candidates, True, 0).refitted(data, 0)
    alone = BaselineInputs(data, earlier, candidates, valid, True, 0)
    shared = replace(alone, learned=crossrec.scorers)
    given = data.histories.items.take(valid.users, valid.history_lengths)
    expected = {
        name: BASELINES[name].make(replace(alone))(0)(given, Ragged.of([[]] * valid.count))
        for name in ("text", "words", "text_knn", "ease_text")
    }
    made = []
    for name in names:
        make = SCORERS[name]
        monkeypatch.setitem(SCORERS, name, lambda *of, make=make, name=name: made.append(name) or make(*of))
    for name, scores in expected.items():
        found = BASELINES[name].make(shared)(0)(given, Ragged.of([[]] * valid.count))
        assert (found == scores).all(), name
        assert found.std() > 0
    assert sorted(made) == sorted(names), "each once, from the data before validation"


def test_what_does_not_fit_in_memory_says_how_much_it_needs(monkeypatch):
    monkeypatch.setattr(baselines, "MAX_CELLS", 399)
    with pytest.raises(TooLargeError, match=r"\d GB"):
        ease_scorer(shop(histories(60, 20), [1]), np.ones(20, bool))
    ease_scorer(shop(histories(60, 19), [1]), np.ones(19, bool))


def test_what_would_take_minutes_to_solve_says_how_much_it_is(monkeypatch):
    monkeypatch.setattr(baselines, "MAX_WORK", 20**2 * (20 // 6 + 1) - 1)
    with pytest.raises(TooLargeError, match="billion"):
        ease_scorer(shop(histories(60, 20), [1]), np.ones(20, bool))
    ease_scorer(shop(histories(60, 19), [1]), np.ones(19, bool))


def test_popularity_counts_training_alone():
    dataset = histories(60, 12)
    scores = popularity_scorer(shop(dataset, [1, 3, 5]))(NOBODY, NOBODY)
    expected = np.bincount(dataset.training.values, minlength=12)[[1, 3, 5]]
    assert scores.tolist() == [expected.tolist()] * 3
    assert expected.tolist() != np.bincount(dataset.items.values, minlength=12)[[1, 3, 5]].tolist()


def test_popularity_within_tags_is_smoothed_by_everybodys():
    """Per tag, (buyers among its users + 10 × everybody's share) / (users + 10); the mean of a user's tags."""
    dataset = histories(60, 12)
    tags = Ragged.of([[user % 3] if user % 3 < 2 else [] for user in range(60)])
    scorer = tag_popularity_scorer(shop(replace(dataset, tags=tags), [1, 3, 5]))
    scores = scorer(NOBODY, Ragged.of([[0], [], [0, 1]])).numpy()
    wanted = bought(dataset)[:, [1, 3, 5]]
    share = np.bincount(dataset.training.values, minlength=12)[[1, 3, 5]] / 60
    within = [(wanted[tag::3].sum(axis=0) + 10 * share) / (20 + 10) for tag in range(2)]
    np.testing.assert_allclose(scores, [within[0], share, (within[0] + within[1]) / 2], rtol=1e-5)
    unknown = scorer(Ragged.of([[]]), Ragged.of([[7]])).numpy()
    np.testing.assert_allclose(unknown, [share], rtol=1e-5, err_msg="a tag of later says nothing")


def test_item_knn_adds_up_the_cosines_of_the_nearest():
    dataset = histories(60, 12)
    matrix = bought(dataset)
    norm = np.maximum(np.linalg.norm(matrix, axis=0), 1)
    cosine = matrix.T @ matrix / np.outer(norm, norm)
    np.fill_diagonal(cosine, 0)
    candidates = [1, 4, 7]
    given = Ragged.of([[0, 2, 4], [], [11]])
    asked = np.zeros((3, 12))
    asked[given.rows, given.values] = 1
    of_setting = knn_scorer(shop(dataset, candidates), most=6)
    for neighbours in (4, 6, 1):
        near = np.zeros((12, 3))
        for column, item in enumerate(candidates):
            best = np.argsort(-cosine[:, item], kind="stable")[:neighbours]
            near[best, column] = cosine[best, item]
        np.testing.assert_allclose(of_setting(neighbours)(given, NOBODY), asked @ near, atol=1e-5)


def test_ials_finds_the_half_of_the_shop_that_a_user_buys_in(monkeypatch):
    """Two groups of users who share nothing, and two factors to tell them apart."""
    monkeypatch.setattr(baselines, "FACTORS", 2)
    rng = np.random.default_rng(0)
    lists = [(rng.choice(6, 4, replace=False) + 6 * (user % 2)).tolist() for user in range(80)]
    dataset = Histories(
        Ragged.of(lists), np.full(80, 4), Ragged.of([[]] * 80), ItemStats(np.ones(12, bool), np.ones(12, int))
    )
    scores = ials_scorer(shop(dataset, list(range(12))), alpha=5)(Ragged.of([[0, 1], [6, 7], []]), NOBODY)
    assert scores[0, 2:6].min() > scores[0, 8:].max()
    assert scores[1, 8:].min() > scores[1, 2:6].max()
    assert scores[2].tolist() == [0] * 12


def test_ials_without_its_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "implicit.cpu.als", None)
    with fails(UnavailableError, "pip install 'crossrec[ials]'"):
        ials_scorer(shop(histories(10, 6), [0]), alpha=1)


def test_a_setting_is_chosen_by_quality_and_what_settings_share_is_computed_once(monkeypatch):
    dataset = shop(histories(60, 20), [2, 4])
    asked, learned, of = [], [], Ease.of
    monkeypatch.setattr(Ease, "of", lambda *of_what: learned.append(of_what) or of(*of_what))

    def quality(scorer) -> float:
        asked.append(scorer(Ragged.of([[0, 3]]), Ragged.of([[]])).abs().sum().item())
        return -asked[-1]

    scorer, setting = BASELINES["ease"].tuned(dataset, quality)
    assert len(asked) == len(BASELINES["ease"].settings)
    assert setting == BASELINES["ease"].settings[int(np.argmin(asked))]
    assert scorer(Ragged.of([[0, 3]]), Ragged.of([[]])).abs().sum().item() == min(asked)
    assert len(learned) == 2, "before validation and after it"
