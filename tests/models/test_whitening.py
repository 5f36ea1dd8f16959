"""Texts that a language model crowds into a cone, spread."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from crossrec_cli.artifacts import columns as c
from crossrec_cli.models.whitening import Whitening


def test_whitened_directions_are_uncorrelated_and_more_alike():
    rng = np.random.default_rng(0)
    skewed = (rng.normal(size=(5000, 6)) * [100, 30, 10, 3, 1, 0.3] + 5).astype(np.float32)
    covariance = np.cov(Whitening.of(skewed)(skewed).T, bias=True)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-4)
    assert np.diag(covariance).sum() == pytest.approx(1, abs=1e-3)
    assert np.linalg.cond(covariance) < np.linalg.cond(np.cov(skewed.T)) / 5


def test_whitening_a_small_catalogue_keeps_alike_texts_near_each_other():
    """With as many directions as items, full whitening would make all distances equal."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(4), 10)
    embeddings = (3 * rng.normal(size=(4, 64))[group] + rng.normal(size=(40, 64))).astype(np.float32)
    after = Whitening.of(embeddings)(embeddings)
    after /= np.linalg.norm(after, axis=1, keepdims=True)
    alike, same = after @ after.T, group[:, None] == group
    assert alike[same & ~np.eye(40, dtype=bool)].min() > alike[~same].max()


@pytest.mark.parametrize("items", [1, 2, 5])
def test_whitening_stands_few_or_equal_texts(items):
    equal = np.ones((items, 4), np.float32)
    white = Whitening.of(equal)
    assert np.isfinite(white.matrix).all()
    assert not white(equal).any()


def test_directions_have_length_1_and_an_item_without_text_has_none():
    embeddings = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    texts = pa.array([None, *["a"] * 8], pa.string())
    found = Whitening.of(embeddings).directions(embeddings, pa.table({c.TEXT: texts}))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [0, *[1] * 8], atol=1e-5)
