"""words: exact words in common, such as brands, product lines and models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.models.base import NewItems, Scorer, TrainingData, history_features
from crossrec_cli.models.terms import Terms
from crossrec_cli.models.vectors import Matrix
from crossrec_cli.text.segment import marks, spaced

NAME = "words"
WORD = re.compile(rf"(?:[^\W_]|[{marks()}])+" if marks() else r"[^\W_]+")
COMMON = 0.1
"""A word in more than this share of the texts is skipped: it tells little about an item, and costs the most."""


def words(data: TrainingData) -> Scorer:
    """The tf-idf cosine of words and pairs of neighbouring words."""
    vocabulary, vectors = Terms.of(_lists(data.items), COMMON)
    features = history_features(NAME, vectors, data.is_target)
    return Scorer(NAME, vectors, features, {"rarity": vocabulary.rarity}, vocabulary.names)


def new_vectors(scorer: Scorer, new: NewItems) -> Matrix:
    """Vectors of new items."""
    return Terms(scorer.terms, scorer.state["rarity"]).vectors(_lists(new.items))


def _lists(items: pa.Table) -> Iterator[Iterator[str]]:
    return (terms(text or "") for text in items[c.TEXT].to_pylist())


def terms(text: str) -> Iterator[str]:
    """The words of a text in lower case, then each pair of neighbours."""
    words = [word.lower() for word in WORD.findall(spaced(text))]
    yield from words
    yield from (f"{first} {second}" for first, second in pairwise(words))
