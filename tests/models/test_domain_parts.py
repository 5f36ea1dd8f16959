"""How much of a score the source says, and how much the target."""

from __future__ import annotations

import numpy as np
import pytest
import shops
import torch

from crossrec_cli.config.training_fields import Interest
from crossrec_cli.models.base import HistoryFeature, Scorer, TrainingData
from crossrec_cli.models.domain_parts import DomainParts, PartedScorer, PartedUsers
from crossrec_cli.models.fused import FusedModel
from crossrec_cli.models.fusion import KNOTS, Fusion
from crossrec_cli.models.neural import neural_scorer
from crossrec_cli.models.neural.tower import InterestModel
from crossrec_cli.models.ragged import Ragged
from crossrec_cli.models.scorers import SCORERS
from crossrec_cli.models.vectors import unit_rows

HISTORIES = Ragged(
    np.array([3, 61, 5, 62, 66, 7, 8, 70, 2]), np.array([3, 2, 2, 0, 2]), np.array([1, 1, 2, 1, -1, 1, 1, 1, 1], "f4")
)
"""Of both domains; of the target, with a dislike; of the source; none; of both."""
TAGS = Ragged.of([[], [1], [0], [2], []])
LISTED = np.tile([63, 64, 65, 71], (5, 1))


@pytest.fixture(scope="module")
def data() -> TrainingData:
    data, *_ = shops.shop("linear")
    return shops.federated(data)


def fused(data: TrainingData, *scorers: Scorer) -> FusedModel:
    """With random weights, which depend on the length of the history."""
    features = tuple(one.name for scorer in scorers for one in scorer.features)
    weights = np.random.default_rng(0).random((len(KNOTS), len(features))).astype(np.float32)
    fusion = Fusion(features, weights, np.arange(len(KNOTS), dtype=np.float32), np.ones(len(features), np.float32))
    return FusedModel(scorers, fusion, data.is_target, data.whitening)


def neural(data: TrainingData, kind: str) -> Scorer:
    torch.manual_seed(0)
    config = Interest(dim=8, max_sequence=2, layers=1, heads=2, user_encoder=kind)
    model = InterestModel(config, data.texts, data.histories.item_stats, 3)
    for weight in (model.tower.bias, model.tags.weight, model.default_user):
        torch.nn.init.normal_(weight)
    return neural_scorer.neural(model, data)


def test_they_are_the_sums_of_the_parts_of_all_purchases(data):
    """Of every scorer whose score is a sum over the history."""
    model = fused(data, *(make(data, 7)[0] for make in SCORERS.values()), neural(data, "bag"))
    whole = sum(model.score_parts(HISTORIES, TAGS, LISTED).history.values())
    in_target = data.is_target[HISTORIES.values]
    parts = PartedUsers.of(model, HISTORIES, TAGS).parts(LISTED)
    for part, chosen in ((parts.source, ~in_target), (parts.target, in_target)):
        summed = np.zeros(LISTED.shape)
        np.add.at(summed, HISTORIES.rows[chosen], whole[chosen])
        assert np.abs(summed).max() > 0.1
        np.testing.assert_allclose(part, summed, atol=2e-5)


def test_the_source_part_of_a_sequence_is_what_is_lost_without_all_that_it_read_of_the_source(data):
    """It reads the latest two; both parts come to what the history adds."""
    model, tags = fused(data, neural(data, "sequence")), TAGS.take(np.array([0]))
    (scorer,) = model.scorers
    parts = PartedUsers.of(model, HISTORIES, TAGS).parts(LISTED)
    assert not parts.source[[1, 3]].any()
    assert not parts.target[[2, 3]].any()
    weight = model.user_vectors(HISTORIES, TAGS)[0][0, -1]  # the weight of an item's bias in the whole score
    full, without, nothing = (
        weight * (scorer.features[0].user_vectors(Ragged.of([given]), tags) @ scorer.item_vectors[LISTED[0]].T)[0]
        for given in ([61, 5], [61], [])
    )
    np.testing.assert_allclose(parts.source[0], full - without, atol=1e-5)
    np.testing.assert_allclose(parts.target[0], without - nothing, atol=1e-5)


