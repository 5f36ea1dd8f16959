"""Times that are read out of a cell, however people write them."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa
import pytest
from evaluated import LIST, check, read

from crossrec_cli.data import cells as c
from crossrec_cli.data.times import shape_of

NOON = datetime(2024, 5, 1, 12)
MIDNIGHT = datetime(2024, 5, 1)
SECONDS = 1714521600
"""Midnight."""


@pytest.mark.parametrize("kind", [pa.string(), pa.int64(), pa.float64(), pa.decimal128(20, 0)], ids=str)
def test_times_since_1970_in_any_unit_and_dates_as_numbers(kind):
    numbers = [SECONDS * 10**power for power in (0, 3, 6, 9)] + [20240501, 0, -86400]
    cells = pa.array(numbers).cast(kind, safe=False).to_pylist()
    expected = [MIDNIGHT] * 5 + [datetime(1970, 1, 1), datetime(1969, 12, 31)]
    assert read(c.moment, cells, kind) == expected


def test_times_in_text():
    expected = {
        "2024-05-01": MIDNIGHT,
        " 2024-05-01 ": MIDNIGHT,
        "2024-05-01T12:00": NOON,
        "2024-05-01 12:00:00": NOON,
        "2024-05-01T12:00:00Z": NOON,
        "2024-05-01 12:00:00 UTC": NOON,
        "2024-05-01T14:00:00+02:00": NOON,
        "2024-05-01T14:00:00+0200": NOON,
        "2024-05-01 14:00:00+02": NOON,
        "2024-05-01T17:30:00.25+05:30": NOON.replace(microsecond=250000),
        "2024-05-01T12:00:00.123456789": NOON.replace(microsecond=123456),
        f"{SECONDS}.5": MIDNIGHT.replace(microsecond=500000),
        "1.7145216e9": MIDNIGHT,
        "20240501120000": NOON,
        "202405011200": NOON,
        "01.05.2024": MIDNIGHT,
        "1.5.2024 12:00": NOON,
        "2024/05/01": MIDNIGHT,
        "2024/5/1 12:00:00": NOON,
        "2024-5-1": MIDNIGHT,
        "1 May 2024": MIDNIGHT,
        "01-May-2024 12:00": NOON,
        "May 1, 2024 12:00:00 PM": NOON,
        "1 may 2024, 12:00 am": MIDNIGHT,
        "1900-01-01": datetime(1900, 1, 1),
        "9999-12-31": datetime(9999, 12, 31),
    }
    check(c.moment, expected)


NO_TIMES = [
    *[None, "", " ", "soon", "now", "today", "epoch", "infinity", "05/01/2024", "01-05-2024", "1.5.24"],
    *["2024-02-30", "2024-13-01", "2024-05-01T25:00", "2024-05-01 12:00:00 sharp", "2024-05-01\0", "32.1.2024"],
    *["20241301", "20240230"],
    *["0000-01-01", "0000-00-00", "10000-01-01", "294247-01-10", "9999-12-31T23:59:59-05:00"],
    *["1e22", "1e300", "-1e300", "1e400", "nan", "inf", "-inf"],
]
"""Words, no such day, no such date in a number, no such year, too far away."""


def test_what_is_no_time_is_none():
    check(c.moment, dict.fromkeys(NO_TIMES))


@pytest.mark.parametrize(
    ("time_format", "cells"),
    [
        (
            "%d.%m.%Y %H:%M",
            {"1.5.2024 12:00": NOON, "01.05.2024 00:00": MIDNIGHT, "2024-05-01": None, "1.5.2024": None},
        ),
        ("%d/%m/%y", {"01/05/24": MIDNIGHT, "01/05/69": datetime(1969, 5, 1), "31/04/24": None}),
        ("%m/%d/%Y %I:%M:%S %p", {"05/01/2024 12:00:00 PM": NOON, "05/01/2024 12:00:00 AM": MIDNIGHT}),
        ("%Y%m%d%H%M%S", {"20240501120000": NOON, "202405011200": None}),
        ("%A, %d %B %Y", {"Wednesday, 01 May 2024": MIDNIGHT, "Wednesday, 01 Mai 2024": None}),
        ("%Y-%m-%dT%H:%M:%S.%f%z", {"2024-05-01T14:00:00.000+02:00": NOON, "2024-05-01T12:00:00.0Z": NOON}),
    ],
)
def test_times_in_a_format(time_format, cells):
    check(c.moment, cells, None, [shape_of(time_format)], True)


def test_numbers_in_a_format():
    check(c.moment, {20240501: MIDNIGHT, 1714521600: None}, pa.int64(), [shape_of("%Y%m%d")], True)


def test_numbers_too_far_away_are_no_times():
    cells = [1e22, 1e300, -1e300, float("nan"), float("inf"), float("-inf")]
    assert read(c.moment, cells, pa.float64()) == [None] * len(cells)
    assert read(c.moment, [2**63 - 1, -(2**63)], pa.int64())[0].year == 2262


@pytest.mark.parametrize(
    ("kind", "cell", "expected"),
    [
        (pa.timestamp("s"), NOON, NOON),
        (pa.timestamp("ns"), NOON, NOON),
        (pa.timestamp("us", "America/New_York"), NOON, NOON),
        (pa.date32(), MIDNIGHT.date(), MIDNIGHT),
        (pa.bool_(), True, None),
        (LIST, ["2024-05-01"], None),
        (pa.null(), None, None),
    ],
    ids=str,
)
def test_times_of_other_types(kind, cell, expected):
    assert read(c.moment, [cell], kind) == [expected]
