from __future__ import annotations

import importlib
import re
import sys

import numpy as np
import pytest
import torch

from crossrec_cli.errors import UnavailableError
from crossrec_cli.ranking.search_score import DEFAULT, Signals, Weights, Words, best, centered, fit, standardised

ITEMS, QUERIES = 50, 200


def planted(follows: str) -> tuple[Signals, np.ndarray]:
    """Parts of a score that are noise, and purchases drawn by one of them alone, with weight 2."""
    generator = torch.Generator().manual_seed(0)
    signals = Signals(*(torch.randn(QUERIES, ITEMS, generator=generator) for _ in range(3)))
    chance = torch.softmax(2 * getattr(signals, follows), dim=1)
    return signals, torch.multinomial(chance, 1, generator=generator).squeeze(1).numpy()


@pytest.mark.parametrize("follows", ["meaning", "words", "interest"])
def test_the_weights_are_those_that_the_purchases_were_drawn_with(follows):
    weights = fit(*planted(follows))
    for name in ("meaning", "words", "interest"):
        assert getattr(weights, name) == pytest.approx(2 if name == follows else 0, abs=0.3)


def test_a_part_that_purchases_run_against_counts_nothing():
    signals, bought = planted("interest")
    assert fit(Signals(signals.meaning, -signals.interest, signals.interest), bought).words < 0.05


def test_one_pair_does_not_move_the_weights_far():
    signals, bought = planted("interest")
    first = Signals(signals.meaning[:1], signals.words[:1], signals.interest[:1])
    assert fit(first, bought[:1]).interest == pytest.approx(DEFAULT.interest, abs=2)


def test_the_score_is_the_weighted_sum():
    signals = Signals(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 10.0]]), torch.tensor([[5.0, -5.0]]))
    assert signals.score(Weights(2, 0.1, 3)).tolist() == [[17.0, -10.0]]
    assert signals.relevance(Weights(2, 0.1, 3)).tolist() == [[2.0, 5.0]]


def test_a_query_that_is_like_everything_says_nothing():
    assert standardised(torch.full((1, 4), 0.7)).abs().max() < 1e-3
    assert standardised(torch.tensor([[0.1, 0.3]])).tolist() == [pytest.approx([-1, 1])]


def test_interest_is_held_against_the_own_domain():
    found = centered(torch.tensor([[1.0, 3.0, 10.0, 30.0]]), np.array([True, True, False, False]))
    np.testing.assert_allclose(found, [[-1, 1, -1, 1]], rtol=1e-5)


def test_words_are_found_whatever_their_case_and_script():
    words = Words.of(["Crème Brûlée XR-500", "чай зелёный", "green tea", ""])
    for query, text in (("xr-500", 0), ("BRÛLÉE", 0), ("Чай", 1), ("Tea", 2)):
        found = words.scores([query])[0]
        assert found.argmax() == text
        assert (found > 0).sum() == 1


def test_a_query_without_a_known_word_scores_nothing():
    words = Words.of(["green tea", "black tea"])
    for query in ("coffee", "!?", ""):
        assert words.scores([query]).tolist() == [[0, 0]]


def test_function_words_find_nothing_but_add_where_others_do():
    words = Words.of(["better for you bacon", "lash mascara", "vitamin a", "vitamin c", "handcreme mit öl", "mit mine"])
    assert words.scores(["mascara for long eyes"])[0].nonzero().tolist() == [[1]]
    assert words.scores(["something for the eyes"])[0].tolist() == [0] * 6
    assert words.scores(["creme mit öl für die hand"])[0].nonzero().tolist() == [[4]]
    vitamins = words.scores(["a vitamin"])[0]
    assert vitamins[2] > vitamins[3] > 0
    assert words.scores(["for"])[0].argmax() == 0, "there is nothing else to go by"
    assert words.scores(["зелёный mascara"])[0].argmax() == 1, "a language without such a list"


def test_the_index_is_the_same_after_a_rest_on_disk(tmp_path):
    words = Words.of(["green tea", "black tea", "green green"])
    words.save(tmp_path)
    loaded = Words.load(tmp_path)
    assert loaded.size == words.size == 3
    assert torch.equal(loaded.scores(["green", "tea tea"]), words.scores(["green", "tea tea"]))


def test_only_what_one_text_alone_has_names_it():
    words = Words.of(["green tea a1", "black tea", "green mug"])
    assert words.with_all_words(["A1", "tea green", "tea", "black mug", "green xyz", "?"]).tolist() == [
        0,
        0,
        -1,
        -1,
        -1,
        -1,
    ]


def test_what_is_named_comes_first_with_its_own_score():
    scores, places = best(torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0]]), np.array([1, -1]), 2)
    assert places.tolist() == [[1, 0], [0, 2]]
    assert scores.tolist() == [[1, 3], [3, 2]]


def test_a_sharp_s_is_found_as_two():
    index = Words.of(["gießkanne aus blech", "teekanne", "kanne"])
    assert index.scores(["Giesskanne"])[0].argmax() == 0
    assert index.scores(["GIESSKANNE"])[0].max() > 0


@pytest.mark.parametrize("module", ["ranking.search_score", "text.proposed_categories"])
def test_without_the_package_for_exact_words_its_extra_is_named(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bm25s", None)
    monkeypatch.delitem(sys.modules, f"crossrec_cli.{module}", raising=False)
    with pytest.raises(UnavailableError, match=re.escape("crossrec[search]")):
        importlib.import_module(f"crossrec_cli.{module}")
