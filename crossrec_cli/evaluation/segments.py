"""Segments of cases: cold-start users and items, history length, and columns of the users and items tables."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crossrec_cli.artifacts import columns as c
from crossrec_cli.models.histories import Cases, Histories
from crossrec_cli.models.ragged import Ints, numbered

ALL = c.ALL
TARGET_LENGTHS = (0, 1, 3, 6)
"""Fewest target purchases in the history of each group of users."""


def length_labels() -> list[str]:
    """The groups' names: ``0``, ``1-2``, ``3-5``, ``6+``."""
    pairs = pairwise(TARGET_LENGTHS)
    labels = [f"{start}" if start == after - 1 else f"{start}-{after - 1}" for start, after in pairs]
    return [*labels, f"{TARGET_LENGTHS[-1]}+"]


def length_group(target_lengths: Ints) -> Ints:
    """The group of users with so many purchases in the target."""
    return np.searchsorted(TARGET_LENGTHS, target_lengths, side="right") - 1


def segments(histories: Histories, cases: Cases) -> dict[str, Ints]:
    """For each segment that has a case, the indices of its cases; a case is in several.

    A cold-start user has no target item in the given history; a cold-start item was not bought in training.
    """
    item_stats = histories.item_stats
    in_target = histories.target_purchases(cases.users, cases.history_lengths)
    cold = np.bincount(cases.truth.rows[~item_stats.trained[cases.truth.values]], minlength=cases.count) > 0
    all_segments = {
        ALL: np.ones(cases.count, bool),
        "warm": (in_target > 0) & ~cold,
        "cold user": in_target == 0,
        "cold item": cold,
    }
    group = length_group(in_target)
    all_segments |= {f"target history {label}": group == number for number, label in enumerate(length_labels())}
    return {name: np.flatnonzero(members) for name, members in all_segments.items() if members.any()}


def described(items: pa.Table, users: pa.Table, cases: Cases) -> dict[str, Ints]:
    """Segments by the true items' top category and language, and by the users' platform and tags; indices of cases.

    A value that all cases have gives no segment.

    Args:
        items: preprocess's table, in the order of their indices.
        users: preprocess's table.
        cases: the test cases.
    """
    rows, (category, language) = cases.truth.rows, _taken(items, [c.CATEGORY, c.LANGUAGE], cases.truth.values)
    top = pc.list_element(pc.split_pattern(category, c.PATH, max_splits=1), 0)
    of_items = _parts("category", rows, top, cases.count) | _parts("language", rows, language, cases.count)
    return of_items | described_users(users, cases.users)


def described_users(users: pa.Table, indices: Ints) -> dict[str, Ints]:
    """Segments of users, given by their indices, by platform and tag; positions in ``indices``."""
    platform, tags = _taken(users, [c.PLATFORM, c.TAGS], indices)
    parts = _parts("platform", np.arange(len(indices)), platform, len(indices))
    return parts | _parts("tag", pc.list_parent_indices(tags).to_numpy(), pc.list_flatten(tags), len(indices))


def _taken(table: pa.Table, names: Sequence[str], rows: Ints) -> list[pa.Array]:
    """Some rows of some columns."""
    return [column.combine_chunks() for column in table.select(names).take(rows).columns]


def _parts(kind: str, rows: Ints, values: pa.Array, size: int) -> dict[str, Ints]:
    """For each value, the rows that have it, of so many; from one row and value, or none, a pair."""
    has_value = pc.fill_null(pc.not_equal(values, ""), False)
    encoded = values.filter(has_value).dictionary_encode()
    names = encoded.dictionary.to_pylist()
    number = numbered(np.array(sorted(range(len(names)), key=names.__getitem__), np.int64), len(names))
    pairs = np.unique(number[encoded.indices.to_numpy()] * size + rows[has_value.to_numpy(zero_copy_only=False)])
    members = np.split(pairs % max(size, 1), np.searchsorted(pairs, np.arange(1, len(names)) * size))
    return {f"{kind} {name}": some for name, some in zip(sorted(names), members, strict=False) if len(some) < size}
