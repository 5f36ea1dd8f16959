from __future__ import annotations

import numpy as np
import pytest
import safetensors.torch
import torch

from crossrec_cli.config.schema import Interest
from crossrec_cli.interest.batches import Domain, Ragged
from crossrec_cli.interest.ensemble import Ensemble
from crossrec_cli.ranking.topk import interest_scorer
from crossrec_cli.stages.load import save_model

ITEMS = 30
EMBEDDINGS = np.random.default_rng(0).normal(size=(ITEMS, 12)).astype(np.float32)
HISTORIES, TAGS = Ragged.of([[1, 2, 28], [], [7]]), Ragged.of([[0], [2], []])
CANDIDATES = np.arange(ITEMS // 2, ITEMS)


def config_of(kind: str, members: int) -> Interest:
    return Interest(user_encoder=kind, dim=8, max_sequence=5, dropout=0.0, members=members)


def ensemble(kind: str, members: int) -> Ensemble:
    """Members that no training has made alike, biases and tags included."""
    torch.manual_seed(0)
    domain = Domain(np.arange(ITEMS) >= ITEMS // 2, np.ones(ITEMS, int))
    found = Ensemble.create(config_of(kind, members), EMBEDDINGS, domain, tags=3)
    for member in found.members:
        for parameter in (member.tower.bias, member.tags.weight, member.nobody):
            torch.nn.init.normal_(parameter)
    return found


def scored(model: Ensemble) -> torch.Tensor:
    return interest_scorer(model, CANDIDATES)(HISTORIES, TAGS)


@pytest.mark.parametrize("kind", ["bag", "sequence", "hybrid"])
def test_interest_is_the_members_mean(kind):
    model = ensemble(kind, 3)
    alone = torch.stack([scored(Ensemble([member])) for member in model.members])
    assert (alone[0] - alone[1]).abs().min() > 1e-4, "three members, and not one three times"
    torch.testing.assert_close(scored(model), alone.mean(dim=0))


@pytest.mark.parametrize("kind", ["bag", "sequence", "hybrid"])
@pytest.mark.parametrize("members", [1, 2])
def test_restore_gives_the_same_ensemble(kind, members, tmp_path):
    model = ensemble(kind, members)
    model.score_scale.fill_(2.0)
    file = tmp_path / "model.safetensors"
    save_model(file, model)
    parts = [EMBEDDINGS[:5], EMBEDDINGS[5:]]
    again = Ensemble.restore(config_of(kind, members), parts, safetensors.torch.load_file(file))
    assert torch.equal(scored(again), scored(model))
    assert again.score_scale == 2


def test_members_share_no_weights_once_restored():
    model = ensemble("bag", 2)
    again = Ensemble.restore(config_of("bag", 2), [EMBEDDINGS], model.state_dict())
    first, second = again.members
    first.tower.popularity.zero_()
    assert second.tower.popularity.all()


def test_items_are_known_after_their_texts_are_let_go():
    model = ensemble("bag", 2)
    expected, known = scored(model), model.eval().known()
    model.release()
    assert all(not len(member.tower.text) for member in model.members)
    assert torch.equal(interest_scorer(model, CANDIDATES, known)(HISTORIES, TAGS), expected)
