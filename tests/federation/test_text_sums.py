"""What platforms add up is what one platform with all users would have counted, and no user moves it far."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from crossrec_cli.artifacts import columns as c
from crossrec_cli.federation.text_sums import SENSITIVITY, co_purchases, noisy, text_moments, whitening_of
from crossrec_cli.models import federated
from crossrec_cli.models.base import NewItems, TrainingData
from crossrec_cli.models.histories import Histories, ItemStats
from crossrec_cli.models.linear import SOURCE_WEIGHT
from crossrec_cli.models.ragged import Ragged
from crossrec_cli.models.shared_model import SharedModel
from crossrec_cli.models.vectors import products
from crossrec_cli.models.whitening import Whitening

ITEMS = 24


def shop_of(lists: list[list[int]], embeddings: np.ndarray, targets: int = ITEMS // 2) -> TrainingData:
    """Users with these purchases; the last items are the target."""
    bought = Ragged.of(lists)
    items = len(embeddings)
    item_stats = ItemStats(np.arange(items) >= items - targets, np.bincount(bought.values, minlength=items))
    table = pa.table({c.TEXT: ["a text"] * items, c.DOMAIN: np.where(item_stats.is_target, c.TARGET, c.SOURCE)})
    return TrainingData(Histories(bought, bought.lengths, Ragged.of([[]] * len(lists)), item_stats), table, embeddings)


@pytest.fixture
def data() -> TrainingData:
    rng = np.random.default_rng(0)
    lists = [np.unique(rng.integers(0, ITEMS, rng.integers(1, 9))).tolist() for _ in range(50)]
    return shop_of(lists, rng.normal(size=(ITEMS, 8)).astype(np.float32))


def test_the_moments_of_parts_give_the_whitening_of_the_whole(data):
    has_text = np.arange(ITEMS) % 5 > 0
    parts = [text_moments(data.embeddings, has_text & (np.arange(ITEMS) % 3 == number)) for number in range(3)]
    sizes = [size for *_, size in parts]
    mean, second = (np.average([part[which] for part in parts], axis=0, weights=sizes) for which in (0, 1))
    whole = Whitening.of(data.embeddings[has_text])
    found = whitening_of(mean, second, sum(sizes))
    np.testing.assert_allclose(found.mean, whole.mean, atol=1e-6)
    np.testing.assert_allclose(abs(found.matrix), abs(whole.matrix), atol=1e-4)  # a direction's sign is free


def test_the_sums_are_those_of_a_plain_loop(data):
    history, following, users = co_purchases(data, 6)
    texts, expected, counted = data.texts[:, :6], np.zeros((2, 6, 6)), 0
    counts = np.where(data.is_target, 1.0, SOURCE_WEIGHT)
    for user in range(data.histories.users):
        items = data.histories.items.take(np.array([user])).values
        counted += len(items) > 1
        for item in items if len(items) > 1 else []:
            rest = sum(counts[other] * texts[other] for other in items if other != item)
            rest = rest / np.linalg.norm(rest)
            expected += np.array([np.outer(rest, rest), np.outer(rest, texts[item])]) / len(items)
    assert users == counted
    np.testing.assert_allclose([history * users, following * users], expected, atol=1e-4)


def test_one_user_moves_the_sums_by_no_more_than_the_sensitivity():
    """Also one with many purchases, and the worst that there can be: from one item many times to its opposite."""
    rng = np.random.default_rng(1)
    embeddings = np.concatenate([np.eye(12), -np.eye(12)]).astype(np.float32)
    others = [rng.choice(ITEMS, 5, replace=False).tolist() for _ in range(9)]
    furthest = 0.0
    for before, after in [([0, 0, 0], [12, 12]), ([3], list(range(ITEMS))), ([0, 0], [0, 12]), ([5, 5], [6, 6])]:
        moved = []
        for mine in (before, after):
            *means, users = co_purchases(shop_of([*others, mine], embeddings), 12)
            moved.append(np.array(means) * users)
        furthest = max(furthest, float(np.linalg.norm(moved[0] - moved[1])))
    assert 0.8 * SENSITIVITY < furthest <= SENSITIVITY + 1e-5


def test_noise_has_the_deviation_that_is_asked_for():
    means = (np.zeros((60, 60), np.float32), np.zeros((60, 60), np.float32))
    noise = np.array(noisy(means, 50, 1.5, np.random.default_rng(2)))
    assert noise.std() == pytest.approx(1.5 * SENSITIVITY / 50, rel=0.05)
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.05


@pytest.fixture
def taught() -> tuple[TrainingData, SharedModel]:
    """A platform whose users buy in the source or in the target alone, and what another, with both, taught.

    Source texts 0 and 1 go with target texts 2 and 3, which share no direction with them.
    """
    rng = np.random.default_rng(3)
    directions = np.repeat(np.arange(4), 6)
    embeddings = (np.eye(4)[directions] + 0.02 * rng.normal(size=(ITEMS, 4))).astype(np.float32)

    def some(direction: int) -> list[int]:
        return rng.choice(np.flatnonzero(directions == direction), 3, replace=False).tolist()

    both = shop_of([[*some(taste), *some(taste + 2)] for taste in (0, 1) for _ in range(40)], embeddings)
    history, following, _ = co_purchases(both, 256)
    shared = SharedModel("encoder", both.whitening, history, following, {})
    home = shop_of([some(direction) for direction in range(4) for _ in range(10)], embeddings)
    return TrainingData(home.histories, home.items, embeddings, shared=shared), shared


def test_a_platform_learns_from_others_what_its_own_buyers_cannot_teach(taught):
    data, _ = taught
    people = Ragged.of([[0, 1], [6, 7]])
    for scorer in federated.federated(data):
        feature = scorer.features[0]
        scores = products(feature.user_vectors(people, Ragged.of([[], []])), scorer.item_vectors)
        assert scores[0, 12:18].min() > scores[0, 18:].max()
        assert scores[1, 18:].min() > scores[1, 12:18].max()


def test_a_new_item_has_the_vector_of_an_item_with_its_text(taught):
    data, _ = taught
    scorer = federated.federated(data)[0]
    new = NewItems(data.items.slice(20, 3), data.texts[20:23], None)
    np.testing.assert_allclose(federated.new_vectors(scorer, new), np.asarray(scorer.item_vectors)[20:23], atol=1e-5)


def test_the_map_takes_noisy_and_fewer_directions(taught):
    data, shared = taught
    fewer = SharedModel("encoder", shared.whitening, shared.history[:2, :2], shared.next[:2, :2], {})
    mapped = federated.text_map(fewer, 1.0)
    assert mapped.shape[0] == data.texts.shape[1] and not mapped[2:].any()
    noise = np.random.default_rng(0).normal(0, 100, shared.history.shape).astype(np.float32)
    assert np.isfinite(federated.text_map(SharedModel("e", shared.whitening, noise, noise, {}), 0.1)).all()
