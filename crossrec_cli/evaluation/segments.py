"""Which cases belong together: those of new users, of new items, and by how much target history is given."""

from __future__ import annotations

import numpy as np

from crossrec_cli.interest.batches import Bools, Cases, Histories

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
