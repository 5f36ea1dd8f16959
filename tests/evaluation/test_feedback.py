from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from crossrec_cli.errors import InputError
from crossrec_cli.evaluation.feedback import Impressions

USERS = pa.table({"user_id": [f"u{n}" for n in range(300)]})
ITEMS = pa.table({"item_id": [f"i{n}" for n in range(20)]})


def shop(seed: int, biased: bool) -> tuple[Impressions, np.ndarray, float]:
    """Everybody likes items by their number; each user was shown ten of twenty, and wants the lists of the first five.

    Returns:
        The impressions, which of them stand in crossrec's lists, and what these lists would really bring an impression.
    """
    rng = np.random.default_rng(seed)
    chance = np.linspace(0.9, 0.1, 20)
    seen = np.clip(0.2 + 0.04 * np.arange(20), 0, 1) if biased else np.full(20, 0.5)
    shown = rng.random((300, 20)) < seen
    user, item = np.nonzero(shown)
    clicks = (rng.random(len(user)) < chance[item]).astype(float)
    rows = {"user_id": [f"u{u}" for u in user], "item_id": [f"i{i}" for i in item], "click": clicks}
    table = pa.table({**rows, "propensity": seen[item]})
    return Impressions.of(table, USERS, ITEMS, "file"), item < 5, float(chance[:5].mean())


def figures(found: Impressions, held: np.ndarray) -> dict[str, object]:
    rows = found.judged({5: held}, {"all": np.ones(len(held), bool)})
    return {row.measure: row for row in rows}


@pytest.mark.parametrize("biased", [False, True])
def test_snips_finds_what_the_lists_would_bring_though_the_log_showed_others(biased):
    """The truth is in the 95 % interval in at least 17 of 20 logs, and what was logged is far from it."""
    inside, values = 0, []
    for seed in range(20):
        found, held, truth = shop(seed, biased)
        snips = figures(found, held)["snips"]
        inside += snips.low <= truth <= snips.high
        values.append(snips.value)
        assert figures(found, held)["logged"].high < truth - 0.1
    assert inside >= 17
    assert np.mean(values) == pytest.approx(truth, abs=0.01)


def test_by_hand():
    rows = {
        "user_id": ["u1", "u1", "u2", "nobody"],
        "item_id": ["i1", "i2", "i1", "i1"],
        "rating": [4.0, None, 2.0, 5.0],
    }
    found = Impressions.of(pa.table({**rows, "rank": [2.0, 1.0, 4.0, 1.0]}), USERS, ITEMS, "file")
    assert found.propensity.tolist() == [0.5, 1.0, 0.25]
    told = figures(found, np.array([True, True, True]))
    assert told["logged"].value == pytest.approx((4 + 2) / 2), "who gave no rating says nothing"
    assert told["ips"].value == pytest.approx((2 * 4 + 4 * 2) / 2)
    assert told["snips"].value == pytest.approx((2 * 4 + 4 * 2) / (2 + 4))
    assert told["snips"].effective == pytest.approx(6**2 / (4 + 16))
    assert told["snips"].impressions == 2
    nothing = figures(found, np.zeros(3, bool))["snips"]
    assert np.isnan(nothing.value)
    assert nothing.effective == 0


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"rank": [1.0]}, "no column 'click', 'purchase' or 'rating'"),
        ({"click": [1.0]}, "needs exactly one of the columns 'rank' and 'propensity'"),
        ({"click": [1.0], "rank": [1.0], "propensity": [1.0]}, "needs exactly one"),
        ({"click": [1.0], "rank": [0.0]}, "row 1: rank is 0; it has to be at least 1"),
        ({"click": [1.0], "propensity": [0.0]}, "row 1: propensity is 0; it has to be above 0 and at most 1"),
    ],
)
def test_what_cannot_be_used_is_told(columns, told):
    with pytest.raises(InputError, match=f"^file.*{told}"):
        Impressions.of(pa.table({"user_id": ["u1"], "item_id": ["i1"], **columns}), USERS, ITEMS, "file")
