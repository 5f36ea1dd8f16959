"""What every scorer promises, whatever it knows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import shops

from crossrec_cli.artifacts import tables as t
from crossrec_cli.interest.batches import Ragged
from crossrec_cli.models.base import Scorer, TrainingData, products
from crossrec_cli.models.scorers import SCORERS

LONG = 60_000


@pytest.fixture(scope="module")
def data() -> TrainingData:
    """A shop with everything: texts, columns, tags and times; item 3 has no text, item 70 no training purchase."""
    rng = np.random.default_rng(0)
    data, *_ = shops.shop("words")
    items, users = data.items.num_rows, data.histories.users
    texts = data.items[t.TEXT].to_pylist()
    texts[3] = None
    columns = {
        t.TEXT: pa.array(texts),
        t.BRAND: pa.array(rng.choice(["ours", "theirs", None], items)),
        t.CATEGORY: pa.array(rng.choice(["A > B", "A > C", "D", None], items)),
        t.PRICE_BAND: pa.array(rng.choice(["low", "high", None], items)),
    }
    embeddings = data.embeddings.copy()
    embeddings[3] = 0
    domain = replace(data.histories.domain, popularity=data.histories.domain.popularity * (np.arange(items) != 70))
    histories = replace(data.histories, tags=Ragged.of(rng.integers(0, 4, (users, 2)).tolist()), domain=domain)
    times = np.arange(len(histories.items.values)) * 10**10
    return TrainingData(histories, pa.table(columns), embeddings, times)


@pytest.fixture(scope="module", params=sorted(SCORERS))
def scorer(request: pytest.FixtureRequest, data: TrainingData) -> Scorer:
    return SCORERS[request.param](data, 7)[0]


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
        parts = chosen.parts(histories, tags, listed)
        assert parts.shape == (len(histories.values), 15)
        summed = np.stack([np.bincount(histories.rows, column, 9) for column in parts.T], axis=1)
        whole = products(chosen.user_vectors(histories, tags), scorer.item_vectors)[:, 60:75]
        np.testing.assert_allclose(summed, whole if hasattr(feature, "with_decay") else 0 * whole, atol=1e-5)


def test_later_purchases_count_more_and_the_target_part_apart(data: TrainingData) -> None:
    whole, target = SCORERS["text"](data, 7)[0].features
    histories = Ragged.of([[0, 61, 1, 62], [62]])
    np.testing.assert_allclose(whole.with_decay(0.5)._weights(histories), [1 / 8, 1 / 4, 1 / 2, 1, 1])
    np.testing.assert_allclose(target.with_decay(0.5)._weights(histories), [0, 1 / 2, 0, 1, 1])
