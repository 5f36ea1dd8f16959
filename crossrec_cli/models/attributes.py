"""attributes: the brand, the levels of the category path and the price band that an item shares with a history."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from crossrec_cli.artifacts import tables as t
from crossrec_cli.data.values import PATH
from crossrec_cli.models.base import Scorer, TrainingData, rarity_weighted, term_counts, whole_and_target

NAME = "attributes"


def attributes(data: TrainingData) -> Scorer:
    """The cosine of what is known of the items in columns, rare values counting more. A missing value says nothing."""
    columns = (data.items[name].to_pylist() for name in (t.BRAND, t.CATEGORY, t.PRICE_BAND))
    vectors = rarity_weighted(term_counts(values(*row) for row in zip(*columns, strict=True)))
    return Scorer(NAME, vectors, whole_and_target(NAME, vectors, data))


def values(brand: str | None, category: str | None, band: str | None) -> Iterator[str]:
    """What an item's columns say, each value under a name of its own."""
    if brand:
        yield f"brand={brand}"
    if category:
        yield from (f"category={path}" for path in accumulate(category.split(PATH), f"{{}}{PATH}{{}}".format))
    if band:
        yield f"price={band}"
