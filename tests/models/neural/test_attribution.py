"""What each purchase adds to the trained scorer's scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crossrec_cli.config.training_fields import Interest
from crossrec_cli.models.base import Parts
from crossrec_cli.models.histories import ItemStats
from crossrec_cli.models.neural import attribution
from crossrec_cli.models.neural.attribution import history_parts
from crossrec_cli.models.neural.tower import InterestModel
from crossrec_cli.models.ragged import Ragged

ITEMS = 30
HISTORIES = Ragged(
    np.array([3, 9, 1, 20, 22, 4, 5, 6, 7, 8, 21]), np.array([3, 0, 8]), np.linspace(0.5, 3, 11).astype(np.float32)
)
TAGS = Ragged.of([[0], [1, 2], []])
LISTED = np.array([[16, 17], [18, 25], [29, 15]])


def model_of(kind: str) -> InterestModel:
    torch.manual_seed(0)
    texts = np.random.default_rng(0).normal(size=(ITEMS, 12)).astype(np.float32)
    config = Interest(user_encoder=kind, dim=8, max_sequence=5)
    model = InterestModel(config, texts, ItemStats(np.arange(ITEMS) >= 15, np.ones(ITEMS, int)), tags=3)
    for weight in (model.tags.weight, model.default_user, model.tower.bias, model.tower.id_embedding.weight):
        torch.nn.init.normal_(weight)
    if model.bag is not None:
        torch.nn.init.normal_(model.bag.projection.weight)
    return model.eval()


def scores(model: InterestModel, histories: Ragged) -> np.ndarray:
    """Of the listed items, without their biases."""
    items = model.tower.item_embeddings()
    with torch.no_grad():
        users = model.user_vectors(items, histories, TAGS)
    return torch.einsum("bd,bkd->bk", users, items.vectors[LISTED]).numpy()


def parts_of(model: InterestModel, histories: Ragged = HISTORIES, tags: Ragged = TAGS) -> Parts:
    return history_parts(model, model.tower.item_embeddings(), histories, tags, LISTED[: len(histories.lengths)])


def without(place: int) -> Ragged:
    return HISTORIES.where(np.arange(len(HISTORIES.values)) != place)


def test_a_bags_parts_add_up_to_what_is_not_of_tags():
    """Of two users with tags something is left over; where there is nothing but the history there is nothing."""
    model = model_of("bag")
    model.default_user.data.zero_()
    of_history = np.zeros((3, 2))
    np.add.at(of_history, HISTORIES.rows, parts_of(model).added)
    rest = scores(model, HISTORIES) - of_history
    np.testing.assert_allclose(rest[2], 0, atol=1e-4)
    assert np.abs(rest[:2]).min() > 1e-3
    assert not of_history[1].any(), "who has no history"


def test_twice_the_weight_is_twice_the_part_of_the_same_whole():
    model = model_of("bag")
    heavy = Ragged(np.array([3, 9]), np.array([2]), np.array([2, 1], np.float32))
    twice = Ragged(np.array([3, 3, 9]), np.array([3]), np.ones(3, np.float32))
    first, second = (parts_of(model, some, Ragged.of([[]])).added for some in (heavy, twice))
    np.testing.assert_allclose(first[0], second[0] + second[1], rtol=1e-5)


@pytest.mark.parametrize("numbers", [1, 100, 10**6])
def test_a_sequences_parts_are_what_the_score_loses_without_the_item(numbers, monkeypatch):
    """Whatever the size of a batch; what lies before the latest five is not read, and has no part."""
    monkeypatch.setattr(attribution, "CHUNK_CELLS", numbers)
    model = model_of("sequence")
    found = parts_of(model).added
    assert not found[3:6].any() and found[6:].all() and found[:3].all()
    whole = scores(model, HISTORIES)
    for place, user in ((2, 0), (10, 2)):  # the last purchases, of which nothing is taken as nearly so
        kept = np.arange(len(HISTORIES.values)) != place
        if user == 2:  # as the five latest without it, not the five latest of what is left
            kept[3:6] = False
        lost = whole[user] - scores(model, HISTORIES.where(kept))[user]
        np.testing.assert_allclose(found[place], lost, atol=1e-5, rtol=1e-4)


def test_a_dislike_has_no_part_and_moves_no_other():
    model = model_of("sequence")
    found = parts_of(model).added
    disliked = np.insert(HISTORIES.values, 1, 12)
    weights = np.insert(HISTORIES.weights, 1, -1)
    with_dislike = parts_of(model, Ragged(disliked, HISTORIES.lengths + np.array([1, 0, 0]), weights)).added
    assert not with_dislike[1].any()
    np.testing.assert_allclose(np.delete(with_dislike, 1, axis=0), found, atol=1e-6)


@pytest.mark.parametrize("kind", ["bag", "hybrid"])
@pytest.mark.parametrize("numbers", [1, 10**6])
def test_how_far_the_score_falls_without_the_item_is_of_the_bag_too(kind, numbers, monkeypatch):
    monkeypatch.setattr(attribution, "CHUNK_CELLS", numbers)
    model = model_of(kind)
    found = parts_of(model).falls
    whole = scores(model, HISTORIES)
    of_sequence = [] if kind == "bag" else [(2, 0)]  # of others it is nearly so
    of_bag = [(3, 2), (5, 2)] + (
        [(0, 0), (1, 0), (2, 0)] if kind == "bag" else []
    )  # the first two: before the latest five
    for place, user in of_bag + of_sequence:
        lost = whole[user] - scores(model, without(place))[user]
        np.testing.assert_allclose(found[place], lost, atol=1e-4, rtol=1e-4)
