"""The neural scorer: what a cold-start item takes after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shops
import torch

from crossrec_cli.config.training_fields import Interest
from crossrec_cli.models.base import TrainingData
from crossrec_cli.models.histories import ItemStats
from crossrec_cli.models.neural import nearest as neighbours
from crossrec_cli.models.neural import neural_scorer
from crossrec_cli.models.neural.tower import InterestModel


@pytest.fixture
def data() -> TrainingData:
    """A shop whose last ten items nobody bought."""
    data, *_ = shops.shop("text")
    bought = np.random.default_rng(0).permutation(len(data.is_target)) + 1
    bought[-10:] = 0
    return replace(data, histories=replace(data.histories, item_stats=ItemStats(data.is_target, bought)))


def directions(data: TrainingData) -> np.ndarray:
    """Each item's vector, of length 1, as the scorer has it with random vectors of trained items."""
    torch.manual_seed(0)
    model = InterestModel(Interest(user_encoder="bag"), data.texts, data.histories.item_stats, 4)
    torch.nn.init.normal_(model.tower.id_embedding.weight)
    vectors = np.asarray(neural_scorer.neural(model, data).item_vectors)[:, :-1]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("chunk", [3, 10_000])
def test_it_takes_after_the_nearest_items_of_its_domain(
    chunk: int, data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neural_scorer, "ITEM_CHUNK", chunk)
    monkeypatch.setattr(neural_scorer, "NEIGHBOURS", 1)
    found, bought = directions(data), data.histories.item_stats.popularity
    for cold in np.flatnonzero(bought == 0):
        trained = np.flatnonzero((data.is_target == data.is_target[cold]) & (bought > 0))
        closest = trained[np.argmax(data.texts[trained] @ data.texts[cold])]
        np.testing.assert_allclose(found[cold], found[closest], atol=1e-5)


def units(rows: int, seed: int) -> np.ndarray:
    """Vectors of length 1 round some centres, as products are in lines and kinds."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((40, 32))
    points = centres[rng.integers(40, size=rows)] + 0.5 * rng.standard_normal((rows, 32))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(("few", "cells", "share"), [(2_000, 2**22, 1.0), (2_000, 5_000, 1.0), (100, 5_000, 0.9)])
def test_the_nearest_are_found_of_many_items_nearly_all(
    few: int, cells: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "FEW", few)
    monkeypatch.setattr(neighbours, "CELLS", cells)
    compared = []
    monkeypatch.setattr(neighbours, "_compare", count(neighbours._compare, compared))
    texts, items = units(50, 1), units(2_000, 2)
    cosines, found = neighbours.nearest(texts, items, 10)
    true = np.argsort(-(texts @ items.T), axis=1)[:, :10]
    hits = np.mean([len(np.intersect1d(*both)) for both in zip(found.numpy(), true, strict=True)]) / 10
    assert share <= hits <= 1
    np.testing.assert_allclose(cosines.numpy(), np.take_along_axis(texts @ items.T, found.numpy(), 1), atol=1e-6)
    assert (sum(compared) < 0.8 * texts.shape[0] * len(items)) is (few == 100)


def test_of_fewer_items_than_asked_for_all_are_found() -> None:
    cosines, found = neighbours.nearest(units(4, 1), units(3, 2), 10)
    assert cosines.shape == (4, 3)
    assert np.sort(found.numpy(), axis=1).tolist() == [[0, 1, 2]] * 4


def count(compare: Callable[..., None], compared: list[int]) -> Callable[..., None]:
    """The function, which then notes how many pairs it compares."""

    def counted(best: Any, asking: Any, among: Any, *more: Any) -> None:
        compared.append(len(asking) * len(among))
        compare(best, asking, among, *more)

    return counted
