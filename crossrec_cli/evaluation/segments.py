"""Which cases belong together: new users, new items, history length, and what the tables say of users and items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from crossrec_cli.artifacts import tables as t
from crossrec_cli.interest.batches import Bools, Cases, Histories, Ints

ALL = "all"
LENGTHS = {"0": (0, 0), "1-2": (1, 2), "3-5": (3, 5), "6+": (6, 2**31)}
"""Target interactions that are given."""


def segments(histories: Histories, cases: Cases) -> dict[str, Bools]:
    """For each segment that has a case, its cases, bool (cases,); a case is in several.

    A cold user has no target history in what is given; a cold item nobody has in training.
    """
    domain = histories.domain
    in_target = histories.target_lengths(cases.users, cases.history_lengths)
    cold = np.bincount(cases.truth.rows[~domain.trained[cases.truth.values]], minlength=cases.count) > 0
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
    categories = [(path or "").partition(" > ")[0] for path in items[t.CATEGORY].to_pylist()]
    tags = users[t.TAGS].to_pylist()
    tagged = [(case, tag) for case, user in enumerate(cases.users) for tag in tags[user]]
    facts = {
        "category": _pairs(rows, [categories[item] for item in wanted]),
        "language": _pairs(rows, [items[t.LANGUAGE][int(item)].as_py() for item in wanted]),
        "platform": _pairs(np.arange(cases.count), [users[t.PLATFORM][int(user)].as_py() for user in cases.users]),
        "tag": tagged,
    }
    found: dict[str, Bools] = {}
    for kind, pairs in facts.items():
        for value in sorted({value for _, value in pairs}):
            chosen = np.zeros(cases.count, bool)
            chosen[[case for case, other in pairs if other == value]] = True
            found |= {} if chosen.all() else {f"{kind} {value}": chosen}
    return found


def _pairs(cases: Sequence[int] | Ints, values: Sequence[str | None]) -> list[tuple[int, str]]:
    return [(int(case), value) for case, value in zip(cases, values, strict=True) if value]
