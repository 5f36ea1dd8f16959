from __future__ import annotations

import numpy as np
import pytest
import torch
from crossrec_cli.interest.ensemble import Ensemble
from crossrec_cli.ranking.explain import explain

from crossrec_cli.config.schema import Interest
from crossrec_cli.interest.batches import Domain, Ragged
from crossrec_cli.ranking import explain as module

ITEMS = 30
HISTORIES = Ragged(
    np.array([3, 9, 1, 20, 22, 4, 5, 6, 7, 8, 21]), np.array([3, 0, 8]), np.linspace(0.5, 3, 11).astype(np.float32)
)
TAGS = Ragged.of([[0], [1, 2], []])
LISTED = np.array([[16, 17], [18, 25], [29, 15]])


def model_of(kind: str, members: int = 2) -> Ensemble:
    torch.manual_seed(0)
    embeddings = np.random.default_rng(0).normal(size=(ITEMS, 12)).astype(np.float32)
    config = Interest(user_encoder=kind, dim=8, max_sequence=5, members=members)
    model = Ensemble.create(config, embeddings, Domain(np.arange(ITEMS) >= 15, np.ones(ITEMS, int)), tags=3)
    for member in model.members:
        torch.nn.init.normal_(member.tags.weight)
        torch.nn.init.normal_(member.nobody)
        torch.nn.init.normal_(member.tower.bias)
        torch.nn.init.normal_(member.tower.id_embedding.weight)
        if member.bag is not None:
            torch.nn.init.normal_(member.bag.turn.weight)
    return model.eval()


def scores(model: Ensemble, histories: Ragged) -> torch.Tensor:
    found = []
    for member, items in zip(model.members, model.known(), strict=True):
        with torch.no_grad():
            users = member.user_vectors(items, histories, TAGS)
        found.append(torch.einsum("bd,bkd->bk", users, items.vectors[LISTED]) + items.bias[LISTED])
    return torch.stack(found).mean(dim=0)


@pytest.mark.parametrize("kind", ["bag", "sequence", "hybrid"])
def test_the_parts_add_up_to_the_score(kind):
    model = model_of(kind)
    parts = explain(model, model.known(), HISTORIES, TAGS, LISTED)
    whole = parts.rest + parts.bias
    whole.index_add_(0, torch.from_numpy(HISTORIES.rows), parts.history)
    torch.testing.assert_close(whole, scores(model, HISTORIES), atol=1e-4, rtol=1e-4)


def test_the_bags_parts_are_exact_and_the_rest_is_of_tags_alone():
    """Of two users who differ in nothing but tags, the rest differs; without tags and their like there is none."""
    model = model_of("bag")
    for member in model.members:
        member.nobody.data.zero_()
    parts = explain(model, model.known(), HISTORIES, TAGS, LISTED)
    torch.testing.assert_close(parts.rest[2], torch.zeros(2), atol=1e-4, rtol=0)
    assert parts.rest[:2].abs().min() > 1e-3


@pytest.mark.parametrize("kind", ["bag", "sequence", "hybrid"])
def test_a_member_that_is_silent_on_who_is_new_to_the_target_has_no_part_but_its_bias(kind):
    model = model_of(kind)
    plain = explain(model, model.known(), HISTORIES, TAGS, LISTED)
    for member in model.members:
        member.new_users.zero_()
    silent = explain(model, model.known(), HISTORIES, TAGS, LISTED)
    assert not silent.history[:3].any()
    assert not silent.rest[:2].any()
    assert torch.equal(silent.bias, plain.bias)
    torch.testing.assert_close(silent.history[3:], plain.history[3:])


def test_twice_the_weight_is_twice_the_part_of_the_same_whole():
    model = model_of("bag", members=1)
    known = model.known()
    heavy = Ragged(np.array([3, 9]), np.array([2]), np.array([2, 1], np.float32))
    twice = Ragged(np.array([3, 3, 9]), np.array([3]), np.ones(3, np.float32))
    first, second = (explain(model, known, some, Ragged.of([[]]), np.array([[16]])).history for some in (heavy, twice))
    torch.testing.assert_close(first[0], second[0] + second[1])


@pytest.mark.parametrize("numbers", [1, 100, 10**6])
def test_the_sequences_parts_are_what_the_score_loses_without_the_item(numbers, monkeypatch):
    """Whatever the size of a batch; what lies before the latest five is not read, and has no part."""
    monkeypatch.setattr(module, "TOGETHER", numbers)
    model = model_of("sequence")
    parts = explain(model, model.known(), HISTORIES, TAGS, LISTED)
    assert torch.equal(parts.history[3:6], torch.zeros(3, 2))
    whole = scores(model, HISTORIES)
    for place, user in ((1, 0), (8, 2)):
        kept = np.arange(len(HISTORIES.values)) != place
        if user == 2:  # as the five latest without it, not the five latest of what is left
            kept[3:6] = False
        torch.testing.assert_close(
            parts.history[place], whole[user] - scores(model, HISTORIES.where(kept))[user], atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize("numbers", [1, 10**6])
def test_the_hybrids_parts_are_what_the_score_loses_without_the_item_of_the_bag_too(numbers, monkeypatch):
    monkeypatch.setattr(module, "TOGETHER", numbers)
    model = model_of("hybrid")
    parts = explain(model, model.known(), HISTORIES, TAGS, LISTED)
    whole = scores(model, HISTORIES)
    for place, user in ((0, 0), (1, 0), (2, 0), (3, 2), (5, 2)):  # of the last, three are older than the latest five
        without = HISTORIES.where(np.arange(len(HISTORIES.values)) != place)
        torch.testing.assert_close(parts.history[place], (whole - scores(model, without))[user], atol=1e-4, rtol=1e-4)
