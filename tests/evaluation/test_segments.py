from __future__ import annotations

import numpy as np
import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.evaluation.segments import described, described_users
from crossrec_cli.models.histories import Cases
from crossrec_cli.models.ragged import Ragged

CATEGORIES = ["Food > Bread > Rye", "Food", "Éclairs > Small", "", None]


def tables(rng: np.random.Generator, size: int) -> tuple[pa.Table, pa.Table]:
    """Items and users, with values that are missing, and users who have no tag or several."""
    items = {
        c.CATEGORY: pa.array([CATEGORIES[one] for one in rng.integers(5, size=size)], pa.string()),
        c.LANGUAGE: pa.array([[None, "en", "de"][one] for one in rng.integers(3, size=size)], pa.string()),
    }
    tags = [[f"t{tag}" for tag in rng.choice(12, rng.integers(4), replace=False)] for _ in range(size)]
    users = {c.PLATFORM: pa.array(["web"] * size), c.TAGS: pa.array(tags, pa.list_(pa.string()))}
    return pa.table(items), pa.table(users)


def test_a_segment_has_the_cases_that_have_its_value():
    rng = np.random.default_rng(0)
    items, users = tables(rng, 60)
    cases = Cases(
        rng.permutation(60)[:40], np.ones(40, int), Ragged.of([rng.integers(60, size=3).tolist() for _ in range(40)])
    )
    expected: dict[str, set[int]] = {}
    for case, (user, truth) in enumerate(zip(cases.users.tolist(), cases.truth.values.reshape(40, 3), strict=True)):
        values = [f"tag {tag}" for tag in users[c.TAGS][user].as_py()]
        for item in truth.tolist():
            category, language = items[c.CATEGORY][item].as_py(), items[c.LANGUAGE][item].as_py()
            values += [f"category {category.split(' > ')[0]}"] if category else []
            values += [f"language {language}"] if language else []
        for value in values:
            expected.setdefault(value, set()).add(case)
    found = described(items, users, cases)
    assert {name: members.tolist() for name, members in found.items()} == {
        name: sorted(members) for name, members in expected.items() if len(members) < 40
    }
    kinds = ["category", "language", "tag"]
    assert list(found) == sorted(found, key=lambda name: (kinds.index(name.split()[0]), name)), "platform web is all"
    assert len(found) > 14


def test_whose_impressions_come_twice_is_in_a_segment_twice():
    users = pa.table({c.PLATFORM: ["web", "app", "web"], c.TAGS: [["new"], [], ["new", "vip"]]})
    found = described_users(users, np.array([2, 0, 1, 2]))
    assert {name: members.tolist() for name, members in found.items()} == {
        "platform app": [2],
        "platform web": [0, 1, 3],
        "tag new": [0, 1, 3],
        "tag vip": [0, 3],
    }
    assert described_users(users, np.empty(0, np.int64)) == {}
