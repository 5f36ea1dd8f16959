"""attributes: the brand, the levels of the category path and the price band that an item shares with a history."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.models.base import NewItems, Scorer, TrainingData, history_features
from crossrec_cli.models.terms import Terms
from crossrec_cli.models.vectors import Matrix

NAME = "attributes"


def attributes(data: TrainingData) -> Scorer:
    """The cosine of items' column values, rare values counting more. A missing value does not count."""
    vocabulary, vectors = Terms.of(_lists(data.items))
    features = history_features(NAME, vectors, data.is_target)
    return Scorer(NAME, vectors, features, {"rarity": vocabulary.rarity}, vocabulary.names)


def new_vectors(scorer: Scorer, new: NewItems) -> Matrix:
    """Vectors of new items."""
    return Terms(scorer.terms, scorer.state["rarity"]).vectors(_lists(new.items))


def _lists(items: pa.Table) -> Iterator[Iterator[str]]:
    columns = (items[name].to_pylist() for name in (c.BRAND, c.CATEGORY, c.PRICE_BAND))
    return (values(*row) for row in zip(*columns, strict=True))


def values(brand: str | None, category: str | None, band: str | None) -> Iterator[str]:
    """An item's column values as terms that are unique among columns."""
    if brand:
        yield f"brand={brand}"
    if category:
        yield from (f"category={path}" for path in accumulate(category.split(c.PATH), f"{{}}{c.PATH}{{}}".format))
    if band:
        yield f"price={band}"
