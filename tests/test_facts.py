"""A fact counts where it stands as a whole."""

from __future__ import annotations

import pytest
from facts import lacking


@pytest.mark.parametrize(
    ("text", "fact", "stands"),
    [
        ("row 3: no time", "row 3", True),
        ("row 3: no time", 3, True),
        ("row 13", 3, False),
        ("row 3.5 of 3,500", 3, False),
        ("1.3 and 1,3", 3, False),
        ("2, 3, and 3.", 3, True),
        ("'texts' are", "text", False),
        ("encoder.model: x", "model", True),
        ("set encoder.model.", "encoder.model", True),
        ("a.csv.gz", ".gz", True),
        ("(unknown item 12)", "unknown item 1", False),
    ],
)
def test_a_fact_is_no_part_of_a_longer_word_or_number(text, fact, stands):
    assert lacking(text, fact) == ([] if stands else [str(fact)])
