"""attributes: the brand, the levels of the category path and the price band that an item shares with a history."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.data.cells import PATH
from crossrec_cli.models.base import Matrix, NewItems, Scorer, TrainingData, whole_and_target
from crossrec_cli.models.terms import Terms

NAME = "attributes"


def attributes(data: TrainingData) -> Scorer:
    """The cosine of what is known of the items in columns, rare values counting more. A missing value says nothing."""
    found, vectors = Terms.of(_lists(data.items))
    features = whole_and_target(NAME, vectors, data.is_target)
    return Scorer(NAME, vectors, features, {"rarity": found.rarity}, found.names)


def place(scorer: Scorer, new: NewItems) -> Matrix:
    """Vectors of new items."""
    return Terms(scorer.terms, scorer.state["rarity"]).vectors(_lists(new.items))


def _lists(items: pa.Table) -> Iterator[Iterator[str]]:
    columns = (items[name].to_pylist() for name in (c.BRAND, c.CATEGORY, c.PRICE_BAND))
    return (values(*row) for row in zip(*columns, strict=True))


def values(brand: str | None, category: str | None, band: str | None) -> Iterator[str]:
    """What an item's columns say, each value under a name of its own."""
    if brand:
        yield f"brand={brand}"
    if category:
        yield from (f"category={path}" for path in accumulate(category.split(PATH), f"{{}}{PATH}{{}}".format))
    if band:
        yield f"price={band}"
