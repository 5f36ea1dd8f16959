"""Going on from an earlier model with other items and tags."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import shops
import torch

from crossrec_cli.artifacts import columns as c
from crossrec_cli.config.training_fields import Interest
from crossrec_cli.models.base import TrainingData
from crossrec_cli.models.earlier import EarlierModel
from crossrec_cli.models.fused import FusedModel
from crossrec_cli.models.fusion import KNOTS, Fusion
from crossrec_cli.models.neural import neural_scorer
from crossrec_cli.models.neural.tower import InterestModel
from crossrec_cli.models.ragged import Ragged
from crossrec_cli.models.scorers import SCORERS
from crossrec_cli.models.vectors import products

TAGS = ["child", "owner", "student"]
INTEREST = Interest(dim=8, user_encoder="hybrid", max_sequence=6, layers=1, heads=2, scorers=("text", "neural"))


def shop() -> TrainingData:
    data, *_ = shops.shop("words")
    ids = pa.array([f"item{number}" for number in range(data.items.num_rows)])
    tags = Ragged.of([[user % 3] for user in range(data.histories.users)])
    return replace(data, items=data.items.append_column(c.ITEM_ID, ids), histories=replace(data.histories, tags=tags))


def earlier_model(data: TrainingData) -> EarlierModel:
    torch.manual_seed(0)
    network = InterestModel(INTEREST, data.texts, data.histories.item_stats, len(TAGS))
    for weights in (network.default_user, network.tags.weight, network.tower.bias):
        torch.nn.init.normal_(weights)
    scorers = [SCORERS["text"](data, 7)[0], neural_scorer.neural(network, data)]
    features = tuple(feature.name for scorer in scorers for feature in scorer.features)
    ones = np.ones((len(KNOTS), len(features)), np.float32)
    fused = FusedModel(scorers, Fusion(features, ones, ones[:, 0], ones[0]), data.is_target, data.whitening)
    return EarlierModel(fused, data.items[c.ITEM_ID], pa.array(TAGS))


def changed(data: TrainingData, old: np.ndarray) -> TrainingData:
    """The items of these indices, in this order, and five new ones after them."""
    kept = np.append(old, np.arange(5))
    items = data.items.take(kept)
    ids = pa.array([*items[c.ITEM_ID].to_pylist()[:-5], *(f"new{number}" for number in range(5))])
    stats = data.histories.item_stats
    item_stats = replace(stats, is_target=stats.is_target[kept], popularity=stats.popularity[kept])
    items = items.set_column(items.column_names.index(c.ITEM_ID), c.ITEM_ID, ids)
    return TrainingData(
        replace(data.histories, item_stats=item_stats), items, data.embeddings[kept], None, data.whitening
    )


def test_users_and_items_that_stay_score_as_before_whatever_their_new_numbers():
    data = shop()
    model = earlier_model(data)
    old = np.random.default_rng(3).permutation(data.items.num_rows)[20:]
    now = changed(data, old)
    network = model.network(INTEREST, now, ["another", *reversed(TAGS)])
    (feature,) = (again := neural_scorer.neural(network, now)).features
    (before,) = (earlier := model.fused.scorers[1]).features
    trained = data.histories.item_stats.trained
    bought = np.flatnonzero(trained[old])[:12]  # vectors of other items come from what is nearest now
    then = products(before.user_vectors(Ragged.of([old[bought].tolist()]), Ragged.of([[1]])), earlier.item_vectors)
    after = products(feature.user_vectors(Ragged.of([bought.tolist()]), Ragged.of([[2]])), again.item_vectors)
    np.testing.assert_allclose(after[0, : len(old)][trained[old]], then[0, old][trained[old]], atol=1e-4)


def test_a_model_of_other_scorers_sizes_or_texts_cannot_be_gone_on_from():
    data = shop()
    model = earlier_model(data)
    assert model.unfit(INTEREST, data) is None
    assert "text" in str(model.unfit(INTEREST.model_copy(update={"scorers": ("words", "neural")}), data))
    assert "8" in str(model.unfit(INTEREST.model_copy(update={"dim": 16}), data))
    other = np.random.default_rng(0).normal(size=data.embeddings.shape).astype(np.float32)
    assert model.unfit(INTEREST, replace(data, embeddings=other, earlier_whitening=data.whitening))
    assert model.unfit(INTEREST, replace(data, embeddings=other[:, :-1], earlier_whitening=data.whitening))


@pytest.mark.parametrize("kind", ["bag", "sequence", "hybrid"])
def test_the_kind_of_user_encoder_is_known_from_the_weights(kind):
    data = shop()
    network = InterestModel(
        INTEREST.model_copy(update={"user_encoder": kind}), data.texts, data.histories.item_stats, 3
    )
    assert neural_scorer.kind_of(neural_scorer.neural(network, data).state) == kind
