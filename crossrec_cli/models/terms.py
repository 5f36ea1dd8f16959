"""Items as bags of terms, such as words, weighted by how rare they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from crossrec_cli.models.vectors import Floats, scaled_columns, unit_rows


@dataclass(frozen=True)
class Terms:
    """The vocabulary of terms; tf-idf with a frequency of 1 (Spärck Jones 1972, https://doi.org/10.1108/eb026526)."""

    names: Sequence[str]
    """The term of each dimension."""
    rarity: Floats
    """Inverse document frequency: the logarithm of the number of items per item with the term."""

    @classmethod
    def of(cls, lists: Iterable[Iterable[str]], common: float = 1.0) -> tuple[Terms, csr_array]:
        """The terms of some items, and the items' vectors.

        Terms of only one item, or of more than a share of the items, are skipped.

        Args:
            lists: each item's terms.
            common: the share.
        """
        number: dict[str, int] = {}
        values, lengths = [], []
        for terms in lists:
            dimensions = [number.setdefault(term, len(number)) for term in dict.fromkeys(terms)]
            values += dimensions
            lengths.append(len(dimensions))
        frequency = np.bincount(values, minlength=len(number)) if values else np.zeros(0, np.int64)
        kept = np.flatnonzero((frequency > 1) & (frequency <= max(common * len(lengths), 2)))
        rarity = np.log(len(lengths) / frequency[kept]).astype(np.float32)
        names = list(number)
        counts = _counts(np.array(values, np.int64), lengths, max(len(number), 1))[:, kept]
        return cls([names[dimension] for dimension in kept], rarity), csr_array(
            unit_rows(scaled_columns(csr_array(counts), rarity))
        )

    @cached_property
    def number(self) -> dict[str, int]:
        """The dimension of each term."""
        return {name: dimension for dimension, name in enumerate(self.names)}

    def vectors(self, lists: Iterable[Iterable[str]]) -> csr_array:
        """Other items' vectors, of length 1; terms outside the vocabulary are skipped."""
        dimensions = [[self.number[term] for term in dict.fromkeys(terms) if term in self.number] for terms in lists]
        values = np.array([dimension for item_dimensions in dimensions for dimension in item_dimensions], np.int64)
        counts = _counts(values, [len(item_dimensions) for item_dimensions in dimensions], len(self.names))
        return csr_array(unit_rows(scaled_columns(counts, self.rarity)))


def _counts(values: np.ndarray, lengths: Sequence[int], width: int) -> csr_array:
    """1 where a list has a term, float32 (lists, width)."""
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return csr_array((np.ones(len(values), np.float32), values, starts), shape=(len(lengths), width))
