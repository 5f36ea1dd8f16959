"""The neural scorer: what a cold-start item takes after."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shops
import torch

from crossrec_cli.config.training_fields import Interest
from crossrec_cli.models.base import TrainingData
from crossrec_cli.models.histories import ItemStats
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


@pytest.mark.parametrize("pool", [1, 2, 10_000])
def test_it_takes_after_the_nearest_of_the_items_bought_most_in_its_domain(
    pool: int, data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neural_scorer, "POOL", pool)
    monkeypatch.setattr(neural_scorer, "NEIGHBOURS", 1)
    found, bought = directions(data), data.histories.item_stats.popularity
    for cold in np.flatnonzero(bought == 0):
        trained = np.flatnonzero((data.is_target == data.is_target[cold]) & (bought > 0))
        among = trained[np.argsort(-bought[trained])[:pool]]
        nearest = among[np.argmax(data.texts[among] @ data.texts[cold])]
        np.testing.assert_allclose(found[cold], found[nearest], atol=1e-5)
