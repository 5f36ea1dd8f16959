"""What every scorer promises, whatever it knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shops
import torch

from crossrec_cli.artifacts import columns as c
from crossrec_cli.config.training_fields import Interest
from crossrec_cli.models.base import HistoryFeature, Scorer, TrainingData
from crossrec_cli.models.fused import FusedModel
from crossrec_cli.models.fusion import KNOTS, Fusion
from crossrec_cli.models.neural import neural_scorer
from crossrec_cli.models.neural.neural_scorer import NeuralFeature
from crossrec_cli.models.neural.tower import InterestModel
from crossrec_cli.models.ragged import Ragged
from crossrec_cli.models.saved import ModelFiles, load, save
from crossrec_cli.models.scorers import SCORERS
from crossrec_cli.models.vectors import products, rows_after

LONG = 60_000


@pytest.fixture(scope="module")
def data() -> TrainingData:
    """A shop with everything: texts, columns, tags and times; item 3 has no text, item 70 no training purchase."""
    rng = np.random.default_rng(0)
    data, *_ = shops.shop("words")
    items, users = data.items.num_rows, data.histories.users
    texts = data.items[c.TEXT].to_pylist()
    texts[3] = None
    columns = {
        c.TEXT: pa.array(texts),
        c.BRAND: pa.array(rng.choice(["ours", "theirs", None], items)),
        c.CATEGORY: pa.array(rng.choice(["A > B", "A > C", "D", None], items)),
        c.PRICE_BAND: pa.array(rng.choice(["low", "high", None], items)),
    }
    embeddings = data.embeddings.copy()
    embeddings[3] = 0
    item_stats = replace(
        data.histories.item_stats, popularity=data.histories.item_stats.popularity * (np.arange(items) != 70)
    )
    histories = replace(data.histories, tags=Ragged.of(rng.integers(0, 4, (users, 2)).tolist()), item_stats=item_stats)
    times = np.arange(len(histories.items.values)) * 10**10
    return shops.federated(TrainingData(histories, pa.table(columns), embeddings, times))


INTEREST = Interest(dim=8, max_sequence=6, layers=1, heads=2)


def trained(data: TrainingData, kind: str) -> Scorer:
    """A neural scorer of some kind, with the weights that it begins with, and biases."""
    torch.manual_seed(0)
    config = INTEREST.model_copy(update={"user_encoder": kind})
    model = InterestModel(config, data.texts, data.histories.item_stats, 4)
    torch.nn.init.normal_(model.tower.bias)
    torch.nn.init.normal_(model.tags.weight)
    return neural_scorer.neural(model, data)


@pytest.fixture(scope="module", params=[*sorted(SCORERS), "bag", "sequence", "hybrid"])
def scorer(request: pytest.FixtureRequest, data: TrainingData) -> Scorer:
    if request.param in SCORERS:
        return SCORERS[request.param](data, 7)[0]
    return trained(data, request.param)


def scores(scorer: Scorer, histories: Ragged, tags: Ragged) -> np.ndarray:
    """Of all features, (B, F · I)."""
    parts = [products(feature.user_vectors(histories, tags), scorer.item_vectors) for feature in scorer.features]
    return np.concatenate(parts, axis=1)


def test_some_user_is_scored(scorer: Scorer, data: TrainingData) -> None:
    found = scores(scorer, data.histories.items, data.histories.tags)
    assert np.isfinite(found).all()
    assert (found.std(axis=1) > 0).any()


def test_neither_order_nor_company_matters(scorer: Scorer, data: TrainingData) -> None:
    whole = scores(scorer, data.histories.items, data.histories.tags)
    some = np.random.default_rng(1).permutation(data.histories.users)[:17]
    found = scores(scorer, data.histories.items.take(some), data.histories.tags.take(some))
    np.testing.assert_allclose(found, whole[some], atol=1e-5)


def test_a_user_without_history_or_tags_is_scored(scorer: Scorer, data: TrainingData) -> None:
    found = scores(scorer, Ragged.of([[], [], [0]]), Ragged.of([[], [1], []]))
    assert np.isfinite(found).all()


def test_of_users_without_history_alone_nothing_is_of_an_interaction(scorer: Scorer, data: TrainingData) -> None:
    nobody = Ragged.of([[], []])
    weights = np.ones((2, len(scorer.features)), np.float32)
    listed = np.array([[61, 62, 63]] * 2)
    for parts in scorer.explained(weights, weights[:0], nobody, nobody, listed, scorer.sums(nobody)).parts:
        assert parts.shape == (0, 3)


def test_an_item_without_text_asks_for_nothing_by_its_text(scorer: Scorer, data: TrainingData) -> None:
    found = scores(scorer, Ragged.of([[3]]), Ragged.of([[]]))
    if scorer.name in ("text", "words"):
        assert not found.any()


def test_a_very_long_history(scorer: Scorer, data: TrainingData) -> None:
    items = np.random.default_rng(2).integers(0, data.items.num_rows, LONG)
    found = scores(scorer, Ragged(items, np.array([LONG])), Ragged.of([[]]))
    assert np.isfinite(found).all()


@pytest.mark.parametrize("decay", [1.0, 0.6])
def test_the_parts_of_a_history_add_up_to_its_score(scorer: Scorer, data: TrainingData, decay: float) -> None:
    histories, tags = data.histories.items.take(np.arange(9)), data.histories.tags.take(np.arange(9))
    listed = np.tile(np.arange(60, 75), (9, 1))
    for feature in scorer.features:
        chosen = feature.with_decay(decay) if hasattr(feature, "with_decay") else feature
        parts, falls = chosen.parts(histories, tags, listed)
        assert parts.shape == (len(histories.values), 15)
        summed = np.stack([np.bincount(histories.rows, column, 9) for column in parts.T], axis=1)
        whole = products(chosen.user_vectors(histories, tags), scorer.item_vectors)[:, 60:75]
        if isinstance(feature, HistoryFeature):
            np.testing.assert_allclose(summed, whole, atol=1e-5)
        elif scorer.name == "popularity":
            assert not summed.any()
        exact = (
            not isinstance(feature, NeuralFeature) or feature.encoder.sequence is None
        )  # that reads the latest alone
        for user in range(3 if decay == 1 and exact else 0):
            given, mine = histories.take(np.array([user])), tags.take(np.array([user]))
            for place in range(len(given.values)):
                rest = given.where(np.arange(len(given.values)) != place)
                without = products(chosen.user_vectors(rest, mine), scorer.item_vectors)[0, 60:75]
                np.testing.assert_allclose(falls[histories.starts[user] + place], whole[user] - without, atol=1e-4)


def test_the_score_falls_as_told_without_a_purchase_of_either_domain(scorer: Scorer, data: TrainingData) -> None:
    """One target purchase fewer: other weights, another shift."""
    if any(isinstance(feature, NeuralFeature) and feature.encoder.sequence for feature in scorer.features):
        pytest.skip("a sequence reads the latest purchases alone")
    fused, everything = alone(scorer, data), np.arange(60, 75)
    histories, tags = Ragged.of([[3, 61, 5], [62, 7, 63, 64], [8]]), Ragged.of([[], [1], []])
    told = fused.score_parts(histories, tags, np.tile(everything, (3, 1)))
    whole = fused.candidate_scorer(everything)(histories, tags).numpy()
    np.testing.assert_allclose(told.logits, whole, atol=1e-4)
    for place, user in enumerate(histories.rows):
        rest = histories.where(np.arange(len(histories.values)) != place)
        without = fused.candidate_scorer(everything)(rest, tags).numpy()
        np.testing.assert_allclose(told.falls[place], whole[user] - without[user], atol=1e-3)


@pytest.mark.parametrize("weight", [3e-4, 1e-2])
def test_the_score_falls_as_told_without_a_purchase_that_counts_for_nearly_all(
    scorer: Scorer, data: TrainingData, weight: float
) -> None:
    if any(isinstance(feature, NeuralFeature) and feature.encoder.sequence for feature in scorer.features):
        pytest.skip("a sequence reads no weights")
    weights = np.array([weight, 1, weight, 1], np.float32)
    histories, everything = Ragged(np.array([61, 62, 3, 64]), np.array([2, 2]), weights), np.arange(60, 75)
    listed = np.tile(everything, (2, 1))
    for feature in scorer.features:
        told = feature.parts(histories, Ragged.of([[], []]), listed).falls
        whole = products(feature.user_vectors(histories, Ragged.of([[], []])), scorer.item_vectors)[:, everything]
        for place, user in enumerate(histories.rows):
            rest = histories.where(np.arange(4) != place)
            without = products(feature.user_vectors(rest, Ragged.of([[], []])), scorer.item_vectors)[user, everything]
            np.testing.assert_allclose(told[place], whole[user] - without, atol=5e-3)  # float32 of a small difference


def test_what_is_saved_scores_the_same(scorer: Scorer, data: TrainingData, tmp_path: Path) -> None:
    fused = alone(scorer, data)
    files = ModelFiles(*(tmp_path / name for name in ("vectors", "fusion", "weights", "terms")))
    save(fused, catalogue(data), files)
    again = load(files, None, INTEREST)
    everything = np.arange(data.items.num_rows)
    asked = data.histories.items.take(np.arange(40)), data.histories.tags.take(np.arange(40))
    np.testing.assert_array_equal(
        again.candidate_scorer(everything)(*asked), fused.candidate_scorer(everything)(*asked)
    )
    assert list(again.scorers[0].terms) == list(scorer.terms)


def test_new_items_are_scored_as_those_that_they_are_like(scorer: Scorer, data: TrainingData, tmp_path: Path) -> None:
    fused = alone(scorer, data)
    twins = np.array([65, 66, 67])
    new = fused.new_vectors(catalogue(data).take(twins), data.embeddings[twins])[scorer.name]
    assert new.shape == (3, scorer.item_vectors.shape[1])
    known = rows_after(scorer.item_vectors, new)
    found = products(scorer.features[0].user_vectors(data.histories.items, data.histories.tags), known)
    assert np.isfinite(found).all()
    if scorer.name in ("text", "words", "attributes"):
        np.testing.assert_allclose(found[:, -3:], found[:, twins], atol=1e-5)
    if scorer.name == "linear":  # of a new item the text alone is known
        one = np.corrcoef(found[:, -3:].ravel(), found[:, twins].ravel())[0, 1]
        assert one > 0.3


def test_an_item_without_text_or_purchases_takes_after_nobody(data: TrainingData) -> None:
    scorer = trained(data, "bag")
    new = catalogue(data).take([3, 3])
    found = alone(scorer, data).new_vectors(new, data.embeddings[[3, 3]])[neural_scorer.NAME]
    np.testing.assert_array_equal(found[0], [*scorer.state["adaptor.bias"].tolist(), 0])


def alone(scorer: Scorer, data: TrainingData) -> FusedModel:
    """One scorer, fused with the texts."""
    scorers = [scorer, *([] if scorer.name == "text" else SCORERS["text"](data, 7))]
    features = tuple(one.name for some in scorers for one in some.features)
    weights = np.random.default_rng(0).random((len(KNOTS), len(features))).astype(np.float32)
    fusion = Fusion(features, weights, np.arange(len(KNOTS), dtype=np.float32), np.ones(len(features), np.float32))
    return FusedModel(scorers, fusion, data.is_target, data.whitening)


def catalogue(data: TrainingData) -> pa.Table:
    """The items as preprocess writes them."""
    number = pa.array(np.arange(data.items.num_rows), pa.int32())
    domain = pa.array(np.where(data.is_target, c.TARGET, c.SOURCE))
    head = {c.ITEM_INDEX: number, c.ITEM_ID: number.cast(pa.string()), c.DOMAIN: domain}
    return pa.table(head | {name: data.items[name] for name in data.items.column_names if name not in head})


def test_later_purchases_count_more_and_the_target_part_apart(data: TrainingData) -> None:
    whole, target = SCORERS["text"](data, 7)[0].features
    histories = Ragged.of([[0, 61, 1, 62], [62]])
    np.testing.assert_allclose(whole.with_decay(0.5).weights(histories), [1 / 8, 1 / 4, 1 / 2, 1, 1])
    np.testing.assert_allclose(target.with_decay(0.5).weights(histories), [0, 1 / 2, 0, 1, 1])


def test_a_dislike_pushes_its_item_away_and_what_reads_only_order_skips_it(scorer: Scorer, data: TrainingData) -> None:
    bought, tags = [5, 20, 65, 72], Ragged.of([[], []])
    disliked = Ragged.of([bought, [*bought, 66]])
    weights = np.array([1] * len(bought) + [1] * len(bought) + [-1], np.float32)
    histories = Ragged(disliked.values, disliked.lengths, weights)
    before, after = scores(scorer, histories, tags)
    changes = (after - before).reshape(len(scorer.features), -1)
    for feature, change in zip(scorer.features, changes, strict=True):
        encoder = feature.encoder if isinstance(feature, NeuralFeature) else None
        if isinstance(feature, HistoryFeature) or (encoder and encoder.bag):
            assert change[66] < 0
        else:
            np.testing.assert_allclose(change, 0, atol=1e-5)
    explained = scorer.explained(
        np.ones((2, len(scorer.features)), np.float32),
        np.ones((len(weights), len(scorer.features)), np.float32),
        histories,
        tags,
        np.array([[66, 67]] * 2),
        scorer.sums(histories),
    )
    assert explained.parts.falls[-1, 0] == pytest.approx(changes[:, 66].sum(), abs=1e-4)
