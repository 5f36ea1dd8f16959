"""What is read out of a cell: a table of cells and readings for each kind, evaluated by DuckDB in one query."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import ibis
import pyarrow as pa
import pytest

from crossrec_cli.config.data_fields import Clean
from crossrec_cli.data import cells as c
from crossrec_cli.data.duck import REWRITTEN
from crossrec_cli.data.times import shape_of

LIST = pa.list_(pa.string())


@pytest.fixture(scope="module")
def read():
    """``read(values.number, cells)``: what the function makes of each of them."""
    connection = ibis.duckdb.connect()
    connection.raw_sql("SET TimeZone = 'UTC'")
    connection.raw_sql(REWRITTEN)

    def evaluated(function, cells, kind=None, *more):
        table = ibis.memtable(pa.table({"n": range(len(cells)), "cell": pa.array(cells, kind or pa.string())}))
        read = table.select("n", found=function(table["cell"], *more)).order_by("n")
        return connection.to_pyarrow(read)["found"].to_pylist()

    return evaluated


def check(read, function, expected, kind=None, *more):
    found = read(function, list(expected), kind, *more)
    assert dict(zip(expected, found, strict=True)) == expected


def test_words_lose_the_space_around_them_whatever_kind_of_space(read):
    expected = {
        " a b ": "a b",
        "\ta\r\n": "a",
        "\u00a0a\u3000": "a",
        "\ufeffa": "a",
        "": None,
        " \u2003": None,
        None: None,
    }
    check(read, c.words, expected)


def test_words_of_text_stay_as_they_are_written(read):
    check(read, c.words, {word: word for word in ("00123", "1.0", "1e5", "null", "日本", "👩\u200d🚀")})


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (pa.float64(), {1.0: "1", 2.5: "2.5", 1e15: "1000000000000000", -0.0: "0", 1e300: "1e+300", None: None}),
        (pa.float32(), {16777216.0: "16777216", None: None}),
        (pa.int64(), {2**63 - 1: "9223372036854775807", -3: "-3", None: None}),
        (pa.decimal128(38, 10), {Decimal("1234"): "1234", Decimal("1.5"): "1.5000000000"}),
        (pa.bool_(), {True: "true", None: None}),
        (pa.date32(), {date(2024, 5, 1): "2024-05-01"}),
    ],
    ids=str,
)
def test_words_of_numbers_are_those_that_a_text_file_would_hold(read, kind, expected):
    check(read, c.words, expected, kind)


def test_words_of_no_number_are_none(read):
    assert read(c.words, [float("nan")], pa.float64()) == [None]


def test_words_of_a_list_are_its_entries(read):
    cells = [["a", "b"], ["a", None, "b"], [], [None], [""], None]
    assert read(c.words, cells, LIST) == ["a\x1fb", "a\x1fb", None, None, None, None]


def test_an_identifier_holds_no_control_characters_and_is_no_list(read):
    check(
        read,
        c.identifier,
        {" 007 ": "007", "a b": "a b", "é": "é", "a\0": None, "\0": None, "a\nb": None, "": None},
    )
    floats = {"13758.0": "13758", "-3.0": "-3", "0.0": "0", "1.50": "1.50", "01.0": "01.0", "1.0.0": "1.0.0"}
    check(read, c.identifier, floats | {"1234567890123456.0": "1234567890123456.0"})
    assert read(c.identifier, [["a"], ["a", "b"], []], LIST) == ["a", None, None]
    assert read(c.identifier, [1.0, float("inf"), float("nan")], pa.float64()) == ["1", None, None]


NUMBERS = {
    "12": 12,
    " 12.99\n": 12.99,
    "007": 7,
    "+3": 3,
    "1.": 1,
    ".5": 0.5,
    "1e5": 1e5,
    "1.5E-3": 0.0015,
    # currencies
    "$12.99": 12.99,
    "$.50": 0.5,
    "€ 12,99": 12.99,
    "12,99 €": 12.99,
    "£5": 5,
    "¥1,200": 1200,
    "USD 12": 12,
    "US$ 12": 12,
    "EUR12.50": 12.5,
    "R$ 1.234,56": 1234.56,
    "Rs. 1,299": 1299,
    "5 zł": 5,
    "99c": 99,
    # thousands and decimals
    "1,234": 1234,
    "1,234.56": 1234.56,
    "1,234,567": 1234567,
    "1.234": 1.234,
    "1.234,56": 1234.56,
    "1.234.567": 1234567,
    "1.234.567,89": 1234567.89,
    "₹1,29,999": 129999,
    "0,5": 0.5,
    "0,123": 0.123,
    "12,3456": 12.3456,
    "1 234,50": 1234.5,
    "1\u00a0234,50": 1234.5,
    "1\u202f234,50": 1234.5,
    "1 000 000": 1e6,
    "1 2": 1,
    # Swiss
    "1'234.50": 1234.5,
    "CHF 1’234.50": 1234.5,
    "12.-": 12,
    "CHF 12.–": 12,
    # below zero
    "-5": -5,
    "- 5": -5,
    "−5": -5,
    "-$5": -5,
    "$-5": -5,
    "5-": -5,
    "($5.00)": -5,
    # the lower end
    "$9.99 - $19.99": 9.99,
    "9.99–19.99": 9.99,
    "from 14.99": 14.99,
    "From $5": 5,
    "10-20": 10,
    "12.99 19.99": 12.99,
    # a number with something behind it
    "4 of 5": 4,
    "50%": 50,
    "12 pcs": 12,
}
NO_NUMBERS = [
    None,
    "",
    " ",
    "-",
    "—",
    "$",
    ".",
    ",",
    "free",
    "n/a",
    "up to $5",
    ".a-box{margin:0}",
    "1,2,3",
    "1.2.3",
    "12,345,67",
    "true",
]
WITH_COMMAS = {
    "5.950": 5950,
    "1,234": 1.234,
    "750": 750,
    "12,99": 12.99,
    "12.99": 12.99,
    "$1.250": 1250,
    "0.123": 0.123,
}
NOT_FINITE = ["nan", "NaN", "inf", "-inf", "Infinity", "1e400", "-1e400"]


def test_numbers_in_text(read):
    check(read, c.number, NUMBERS)


def test_what_is_no_number_or_not_finite_is_none(read):
    check(read, c.number, dict.fromkeys(NO_NUMBERS + NOT_FINITE))


def test_numbers_of_a_column_whose_decimals_are_commas(read):
    check(read, c.number, WITH_COMMAS, None, True)


def test_numbers_of_other_types(read):
    assert read(c.number, [1.5, float("nan"), float("-inf"), None], pa.float64()) == [1.5, None, None, None]
    assert read(c.number, [3, None], pa.int8()) == [3, None]
    assert read(c.number, [Decimal("1.50")], pa.decimal128(10, 2)) == [1.5]
    assert read(c.number, [["1"]], LIST) == [None]
    assert read(c.number, [datetime(2024, 5, 1)], pa.timestamp("us")) == [None]


NOON = datetime(2024, 5, 1, 12)
MIDNIGHT = datetime(2024, 5, 1)
SECONDS = 1714521600
"""Midnight."""


@pytest.mark.parametrize("kind", [pa.string(), pa.int64(), pa.float64(), pa.decimal128(20, 0)], ids=str)
def test_times_since_1970_in_any_unit_and_dates_as_numbers(read, kind):
    numbers = [SECONDS * 10**power for power in (0, 3, 6, 9)] + [20240501, 0, -86400]
    cells = pa.array(numbers).cast(kind, safe=False).to_pylist()
    expected = [MIDNIGHT] * 5 + [datetime(1970, 1, 1), datetime(1969, 12, 31)]
    assert read(c.moment, cells, kind) == expected


def test_times_in_text(read):
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
    check(read, c.moment, expected)


@pytest.mark.parametrize(
    "cells",
    [
        [None, "", " ", "soon", "now", "today", "epoch", "infinity", "05/01/2024", "01-05-2024", "1.5.24"],
        ["2024-02-30", "2024-13-01", "2024-05-01T25:00", "2024-05-01 12:00:00 sharp", "2024-05-01\0", "32.1.2024"],
        ["20241301", "20240230"],
        ["0000-01-01", "0000-00-00", "10000-01-01", "294247-01-10", "9999-12-31T23:59:59-05:00"],
        ["1e22", "1e300", "-1e300", "1e400", "nan", "inf", "-inf"],
    ],
    ids=["words", "no such day", "no such date in a number", "no such year", "too far away"],
)
def test_what_is_no_time_is_none(read, cells):
    assert read(c.moment, cells) == [None] * len(cells)


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
def test_times_in_a_format(read, time_format, cells):
    check(read, c.moment, cells, None, [shape_of(time_format)], True)


def test_numbers_in_a_format(read):
    check(read, c.moment, {20240501: MIDNIGHT, 1714521600: None}, pa.int64(), [shape_of("%Y%m%d")], True)


def test_numbers_too_far_away_are_no_times(read):
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
def test_times_of_other_types(read, kind, cell, expected):
    assert read(c.moment, [cell], kind) == [expected]


def path_of(column, clean):
    return c.path(c.entries(column), clean)


def test_a_path_leads_from_wide_to_narrow(read):
    expected = {
        "Food": "Food",
        "Food > Fruit": "Food > Fruit",
        "Food>Fruit": "Food > Fruit",
        "Food|Fruit": "Food > Fruit",
        "Food | Fruit > Apples": "Food > Fruit > Apples",
        " > Food >> Fruit|": "Food > Fruit",
        "Food &gt; Fruit": "Food > Fruit",
        "Food &amp; Drink": "Food & Drink",
        "<b>Food</b> > Fruit": "Food > Fruit",
        '["Food", null, "Fruit"]': "Food > Fruit",
        "['Food', 'Fruit']": "Food > Fruit",
        '[["Food", "Fruit"], ["Gifts"]]': "Food > Fruit",
        "Food/Drink": "Food/Drink",
        "(none)": "(none)",
        "|": None,
        " > ": None,
        "[]": None,
        "": None,
        None: None,
    }
    check(read, path_of, expected, None, Clean())


def test_a_path_from_a_list(read):
    cells = [["Food", "Fruit"], ["Food > Fruit", "Apples"], ["Food", None], [], None]
    expected = ["Food > Fruit", "Food > Fruit > Apples", "Food", None, None]
    assert read(path_of, cells, LIST, Clean()) == expected
    assert read(path_of, [[["Food", "Fruit"], ["Gifts"]]], pa.list_(LIST), Clean()) == ["Food > Fruit"]


def test_entries_of_a_list_in_json_or_as_python_writes_it(read):
    deep = "[" * 100_000
    expected = {
        '["a", "b"]': "a\x1fb",
        "['a', 'b']": "a\x1fb",
        '[1, 2.5, null, true, "é"]': "1\x1f2.5\x1ftrue\x1fé",
        '[{"a": "é"}]': '{"a": "é"}',
        '["a", ["b"]]': 'a\x1f["b"]',
        '"a"': '"a"',
        '{"a": 1}': '{"a": 1}',
        "[sic] a title": "[sic] a title",
        "['a' 'b']": "['a' 'b']",  # of NumPy; to Python it is one word
        '["a"': '["a"',
        '["half \\ud83d", "whole \\ud83d\\ude80"]': "half \ufffd\x1fwhole 🚀",
        deep: deep,
        None: None,
    }
    check(read, c.entries, expected)


MARKUP = {
    "<b>Rock</b> &amp; <i>Roll</i>": "Rock & Roll",
    "a<br>b<BR/>c": "a b c",
    '<a href="x>y" class=z>link</a>': "link",
    "<ul>\n<li>a</li><li>b</li></ul>": "a b",
    "<o:p>a</o:p>": "a",
    "<script>alert('<b>')</script>a": "a",
    '<SCRIPT type="x">\nlet b = 1 < 2\n</SCRIPT >a<style>p {c: d}</style>b': "a b",
    "a<!-- c\n<b> -->b": "a b",
    "<p></p>": None,
    "&lt;b&gt;a&lt;/b&gt;": "a",
    "R&amp;amp;B": "R&B",
    "&amp;#39;n&#39;": "'n'",
    "&#x1F680; &euro;5 5&quot;": '🚀 €5 5"',
    "&#0;a&#xD800;": "\ufffda\ufffd",
    "AT&T & &bogus;": "AT&T & &bogus;",
    "3 < 4": "3 < 4",
    "3<4 and 5>4": "3<4 and 5>4",
    "if a < b > c": "if a < b > c",
    "I <3 you": "I <3 you",
    "a <b": "a <b",
}
CONTROL = {
    "a\0b\x07c": "a b c",
    "a\tb\nc\r\nd": "a b c d",
    "a\x7fb\x85c\x9fd": "a b c d",
    "a\u00a0b\u2003c\u3000d\u2028e": "a b c d e",
    "\ufeffa\ufeff": "a",
    "  a   b  ": "a b",
    "\x1f": None,
    "\u200b\u00ad": None,
    "": None,
    None: None,
}
COMPATIBLE = {
    "ﬁne": "fine",
    "Ⅳ ②": "IV 2",
    "ｆｕｌｌ": "full",
    "e\u0301": "é",
    "ﻻ": "لا",
    "10 m²": "10 m2",
    "™": "TM",
}
AS_IT_IS = [
    "中文 标题",
    "日本語のタイトル",
    "한국어 제목",
    "كِتَابٌ جَدِيد",
    "می\u200cخواهم",
    "\u200fעברית\u200f",
    "हिन्दी क्\u200dष",
    "ภาษาไทย",
    "Ελληνικά",
    "Straße",
    "👩\u200d🚀",
    "👩🏽\u200d🤝\u200d👨🏻",
    "🇩🇪🇫🇷",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "❤\ufe0f\u200d🔥",
    "1\ufe0f⃣",
]


@pytest.mark.parametrize(
    "expected",
    [MARKUP, CONTROL, COMPATIBLE, {text: text for text in AS_IT_IS}],
    ids=["markup", "control", "compatible", "as it is"],
)
def test_texts_for_people(read, expected):
    check(read, c.plain, expected, None, Clean())


def test_each_cleaning_of_texts_can_be_left_out(read):
    text = "<b>ﬁ&amp;</b>\ta"
    for switch, expected in (
        ("markup", "<b>fi&amp;</b> a"),
        ("nfkc", "ﬁ& a"),
        ("control_characters", "fi& \ta"),
    ):
        assert read(c.plain, [text], None, Clean(**{switch: False})) == [expected]
