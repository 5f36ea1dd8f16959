from __future__ import annotations

import numpy as np
import pytest
import safetensors.torch
import torch
from crossrec_cli.interest.ensemble import Ensemble
from scipy.sparse import csr_array

from crossrec_cli.config.schema import Interest
from crossrec_cli.interest import linear
from crossrec_cli.interest.batches import Domain, Histories, Ragged
from crossrec_cli.ranking.topk import interest_scorer
from crossrec_cli.stages.load import save_model

USERS, ITEMS = 80, 30
TARGET = np.arange(ITEMS // 2, ITEMS)
TEXTS = np.random.default_rng(0).normal(size=(ITEMS, 12)).astype(np.float32)
WHOLE = 2 * len(TARGET)
"""The width at which nothing of EASE is cut off."""
PLAIN = linear.Way(7.0)


@pytest.fixture
def world() -> Histories:
    rng = np.random.default_rng(0)
    bought = Ragged.of([np.unique(rng.integers(0, ITEMS, rng.integers(4, 12))).tolist() for _ in range(USERS)])
    new = np.arange(USERS) >= USERS - 10  # nothing of the target
    bought = bought.where(~new[bought.rows] | (bought.values < TARGET[0]))
    domain = Domain(np.arange(ITEMS) >= TARGET[0], np.bincount(bought.values, minlength=ITEMS))
    return Histories(bought, bought.lengths, Ragged.of([[]] * USERS), domain)


def with_linear(world: Histories, dim: int, kind: str = "bag", way: linear.Way = PLAIN) -> Ensemble:
    torch.manual_seed(0)
    config = Interest(user_encoder=kind, dim=dim, max_sequence=5, dropout=0.0)
    model = Ensemble.create(config, TEXTS, world.domain, tags=3).with_linear(config)
    linear.learn(model.members[-1], world, way, seed=1)
    return model


def scored(model: Ensemble, world: Histories) -> np.ndarray:
    return interest_scorer(model, TARGET)(world.items, world.tags).numpy()


def closed_form(gram: np.ndarray, l2: float) -> np.ndarray:
    """EASE's weights by the paper's formula."""
    inverse = np.linalg.inv(gram + l2 * np.eye(len(gram)))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights


@pytest.mark.parametrize("users", [20, 60])
def test_texts_stand_below_the_purchases_as_more_users(users):
    """Fewer rows than items, and more."""
    rng = np.random.default_rng(0)
    bought, text = (rng.random((users, ITEMS)) < 0.2).astype(np.float32), rng.normal(size=(ITEMS, 6)).astype(np.float32)
    expected = closed_form(bought.T @ bought + text @ text.T, 3.0)
    np.testing.assert_allclose(linear.ease(csr_array(bought), TARGET, 3.0, text), expected[:, TARGET], atol=1e-5)


@pytest.mark.parametrize("way", [PLAIN, linear.Way(7.0, source_weight=0.3, text_weight=20.0)])
def test_a_linear_member_scores_as_ease_does(world, way):
    """Each user's scores are EASE's times one number of the user's own, which orders nothing."""
    model = with_linear(world, WHOLE, way=way)
    matrix = linear.purchases(world.items, np.arange(ITEMS), ITEMS).toarray()
    counts = np.where(world.domain.is_target, 1, way.source_weight)
    bought, text = matrix * counts, model.members[0].tower.text.numpy() * counts[:, None]
    expected = bought @ closed_form(bought.T @ bought + way.text_weight * text @ text.T, way.l2)[:, TARGET]
    found = scored(Ensemble(model.members[-1:]), world)
    ratio = (found * expected).sum(axis=1, keepdims=True) / (expected**2).sum(axis=1, keepdims=True)
    shops_there = matrix[:, TARGET].sum(axis=1) > 0
    assert 0 < shops_there.sum() < USERS
    np.testing.assert_array_equal(ratio[:, 0] > 0, shops_there, err_msg="it speaks of those alone")
    np.testing.assert_allclose(found, ratio * expected, atol=1e-4 * np.abs(found).max())


def test_a_narrow_one_keeps_most_of_it(world):
    """And what it leaves out is what the singular values say."""
    matrix = linear.purchases(world.items, np.arange(ITEMS), ITEMS)
    weights = linear.ease(matrix, TARGET, 7.0)
    values = np.linalg.svd(weights, compute_uv=False)
    member = with_linear(world, 12).members[-1]
    ids = member.tower.id_embedding.weight.detach().numpy()
    missed = np.linalg.norm(ids[:, :6] @ ids[TARGET, 6:].T - weights)
    assert missed == pytest.approx(np.sqrt((values[6:] ** 2).sum()), rel=0.02)


def test_scale_replaces_what_stood_before(world):
    member = with_linear(world, WHOLE).members[-1]
    once = scored(Ensemble([member]), world)
    linear.scale(member, 5.0)
    linear.scale(member, 3.0)
    np.testing.assert_allclose(scored(Ensemble([member]), world), 3 * once, rtol=1e-5, atol=1e-6)


def test_of_who_bought_nothing_in_the_target_it_says_nothing(world):
    found = interest_scorer(Ensemble(with_linear(world, WHOLE).members[-1:]), TARGET)
    scores = found(Ragged.of([[], [1, 4], [1, 4, 20]]), Ragged.of([[0, 2], [], []]))
    assert scores.any(dim=1).tolist() == [False, False, True]


def test_an_unsold_item_stands_near_those_with_its_text(world):
    world.domain.popularity[20] = 0
    texts = TEXTS.copy()
    texts[20] = texts[25]
    config = Interest(user_encoder="bag", dim=WHOLE)
    model = Ensemble.create(config, texts, world.domain, tags=3).with_linear(config)
    linear.learn(model.members[-1], world, PLAIN, seed=1)
    vectors = model.members[-1].tower.known().vectors
    assert torch.cosine_similarity(vectors[20], vectors[25], dim=0) > 0.99


@pytest.mark.parametrize("kind", ["bag", "sequence", "hybrid"])
def test_it_is_restored_with_the_others(kind, world, tmp_path):
    model = with_linear(world, 8, kind)
    linear.scale(model.members[-1], 2.5)
    save_model(tmp_path / "model.safetensors", model)
    config = Interest(user_encoder=kind, dim=8, max_sequence=5, dropout=0.0)
    again = Ensemble.restore(config, [TEXTS], safetensors.torch.load_file(tmp_path / "model.safetensors"))
    assert [member.sequence is not None for member in again.members] == [kind != "bag", False]
    np.testing.assert_array_equal(scored(again, world), scored(model, world))


def test_the_same_seed_gives_the_same_member(world):
    one, other = (with_linear(world, 8).members[-1].tower.id_embedding.weight for _ in range(2))
    assert torch.equal(one, other)
