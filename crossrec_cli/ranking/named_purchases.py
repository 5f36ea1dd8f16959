"""Which purchases the reasons of list entries name.

Shapes: n purchases of a history, k entries of its list; E entries of all lists, R purchases named for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import schemas
from crossrec_cli.models.ragged import Bools, Ints
from crossrec_cli.models.vectors import Floats


class NamedPurchases(NamedTuple):
    """The purchases named for some entries, one entry after the other, the strongest first."""

    counts: Ints
    """Number for each entry, (E,)."""
    items: Ints
    """(R,)."""
    in_target: Bools
    """(R,)."""
    scorers: Ints
    """The one with the largest part, (R,)."""
    parts: Floats
    """Of the score as log-odds, (R,)."""
    shares: Floats
    """Of all that raises the score in the history, (R,)."""

    @classmethod
    def of(cls, items: Ints, in_target: Bools, parts: Floats, falls: Floats, most: int) -> NamedPurchases:
        """The purchases of one history without which the scores fall most, of those that add to them.

        Args:
            items: of the purchases, oldest first, (n,).
            in_target: of the same, (n,).
            parts: what each adds to each entry by scorer, (scorers, n, k).
            falls: by how much the score falls without it, (n, k).
            most: how many are named at most for an entry.
        """
        part, rest = parts.sum(axis=0), max(len(falls) - most, 0)
        least = np.partition(falls, rest, axis=0)[rest] if len(falls) else 0  # of equal ones the oldest are named
        rows = np.flatnonzero((falls >= least).any(axis=1))
        best = rows[np.argsort(-falls[rows], axis=0, kind="stable")[:most]]
        raises = (np.take_along_axis(falls, best, axis=0) > 0) & (np.take_along_axis(part, best, axis=0) > 0)
        entry, number = np.nonzero(raises.T)
        named, positive = best[number, entry], np.maximum(part, 0).sum(axis=0)
        return cls(
            raises.sum(axis=0),
            items[named],
            in_target[named],
            parts[:, named, entry].argmax(axis=0),
            part[named, entry],
            (part[named, entry] / positive[entry]).astype(np.float32),
        )

    @classmethod
    def joined(cls, some: Sequence[NamedPurchases]) -> NamedPurchases:
        """Those of all entries; ``some`` is not empty."""
        return cls(*(np.concatenate(values) for values in zip(*some, strict=True)))

    def as_column(self, ids: pa.ChunkedArray, scorers: Sequence[str]) -> pa.ListArray:
        """As the column ``reasons``, with all items' ids and the scorers' names."""
        cells = {
            c.ITEM_ID: pc.take(ids, self.items).combine_chunks(),
            c.DOMAIN: pc.take(pa.array([c.SOURCE, c.TARGET]), self.in_target.astype(np.int64)),
            c.SCORER: pc.take(pa.array(scorers), self.scorers),
            c.PART: pa.array(self.parts),
            c.SHARE: pa.array(self.shares),
        }
        return as_lists(self.counts, schemas.WHY.field(c.REASONS).type, cells)


def as_lists(counts: Ints, kind: pa.ListType, cells: Mapping[str, pa.Array]) -> pa.ListArray:
    """Lists of structs, one after the other, with so many each."""
    fields = list(kind.value_type)
    structs = pa.StructArray.from_arrays([cells[field.name] for field in fields], fields=fields)
    offsets = pa.array(np.append(0, np.cumsum(counts)).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, structs, type=kind)
