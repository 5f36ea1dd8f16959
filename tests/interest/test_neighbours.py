from __future__ import annotations

import numpy as np
import pytest
import torch

from crossrec_cli.config.schema import Interest
from crossrec_cli.interest.batches import Domain
from crossrec_cli.interest.ensemble import Ensemble
from crossrec_cli.interest.neighbours import NEIGHBOURS, neighbours


def tower_of(text: np.ndarray, trained: np.ndarray, in_target: np.ndarray):
    torch.manual_seed(0)
    config = Interest(user_encoder="bag", dim=8)
    model = Ensemble.create(config, text.astype(np.float32), Domain(in_target, trained.astype(int)), tags=0).members[0]
    torch.nn.init.normal_(model.tower.id_embedding.weight)
    torch.nn.init.normal_(model.tower.bias)
    return model.tower.eval()


@pytest.fixture
def tower():
    """Items 0 to 9 are the source, 10 to 19 the target; items 5 and 15 are cold, and their text is that of 7 and 17."""
    text = np.random.default_rng(0).normal(size=(20, 6))
    text[[5, 15]] = text[[7, 17]]
    trained = np.ones(20, bool)
    trained[[5, 15]] = False
    return tower_of(text, trained, np.arange(20) >= 10)


def test_a_cold_item_takes_after_the_item_with_its_text(tower):
    vectors, bias, _ = tower.known()
    for cold, twin in ((5, 7), (15, 17)):
        assert torch.cosine_similarity(vectors[cold], vectors[twin], dim=0) > 0.99
        assert bias[cold] == pytest.approx(float(bias[twin]), abs=0.05)


def test_trained_items_stay_what_they_are(tower):
    vectors, bias, _ = tower.known()
    with torch.no_grad():
        plain = tower()
    trained = tower.popularity > 0
    torch.testing.assert_close((vectors[trained], bias[trained]), (plain.vectors[trained], plain.bias[trained]))


def test_the_other_domain_does_not_stand_in():
    text = np.random.default_rng(0).normal(size=(20, 6))
    text[15] = text[7]
    trained = np.arange(20) != 15
    tower = tower_of(text, trained, np.arange(20) >= 10)
    tower.id_embedding.weight.data[7] += 1000
    assert tower.known().vectors[15].norm() < 100


@pytest.mark.parametrize(("wordless", "untrained"), [([15], []), ([], range(10, 20))], ids=["no text", "no neighbour"])
def test_an_item_that_nobody_can_stand_in_for_keeps_its_own_vector(wordless, untrained):
    text = np.random.default_rng(0).normal(size=(20, 6))
    trained = np.arange(20) != 15
    trained[list(untrained)] = False
    tower = tower_of(text, trained, np.arange(20) >= 10)
    tower.text[wordless] = 0
    with torch.no_grad():
        plain = tower()
    torch.testing.assert_close(tower.known().vectors[15], plain.vectors[15])


def test_shares_add_up_and_fall_with_the_distance_and_nobody_is_his_own_neighbour():
    angles = torch.linspace(0, 1.5, 40)
    text = torch.stack([angles.cos(), angles.sin()], dim=1) * torch.rand(40, 1).add(0.5)
    everybody = torch.arange(40)
    for trained in (everybody, everybody[1:]):
        found = neighbours(text, torch.tensor([0]), trained)
        assert found.near[0].tolist() == list(range(1, NEIGHBOURS + 1))
        assert found.share.sum() == pytest.approx(1)
        assert (found.share.diff() < 0).all()


def test_the_mean_of_unlike_vectors_is_as_long_as_they_are():
    vectors, bias = torch.tensor([[9.0, 9.0], [3.0, 0.0], [0.0, 5.0]]), torch.tensor([9.0, 1.0, 2.0])
    found = neighbours(torch.ones(3, 4), torch.tensor([0]), torch.tensor([1, 2]))
    found.lend(vectors, bias, torch.zeros(1))
    torch.testing.assert_close(vectors[0], torch.tensor([3.0, 5.0]) / 34**0.5 * 4)
    assert bias[0] == 1.5


def test_who_is_trusted_halfway_goes_halfway():
    vectors, bias = torch.tensor([[8.0, 0.0], [0.0, 2.0]]), torch.tensor([1.0, 3.0])
    both = torch.arange(2)
    neighbours(torch.ones(2, 4), both, both).lend(vectors, bias, torch.tensor([0.5, 1.0]))
    torch.testing.assert_close(vectors[0], torch.tensor([4.0, 1.0]) / 17**0.5 * 5)
    torch.testing.assert_close(vectors[1], torch.tensor([0.0, 2.0]))
    assert bias.tolist() == [2, 3]


def test_both_lean_on_what_the_other_was():
    """Neighbours lend what they learned, not what they have borrowed."""
    vectors, bias = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([1.0, 3.0])
    both = torch.arange(2)
    neighbours(torch.ones(2, 4), both, both).lend(vectors, bias, torch.full((2,), 1e-6))
    torch.testing.assert_close(vectors, torch.tensor([[0.0, 1.0], [1.0, 0.0]]), atol=1e-4, rtol=0)
    torch.testing.assert_close(bias, torch.tensor([3.0, 1.0]), atol=1e-4, rtol=0)


def test_the_fewer_bought_an_item_the_more_it_leans(tower):
    tower.popularity[11], tower.popularity[12] = 1, 50
    before = tower.known().vectors
    tower.smoothing.fill_(2.0)
    after = tower.known().vectors
    alike = torch.cosine_similarity(before, after, dim=1)
    assert alike[11] < alike[12] < 1
    assert torch.equal(before[:10], after[:10]), "the source is not smoothed"


def test_of_two_items_with_its_text_it_leans_on_the_one_that_learned_what_it_did(tower):
    tower.text[12:14] = tower.text[11].clone()
    ids, bias = tower.id_embedding.weight.data, tower.bias.data
    bias[11:14] = torch.tensor([0.0, 1.0, -1.0])
    tower.smoothing.fill_(2.0)
    for like, sign in ((12, 1), (13, -1)):
        ids[11] = ids[like] + 0.1
        assert sign * tower.known().bias[11] > 0.3


def test_a_target_too_large_is_not_smoothed(tower, monkeypatch):
    before = tower.known().vectors
    monkeypatch.setattr("crossrec_cli.interest.model.SMOOTHED_AT_MOST", 8)
    tower.smoothing.fill_(2.0)
    assert not tower.leans
    assert torch.equal(tower.known().vectors, before)


def test_parts_do_not_change_the_answer(monkeypatch):
    torch.manual_seed(0)
    text, everybody, trained = torch.randn(60, 5), torch.arange(60), torch.arange(40, 60)
    once, pieces = (torch.randn(60, 4, generator=torch.Generator().manual_seed(0)) for _ in range(2))
    bias, trust = torch.zeros(60), torch.rand(60)
    neighbours(text, everybody, trained).lend(once, bias, trust)
    monkeypatch.setattr("crossrec_cli.interest.neighbours.CELLS", 100)
    neighbours(text, everybody, trained).lend(pieces, bias, trust)
    torch.testing.assert_close(once, pieces)
