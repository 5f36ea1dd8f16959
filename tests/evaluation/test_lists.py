from __future__ import annotations

import numpy as np
import pytest

from crossrec_cli.evaluation import lists
from crossrec_cli.evaluation.lists import CandidateFacts, coverage
from crossrec_cli.models.ragged import Ragged

TEXTS = np.array([[9, 9], [2, 0], [0, 1], [3, 0], [0.6, 0.8]], np.float32)
ITEMS = np.array([1, 2, 3, 4])
SHOP = CandidateFacts(
    TEXTS, ITEMS, np.array([0.5, 0.25, 0.0, 0.125]), 100, np.array([False, False, True, False]), np.array([0, 1, 0, 2])
)
NOBODY = Ragged.of([[]])


def measures(shown: list[int], history: list[int] = [], k: int = 4) -> dict[str, float]:  # noqa: B006
    found = SHOP.per_list(np.array([shown]), Ragged.of([history]), k)
    return {name.partition("@")[0]: values[0] for name, values in found.items()}


def test_novelty_popularity_and_new_items_by_hand():
    found = measures([0, 1, 2])
    assert found["novelty"] == pytest.approx((1 + 2 + np.log2(200)) / 3), "nobody is half a user of a hundred"
    assert found["popularity"] == pytest.approx(0.25)
    assert found["cold_items"] == pytest.approx(1 / 3)


def test_diversity_is_one_minus_the_mean_cosine_of_two():
    assert measures([0, 1])["diversity"] == pytest.approx(1)
    assert measures([0, 2])["diversity"] == pytest.approx(0, abs=1e-6)
    assert measures([0, 1, 3])["diversity"] == pytest.approx(1 - (0 + 0.6 + 0.8) / 3)
    assert np.isnan(measures([0])["diversity"])


def test_only_the_first_k_count_and_missing_places_do_not():
    assert measures([0, 1, 2], k=2) == pytest.approx(measures([0, 1]), nan_ok=True)
    assert measures([0, 1, -1, -1]) == pytest.approx(measures([0, 1]), nan_ok=True)
    assert all(np.isnan(value) for value in measures([-1, -1], [0]).values())


def test_miscalibration_is_the_divergence_of_categories():
    assert measures([0, 1], [2, 1])["miscalibration"] == pytest.approx(0)
    half_of_it = 0.5 * np.log(0.5 / (0.99 + 0.005)) + 0.5 * np.log(0.5 / 0.005)
    assert measures([0, 2], [0, 1])["miscalibration"] == pytest.approx(half_of_it)
    assert measures([0, 2], [1])["miscalibration"] == pytest.approx(np.log(1 / 0.01))
    assert np.isnan(measures([0, 1])["miscalibration"]), "who has no history has no taste to meet"


def test_chunks_of_lists_do_not_matter(monkeypatch):
    rng = np.random.default_rng(0)
    many = rng.integers(-1, 4, (30, 3))
    taste = Ragged.of([rng.integers(0, 4, n % 3).tolist() for n in range(30)])
    whole = SHOP.per_list(many, taste, 3)
    monkeypatch.setattr(lists, "LIST_CHUNK", 7)
    for name, values in SHOP.per_list(many, taste, 3).items():
        np.testing.assert_allclose(values, whole[name])


def test_coverage_counts_what_anybody_is_shown():
    assert coverage(np.array([[0, 1], [0, 2]]), 2, 4) == 0.75
    assert coverage(np.array([[0, 1], [0, -1]]), 1, 4) == 0.25
