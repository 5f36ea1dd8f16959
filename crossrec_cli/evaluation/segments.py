"""Which cases belong together: new users, new items, history length, and what the tables say of users and items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.models.histories import Cases, Histories
from crossrec_cli.models.ragged import Bools, Ints

ALL = c.ALL
LENGTHS = {"0": (0, 0), "1-2": (1, 2), "3-5": (3, 5), "6+": (6, 2**31)}
"""Target interactions that are given."""


def segments(histories: Histories, cases: Cases) -> dict[str, Bools]:
    """For each segment that has a case, its cases, bool (cases,); a case is in several.

    A cold user has no target history in what is given; a cold item nobody has in training.
    """
    item_stats = histories.item_stats
    in_target = histories.target_lengths(cases.users, cases.history_lengths)
    cold = np.bincount(cases.truth.rows[~item_stats.trained[cases.truth.values]], minlength=cases.count) > 0
    found = {
        ALL: np.ones(cases.count, bool),
        "warm": (in_target > 0) & ~cold,
        "cold user": in_target == 0,
        "cold item": cold,
    }
    found |= {
        f"target history {name}": (in_target >= low) & (in_target <= high) for name, (low, high) in LENGTHS.items()
    }
    return {name: chosen for name, chosen in found.items() if chosen.any()}


def described(items: pa.Table, users: pa.Table, cases: Cases) -> dict[str, Bools]:
    """The same by the wanted items' widest category and language, and by the users' platform and tags.

    What holds of every case makes no segment.

    Args:
        items: preprocess's, in the order of their indices.
        users: preprocess's.
        cases: what is asked.
    """
    rows, wanted = cases.truth.rows, cases.truth.values
    paths, languages = (items[name].to_pylist() for name in (c.CATEGORY, c.LANGUAGE))
    categories = [
        (int(row), paths[item].partition(" > ")[0]) for row, item in zip(rows, wanted, strict=True) if paths[item]
    ]
    spoken = [(int(row), languages[item]) for row, item in zip(rows, wanted, strict=True) if languages[item]]
    of_items = _parts("category", categories, cases.count) | _parts("language", spoken, cases.count)
    return of_items | described_users(users, cases.users)


def described_users(users: pa.Table, who: Ints) -> dict[str, Bools]:
    """By platform and tag, for each of these users, given by their indices; bool (who,)."""
    platforms, tags = (users[name].to_pylist() for name in (c.PLATFORM, c.TAGS))
    platform = [(row, platforms[user]) for row, user in enumerate(who) if platforms[user]]
    tag = [(row, tag) for row, user in enumerate(who) for tag in tags[user]]
    return _parts("platform", platform, len(who)) | _parts("tag", tag, len(who))


def _parts(kind: str, pairs: Sequence[tuple[int, str]], size: int) -> dict[str, Bools]:
    """From pairs of a place and a value of it, the places of each value."""
    found = {f"{kind} {value}": np.zeros(size, bool) for value in sorted({value for _, value in pairs})}
    for place, value in pairs:
        found[f"{kind} {value}"][place] = True
    return {name: chosen for name, chosen in found.items() if not chosen.all()}
