"""words: exact words in common, as brands, lines and models are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from crossrec_cli.artifacts import tables as t
from crossrec_cli.models.base import Scorer, TrainingData, rarity_weighted, term_counts, whole_and_target

NAME = "words"
WORD = re.compile(r"[^\W_]+")
COMMON = 0.1
"""A word in more than this share of the texts says little about an item, and costs the most."""


def words(data: TrainingData) -> Scorer:
    """The tf-idf cosine of words and pairs of neighbouring words."""
    vectors = rarity_weighted(term_counts(terms(text or "") for text in data.items[t.TEXT].to_pylist()), COMMON)
    return Scorer(NAME, vectors, whole_and_target(NAME, vectors, data))


def terms(text: str) -> Iterator[str]:
    """The words of a text in lower case, then each pair of neighbours."""
    found = [word.lower() for word in WORD.findall(text)]
    yield from found
    yield from (f"{first} {second}" for first, second in pairwise(found))
