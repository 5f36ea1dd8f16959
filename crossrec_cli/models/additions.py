"""Items that came after training, and their vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet, schemas
from crossrec_cli.models.fused import FusedModel
from crossrec_cli.models.saved import read_vectors
from crossrec_cli.models.vectors import Matrix, rows_after


@dataclass(frozen=True)
class Additions:
    """Items that came after training."""

    items: pa.Table
    """Rows of ``schemas.ITEMS``."""
    vectors: Mapping[str, Matrix]
    """By scorer, (items, d)."""

    @classmethod
    def none(cls, fused: FusedModel) -> Additions:
        """No items."""
        return cls(schemas.ITEMS.empty_table(), {scorer.name: scorer.item_vectors[:0] for scorer in fused.scorers})

    @classmethod
    def load(cls, path: Path, fused: FusedModel) -> Additions:
        """Read the items that were added earlier."""
        return cls(parquet.read_table(path, schemas.ITEMS.names), read_vectors(path, fused.names)[1])

    def followed_by(self, items: pa.Table, vectors: Mapping[str, Matrix]) -> Additions:
        """These and further ones, which replace those with the same ids."""
        kept_rows = parquet.row_indices(self.items[c.ITEM_ID], items[c.ITEM_ID]) < 0
        earlier = self.items.filter(pa.array(kept_rows))
        all_vectors = {name: rows_after(self.vectors[name][kept_rows], more) for name, more in vectors.items()}
        return Additions(pa.concat_tables([earlier, items]), all_vectors)
