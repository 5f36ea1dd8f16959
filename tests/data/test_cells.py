"""Words, ids, numbers, paths and lists that are read out of a cell."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from evaluated import LIST, check, read

from crossrec_cli.config.data_fields import Clean
from crossrec_cli.data import cells as c


def test_words_lose_the_space_around_them_whatever_kind_of_space():
    expected = {
        " a b ": "a b",
        "\ta\r\n": "a",
        "\u00a0a\u3000": "a",
        "\ufeffa": "a",
        "": None,
        " \u2003": None,
        None: None,
    }
    check(c.words, expected)


def test_words_of_text_stay_as_they_are_written():
    check(c.words, {word: word for word in ("00123", "1.0", "1e5", "null", "日本", "👩\u200d🚀")})


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
def test_words_of_numbers_are_those_that_a_text_file_would_hold(kind, expected):
    check(c.words, expected, kind)


def test_words_of_no_number_are_none():
    assert read(c.words, [float("nan")], pa.float64()) == [None]


def test_words_of_a_list_are_its_entries():
    cells = [["a", "b"], ["a", None, "b"], [], [None], [""], None]
    assert read(c.words, cells, LIST) == ["a\x1fb", "a\x1fb", None, None, None, None]


def test_an_identifier_holds_no_control_characters_and_is_no_list():
    words = {" 007 ": "007", "a b": "a b", "é": "é", "a\0": None, "\0": None, "a\nb": None, "": None}
    check(c.identifier, words)
    floats = {"13758.0": "13758", "-3.0": "-3", "0.0": "0", "1.50": "1.50", "01.0": "01.0", "1.0.0": "1.0.0"}
    check(c.identifier, floats | {"1234567890123456.0": "1234567890123456.0"})
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


def test_numbers_in_text():
    check(c.number, NUMBERS)


def test_what_is_no_number_or_not_finite_is_none():
    check(c.number, dict.fromkeys(NO_NUMBERS + NOT_FINITE))


def test_numbers_of_a_column_whose_decimals_are_commas():
    check(c.number, WITH_COMMAS, None, True)


def test_numbers_of_other_types():
    assert read(c.number, [1.5, float("nan"), float("-inf"), None], pa.float64()) == [1.5, None, None, None]
    assert read(c.number, [3, None], pa.int8()) == [3, None]
    assert read(c.number, [Decimal("1.50")], pa.decimal128(10, 2)) == [1.5]
    assert read(c.number, [["1"]], LIST) == [None]
    assert read(c.number, [datetime(2024, 5, 1)], pa.timestamp("us")) == [None]


def path_of(column, clean):
    return c.path(c.entries(column), clean)


def test_a_path_leads_from_wide_to_narrow():
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
    check(path_of, expected, None, Clean())


def test_a_path_from_a_list():
    cells = [["Food", "Fruit"], ["Food > Fruit", "Apples"], ["Food", None], [], None]
    expected = ["Food > Fruit", "Food > Fruit > Apples", "Food", None, None]
    assert read(path_of, cells, LIST, Clean()) == expected
    assert read(path_of, [[["Food", "Fruit"], ["Gifts"]]], pa.list_(LIST), Clean()) == ["Food > Fruit"]


def test_entries_of_a_list_in_json_or_as_python_writes_it():
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
    check(c.entries, expected)
