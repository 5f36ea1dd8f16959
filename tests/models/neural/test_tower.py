from __future__ import annotations

import numpy as np
import pytest
import torch

from crossrec_cli.config.training_fields import Interest
from crossrec_cli.models.histories import ItemStats
from crossrec_cli.models.neural.sampler import NextExamples
from crossrec_cli.models.neural.tower import InterestModel
from crossrec_cli.models.neural.user_encoders import TARGET_WEIGHT
from crossrec_cli.models.ragged import Ragged

ENCODERS = ["bag", "sequence", "hybrid"]
ONE = torch.arange(1)
"""The only user of a batch."""


def domain_of(items: int, trained: np.ndarray | None = None) -> ItemStats:
    """The second half is the target."""
    return ItemStats(np.arange(items) >= items // 2, np.ones(items, int) if trained is None else trained.astype(int))


def model_of(kind: str, trained: np.ndarray | None = None, items: int = 30) -> InterestModel:
    torch.manual_seed(0)
    texts = np.random.default_rng(0).normal(size=(items, 12)).astype(np.float32)
    config = Interest(user_encoder=kind, dim=8, max_sequence=5, dropout=0.0)
    model = InterestModel(config, texts, domain_of(items, trained), tags=3)
    torch.nn.init.normal_(model.tags.weight)
    torch.nn.init.normal_(model.default_user)
    return model.eval()


def ragged(*lists: list[int]) -> Ragged:
    return Ragged.of(lists)


def weighted(items: list[int], weights: list[float]) -> Ragged:
    return Ragged(np.array(items, np.int64), np.array([len(items)]), np.array(weights, np.float32))


def users_of(model: InterestModel, histories: Ragged, tags: Ragged | None = None) -> torch.Tensor:
    with torch.no_grad():
        return model.user_vectors(model.tower(), histories, tags or ragged(*[[]] * len(histories.lengths)))


@pytest.mark.parametrize("kind", ENCODERS)
def test_users_in_a_batch_do_not_touch_each_other(kind):
    model = model_of(kind)
    together = users_of(model, ragged([1, 2, 3], [], list(range(20))), ragged([0], [1, 2], []))
    alone = [users_of(model, ragged(h), ragged(g)) for h, g in (([1, 2, 3], [0]), ([], [1, 2]), (list(range(20)), []))]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_a_bag_has_no_order_and_a_sequence_has_one():
    for kind, same in (("bag", True), ("sequence", False), ("hybrid", False)):
        model = model_of(kind)
        there, back = users_of(model, ragged([1, 2, 3])), users_of(model, ragged([3, 2, 1]))
        assert torch.allclose(there, back, atol=1e-5) == same


def test_a_bag_reads_all_and_a_sequence_the_latest():
    for kind, same in (("bag", False), ("sequence", True), ("hybrid", False)):
        model = model_of(kind)
        latest = [4, 5, 6, 7, 8]
        assert torch.allclose(users_of(model, ragged([1, *latest])), users_of(model, ragged([2, *latest]))) == same


def test_the_stronger_interaction_draws_the_user_nearer():
    model = model_of("bag")
    vectors = model.tower()[0].detach()
    for weights in ([9.0, 0.1], [0.1, 9.0]):
        strong, weak = (4, 7) if weights[0] > weights[1] else (7, 4)
        user = users_of(model, weighted([4, 7], weights))
        near = torch.nn.functional.cosine_similarity(user, vectors[[strong, weak]])
        assert near[0] > near[1]


def test_a_bag_takes_a_weight_of_two_as_two_purchases_and_a_sequence_takes_no_notice():
    for kind, twice, same in (("bag", True, False), ("sequence", False, True), ("hybrid", False, False)):
        model = model_of(kind)
        heavy, plain = users_of(model, weighted([4, 17], [2, 1])), users_of(model, ragged([4, 17]))
        assert torch.allclose(heavy, users_of(model, ragged([4, 4, 17])), atol=1e-5) == twice
        assert torch.equal(heavy, plain) == same


def test_a_target_interaction_counts_as_several_source_ones():
    model = model_of("bag")
    source, target = 4, 17
    mixed = users_of(model, ragged([source, target]))
    torch.nn.init.zeros_(model.bag.target_weight)
    assert torch.allclose(mixed, users_of(model, ragged([source] + [target] * round(TARGET_WEIGHT))), atol=1e-5)


@pytest.mark.parametrize("kind", ENCODERS)
def test_weights_of_one_change_nothing(kind):
    model, history = model_of(kind), list(range(20))
    assert torch.equal(users_of(model, weighted(history, [1.0] * 20)), users_of(model, ragged(history)))


@pytest.mark.parametrize("kind", ENCODERS)
def test_tags_tell_apart_users_without_history(kind):
    users = users_of(model_of(kind), ragged([], [], []), ragged([0], [1], []))
    assert torch.isfinite(users).all()
    assert torch.pdist(users).min() > 1e-3


@pytest.mark.parametrize("kind", ["sequence", "hybrid"])
def test_what_is_asked_in_training_is_what_is_asked_later(kind):
    """The vector before a window's item is the user vector of the history up to it, and no later item moves it."""
    model = model_of(kind)
    history, weights = [7, 3, 9, 1, 12], [0.5, 4, 1, 0.1, 2]
    everywhere = torch.ones(1, 5, dtype=torch.bool)
    examples = NextExamples(ragged([]), np.array([history]), torch.tensor([weights]), ragged([1]), everywhere, ONE)
    items = model.tower()
    with torch.no_grad():
        asked = model.train().next_vectors(items, examples)[0]
    model.eval()
    for place in range(5):
        later = users_of(model, weighted(history[:place], weights[:place]), ragged([1]))[0]
        torch.testing.assert_close(asked[place], later, atol=1e-5, rtol=1e-5)


def test_the_bag_in_a_window_knows_what_lies_before_it():
    model = model_of("hybrid")
    model.sequence.requires_grad_(False)
    window = np.array([[3, 9, 1]]), torch.tensor([[2.0, 1.0, 1.0]])
    with torch.no_grad():
        items = model.tower()
        short = NextExamples(ragged([]), *window, ragged([]), torch.ones(1, 3, dtype=torch.bool), ONE)
        before = weighted([7, 8], [0.5, 3])
        long = NextExamples(before, *window, ragged([]), torch.ones(1, 3, dtype=torch.bool), ONE)
        difference = model.next_vectors(items, long) - model.next_vectors(items, short)
        upto = weighted([7, 8, 3], [0.5, 3, 2]), weighted([3], [2])
        long_bag, short_bag = (model.bag_vectors(items, history, ragged([])) for history in upto)
    torch.testing.assert_close(difference[0, 1], (long_bag - short_bag)[0], atol=1e-5, rtol=1e-5)


def test_a_cold_item_stands_by_its_text_alone():
    trained = np.arange(30) != 4
    model = model_of("bag", trained)
    with torch.no_grad():
        before = [part[4].clone() for part in model.tower()]
        model.tower.id_embedding.weight[4] += 100
        model.tower.bias[4] -= 100
        after = [part[4] for part in model.tower()]
    torch.testing.assert_close(before, after)
    assert after[1] == 0


def test_dropping_an_id_drops_its_bias_too():
    torch.manual_seed(0)
    config = Interest(dim=8, id_dropout=0.5, dropout=0.0, user_encoder="bag")
    model = InterestModel(config, np.zeros((2000, 4), np.float32), domain_of(2000), tags=0)
    with torch.no_grad():
        model.tower.bias += 1
        model.tower.adaptor.bias.zero_()
        vectors, bias, _ = model.train().tower()
    dropped = vectors.abs().sum(dim=1) == 0
    assert 0.4 < dropped.float().mean() < 0.6
    assert torch.equal(dropped, bias == 0)