def test_the_parts_of_a_hybrid_are_those_of_its_bag_and_its_sequence(data):
    feature = neural(data, "hybrid").features[0]
    whole, encoder = feature.vector_parts(HISTORIES, TAGS, "target"), feature.encoder
    bag, encoder.bag = encoder.bag, None
    of_sequence = feature.vector_parts(HISTORIES, TAGS, "target")
    encoder.bag, encoder.sequence = bag, None
    of_bag = feature.vector_parts(HISTORIES, TAGS, "target")
    for both, *each in zip(whole, of_bag, of_sequence, strict=True):
        np.testing.assert_allclose(both[:, :-1], sum(each)[:, :-1], atol=1e-5)


@pytest.mark.parametrize("kind", ["bag", "sequence", "hybrid"])
def test_whichever_domain_has_fewer_purchases_the_parts_are_the_same(data, kind):
    """The part of one is computed, the other is what is left; which one depends on all users."""
    model = fused(data, *(make(data, 7)[0] for make in SCORERS.values()), neural(data, kind))
    together = Ragged.of([[61, 3, 62], [4, 5, 6, 7]])
    with_source, alone = (
        PartedUsers.of(model, some, TAGS.take(np.arange(len(some.lengths))))
        for some in (together, together.take(np.array([0])))
    )
    assert (with_source.domain, alone.domain) == ("target", "source")
    for part, other in zip(with_source.parts(LISTED[:2]), alone.parts(LISTED[:1]), strict=True):
        np.testing.assert_allclose(part[0], other[0], atol=2e-5)


def test_known_scores_give_the_same_parts_as_scores_computed_again(data):
    model = fused(data, *(make(data, 7)[0] for make in SCORERS.values()), neural(data, "hybrid"))
    plain = model.candidate_scorer(LISTED[0])
    scorer = PartedScorer(plain)
    logits = scorer(HISTORIES, TAGS)
    np.testing.assert_array_equal(logits, plain(HISTORIES, TAGS))
    again = PartedUsers.of(model, HISTORIES, TAGS).parts(LISTED)
    for part, other in zip(scorer.users.parts(LISTED, logits.numpy()), again, strict=True):
        np.testing.assert_allclose(part, other, atol=2e-5)
    assert not scorer.users.parts(LISTED, np.full(LISTED.shape, -np.inf, np.float32)).source.any()


def test_the_share_is_of_absolute_parts_and_unknown_where_there_are_none():
    parts = DomainParts(
        np.array([[3.0, -3.0, 0.0, 1.0, 0.0]], "f4"), np.array([[1.0, 1.0, -2.0, 0.0, 1e-6]], "f4"), None
    )
    np.testing.assert_allclose(parts.source_share, [[0.75, 0.75, 0, 1, np.nan]])


@pytest.mark.parametrize("says", ["source", "target"])
def test_the_share_is_of_the_domain_that_says_what_is_wanted(says):
    """Purchases in the other one are of items whose texts are like no other."""
    groups, of_group = 8, 6
    group = np.arange(2 * groups * of_group) % groups
    is_target = np.arange(len(group)) >= groups * of_group
    telling = is_target | (says == "source")
    embeddings = np.where(telling[:, None], np.eye(groups)[group], 0) + 0.01 * np.random.default_rng(0).normal(
        size=(96, 8)
    )
    embeddings = np.concatenate([embeddings, np.where(telling, 0, 1)[:, None] * np.eye(96)], axis=1).astype("f4")
    wanted = np.arange(groups)
    source, target = np.flatnonzero(~is_target), np.flatnonzero(is_target)
    in_target = target[:groups] if says == "target" else target[(wanted + 3) % groups]
    histories = Ragged.of([[int(source[user]), int(source[user + groups]), int(in_target[user])] for user in wanted])
    text = HistoryFeature("text", unit_rows(embeddings), is_target)
    scorer = Scorer("text", text.item_vectors, [text])
    model = FusedModel(
        [scorer], Fusion(("text",), np.ones((4, 1), "f4"), np.zeros(4, "f4"), np.ones(1, "f4")), is_target, None
    )
    listed = np.stack([target[groups + user :: groups][:3] for user in wanted])
    share = PartedUsers.of(model, histories, Ragged.of([[]] * groups)).parts(listed).source_share
    assert (share > 0.95).all() if says == "source" else (share < 0.05).all()
