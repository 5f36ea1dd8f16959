"""Segments of cases: cold-start users and items, history length, and columns of the users and items tables."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.models.histories import Cases, Histories
from crossrec_cli.models.ragged import Bools, Ints

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


def segments(histories: Histories, cases: Cases) -> dict[str, Bools]:
    """For each segment that has a case, its cases, bool (cases,); a case is in several.

    A cold-start user has no target item in the given history; a cold-start item was not bought in training.
    """
    item_stats = histories.item_stats
    in_target = histories.target_lengths(cases.users, cases.history_lengths)
    cold = np.bincount(cases.truth.rows[~item_stats.trained[cases.truth.values]], minlength=cases.count) > 0
    all_segments = {
        ALL: np.ones(cases.count, bool),
        "warm": (in_target > 0) & ~cold,
        "cold user": in_target == 0,
        "cold item": cold,
    }
    group = length_group(in_target)
    all_segments |= {f"target history {label}": group == number for number, label in enumerate(length_labels())}
    return {name: members for name, members in all_segments.items() if members.any()}


def described(items: pa.Table, users: pa.Table, cases: Cases) -> dict[str, Bools]:
    """Segments by the true items' top category and language, and by the users' platform and tags.

    A value that all cases have gives no segment.

    Args:
        items: preprocess's table, in the order of their indices.
        users: preprocess's table.
        cases: the test cases.
    """
    rows, items_bought = cases.truth.rows, cases.truth.values
    paths, languages = (items[name].to_pylist() for name in (c.CATEGORY, c.LANGUAGE))
    categories = [
        (int(row), paths[item].partition(c.PATH)[0])
        for row, item in zip(rows, items_bought, strict=True)
        if paths[item]
    ]
    item_languages = [
        (int(row), languages[item]) for row, item in zip(rows, items_bought, strict=True) if languages[item]
    ]
    item_segments = _parts("category", categories, cases.count) | _parts("language", item_languages, cases.count)
    return item_segments | described_users(users, cases.users)


def described_users(users: pa.Table, indices: Ints) -> dict[str, Bools]:
    """Segments of users, given by their indices, by platform and tag; bool (indices,)."""
    platforms, tags = (users[name].to_pylist() for name in (c.PLATFORM, c.TAGS))
    platform = [(row, platforms[user]) for row, user in enumerate(indices) if platforms[user]]
    tag = [(row, tag) for row, user in enumerate(indices) for tag in tags[user]]
    return _parts("platform", platform, len(indices)) | _parts("tag", tag, len(indices))


def _parts(kind: str, pairs: Sequence[tuple[int, str]], size: int) -> dict[str, Bools]:
    """For each value, where it is; from pairs of an index and a value."""
    members_of = {f"{kind} {value}": np.zeros(size, bool) for value in sorted({value for _, value in pairs})}
    for index, value in pairs:
        members_of[f"{kind} {value}"][index] = True
    return {name: members for name, members in members_of.items() if not members.all()}
