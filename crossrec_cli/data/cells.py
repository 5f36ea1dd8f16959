"""Expressions that read a file's cells: words, numbers, times, plain text; the same on every engine."""

from __future__ import annotations

import ast
import html
import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from sys import float_info
from typing import Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc

from crossrec_cli.artifacts import columns as c
from crossrec_cli.config.data_fields import Clean
from crossrec_cli.data.ids import CONTROL, FLOAT, SPACE
from crossrec_cli.data.times import CLEAR, DIGITS, Shape, instant, rewritten, written_as

BETWEEN = "\x1f"
"""Between the entries of a list as text: the control character for this purpose."""
EITHER_POINT, EITHER_COMMA = r"^[-+]?[1-9]\d{0,2}\.\d{3}$", r"^[-+]?[1-9]\d{0,2},\d{3}$"
"""Numbers whose separator may be of thousands or of decimals."""
ISO = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}(:?\d{2})?)?)?$"
EXCEL_DAYS = (32_874, 73_050.999_999_99)
"""1990 to 2099 in days since the end of 1899, as Excel counts. As seconds they would be of 1 January 1970."""
_FROM_1899_TO_1970 = 25_569
FARTHEST = 2.6e14
"""Milliseconds from 1970 to just beyond the year 9999."""


def words(column: ir.Column) -> ir.StringValue:
    """Text without space around it, null if empty. 1.0 becomes 1: missing values turn a column of integers into floats.

    A list becomes its entries with ``BETWEEN`` between them; a list of lists, the entries of the first.
    """
    return trimmed(_text(column)) if _may_hold_space(column) else _text(column)


def identifier(column: ir.Column) -> ir.StringValue:
    """``words`` of an id; null if it is infinite, a list, or has control characters, as in a damaged file.

    The text 13758.0 becomes 13758, since such a column was floats before it was text.
    """
    if column.type().is_floating():
        column = _finite(column)
    text = _text(column)
    if not _may_hold_space(column):
        return text
    stripped = rewritten(text.re_replace(rf"^{SPACE}+|{SPACE}+$", ""), FLOAT, "$1")
    usable = stripped.re_replace(rf"(?s)^.*{CONTROL}.*$", "").nullif("")
    return text.re_search(rf"^{SPACE}|{SPACE}$|^$|{CONTROL}|\d\.0$").ifelse(usable, text)


def inexact(column: ir.FloatingColumn) -> ir.BooleanValue:
    """Whether a float is not exactly one integer, so that two different ids may have become equal."""
    exact = (column.abs() < 2.0 ** exact_bits(column)) & (column.try_cast("int64") == column)
    return (_finite(column).notnull() & ~exact).fill_null(False)


def exact_bits(column: ir.FloatingColumn) -> int:
    """Below two to this power every integer has a float of this type of its own."""
    return {2: 11, 4: 24, 8: 53}[column.type().nbytes]


def _may_hold_space(column: ir.Column) -> bool:
    return not (column.type().is_numeric() or column.type().is_temporal())


def trimmed(text: ir.StringValue) -> ir.StringValue:
    """Without space around it, null if empty. Most texts need no change, and the check costs a fifth of it."""
    return text.re_search(rf"^{SPACE}|{SPACE}$|^$").ifelse(_stripped(text), text)


def _stripped(text: ir.StringValue) -> ir.StringValue:
    return text.re_replace(rf"^{SPACE}+|{SPACE}+$", "").nullif("")


def _text(column: ir.Column) -> ir.StringValue:
    kind = column.type()
    if kind.is_array():
        column = column[0] if kind.value_type.is_array() else column
        return column.cast("array<string>").join(BETWEEN)
    if kind.is_floating():
        column = column.isnan().ifelse(ibis.null(kind), column)
    if kind.is_floating() or kind.is_decimal():
        integer = column.try_cast("int64")
        return ibis.ifelse(column == integer, integer.cast("string"), column.cast("string"))
    return column.cast("string")


def number(column: ir.Column, comma: bool = False) -> ir.FloatingValue:
    """A number, also from text with a currency, thousands separators or a decimal comma; of a range the lower end.

    ``1,234,567`` and ``1.234.567`` have thousands; ``12,99``, ``0,123`` and ``1.234,50`` have a decimal comma. For
    ambiguous ones the column's other numbers decide: ``1,234`` has thousands and ``1.234`` a decimal point, or with
    ``comma`` the other way round. ``5-`` and ``(5)`` are below zero. Null without a number, or if it is infinite.
    """
    value = column.try_cast("float64")
    if column.type().is_string():
        if comma:
            value = column.re_search(EITHER_POINT).ifelse(ibis.null("float64"), value)
        rest = value.isnull().ifelse(column, ibis.null("string"))  # otherwise the engine parses all of them
        value = ibis.coalesce(value, _plain_figure(_figure(rest), rest, comma).try_cast("float64"))
    return _finite(value)


def decimal_evidence(column: ir.StringColumn) -> dict[str, ir.IntegerScalar]:
    """Evidence about a column's decimal separator.

    Returns:
        The number of cells with a comma that must be decimal, with a point that must be, with a point that may be of
        thousands too, and of integers of up to three digits and of more.
    """
    figure = _figure(column)
    tests = {
        "comma": figure.re_search(r"^\d*,(\d{1,2}|\d{4,})$|^0*,\d+$|^0,|\.\d{3},\d|\.\d{3}\."),
        "point": figure.re_search(r"^\d*\.(\d{1,2}|\d{4,})$|^0*\.\d+$|^0\.|,\d{3}\.\d|,\d{3},|^\d,\d\d,"),
        "either_point": figure.re_search(EITHER_POINT),
        "small": figure.re_search(r"^\d{1,3}$"),
        "large": figure.re_search(r"^\d{4,}$"),
    }
    return {name: test.sum() for name, test in tests.items()}


def decimal_comma(comma: int, point: int, either_point: int, small: int, large: int) -> bool:
    """Whether a column's decimals are commas, by ``decimal_evidence``.

    If no number decides it, 5.950 next to 750, without a 5950, is thousands: three decimals everywhere are rare.
    """
    if comma or point:
        return comma > point
    return bool(either_point and small and not large)


def _finite(number: ir.NumericColumn) -> ir.FloatingValue:
    """Null if it is infinite or NaN, which both engines sort above all other numbers."""
    return (number.abs() <= float_info.max).ifelse(number, ibis.null(number.type()))


def _figure(text: ir.StringValue) -> ir.StringValue:
    """The digits, separators and decimals of the number at the start of a text, after a currency."""
    currency, sign = r"(?:[A-Za-z]{1,3}\.?|[^\d\s.,+\x{2212}-]{1,3}(?:\.\s)?)\s?", r"[-+\x{2212}]?\s*"
    digits = r"\d{1,3}(?:['’ \x{a0}\x{202f}]\d{3})+(?:[.,]\d*)?|\d[\d.,]*|[.,]\d+"
    figure = text.re_extract(rf"^\s*(?:[Ff]rom\s)?{sign}(?:{currency})?{sign}({digits})(?:\D|$)", 1)
    return figure.re_replace(r"['’ \x{a0}\x{202f}]|[.,]$", "")


def _plain_figure(figure: ir.StringValue, text: ir.StringValue, comma: bool) -> ir.StringValue:
    """The number with its sign and a decimal point only."""
    by_comma = r"^[1-9]\d{0,2}(,\d{3}){2,}(\.\d*)?$|^[1-9]\d{0,2},\d{3}\.\d*$|^[1-9]\d?(,\d\d)+,\d{3}(\.\d*)?$"
    by_point = r"^\d{1,3}(\.\d{3})+,\d*$|^\d{1,3}(\.\d{3}){2,}$"
    by_comma, by_point = (by_comma, f"{by_point}|{EITHER_POINT}") if comma else (f"{by_comma}|{EITHER_COMMA}", by_point)
    plain = ibis.cases(
        (figure.re_search(by_comma), figure.replace(",", "")),
        (figure.re_search(by_point), figure.replace(".", "")),
        else_=figure,
    )
    below_zero = text.re_search(r"^[^\d.,]*[-\x{2212}]|\d-\s*$|^\s*\(\D{0,4}[\d.,]+\)\s*$")
    return below_zero.ifelse("-", "") + plain.replace(",", ".")


def moment(
    column: ir.Column, shapes: Sequence[Shape] = CLEAR, only: bool = False, excel_days: bool = False
) -> ir.TimestampValue:
    """UTC, from a time, ISO 8601 text, a number since 1970 in any common unit, 20240501, 20240501120000, or a shape.

    Null before the year 1 and after 9999, which Python and pandas do not have.

    Args:
        column: the cells.
        shapes: other formats of times; the first that matches is used.
        only: whether text and numbers are read by the shapes only.
        excel_days: whether numbers in ``EXCEL_DAYS`` are days, with the time of day as fraction.
    """
    if column.type().is_numeric() and not only:
        time = _of_number(_without_days(column.cast("float64"), excel_days))
    elif column.type().is_numeric() or column.type().is_string():
        text = _stripped(_text(column))
        value = (text.replace(",", ".") if excel_days else text).try_cast("float64")
        readings = [] if only else [_iso(text), _of_number(_without_days(value, excel_days))]
        time = ibis.coalesce(*readings, *(written_as(text, shape) for shape in shapes))
    else:
        time = column.try_cast("timestamp(6)")
    return _in_range(time)


def iso_moment(column: ir.StringColumn) -> ir.TimestampValue:
    """As ``moment``, for a column whose every cell is ``ISO``: none of the other readings would give more."""
    return _in_range(_iso(_stripped(column)))


def _in_range(time: ir.TimestampValue) -> ir.TimestampValue:
    return time.between(datetime.min, datetime.max).ifelse(time, ibis.null("timestamp(6)"))


def _iso(text: ir.StringValue) -> ir.TimestampValue:
    """ISO 8601 only: engines differ in which other texts they accept as times."""
    iso = text.re_search(r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?$").ifelse(text, ibis.null("string"))
    return instant(iso)


def _without_days(value: ir.FloatingValue, excel_days: bool) -> ir.FloatingValue:
    """Numbers of days as milliseconds since 1970."""
    if not excel_days:
        return value
    return value.between(*EXCEL_DAYS).ifelse((value - _FROM_1899_TO_1970) * 86_400_000, value)


def _of_number(value: ir.FloatingValue) -> ir.TimestampValue:
    """A number of the size of a date from 1900 to 2100 is a date, or null; else the size decides the unit.

    A date may have hours and minutes, and seconds after it. Seconds since 1970 reach 10^11 in the year 5138;
    milliseconds reached it in 1973. A date read as seconds would be a time in August 1970, with hours and minutes one
    in 1976, with seconds too one in 2572.
    """
    size = value.abs()
    milliseconds = ibis.cases(
        (size < 1e11, value * 1000), (size < 1e14, value), (size < 1e17, value / 1e3), else_=value / 1e6
    )
    milliseconds = (milliseconds.abs() < FARTHEST).ifelse(milliseconds, ibis.null("float64"))
    since_1970 = _since_1970(milliseconds.round().cast("int64")).cast("timestamp(6)")
    sizes = [value.between(19000101 * 10**zeros, 21001231 * 10**zeros + 10**zeros - 1) for zeros in (0, 4, 6)]
    digits = value.try_cast("int64").cast("string").rpad(14, "0")
    return ibis.or_(*sizes).ifelse(written_as(digits, DIGITS), since_1970)


def _milliseconds(number: Any) -> Any:
    """DuckDB's function. Ibis has none for Spark, so ``spark.py`` creates one of the same name."""


_since_1970: Callable[[ir.IntegerValue], ir.TimestampValue] = ibis.udf.scalar.builtin(
    _milliseconds, name="epoch_ms", signature=((dt.int64,), dt.Timestamp(scale=6))
)


def path(text: ir.StringValue, clean: Clean) -> ir.StringValue:
    """A category from wide to narrow, from ``entries`` of a list or of text with ``>`` or ``|``."""
    text = plain(text, clean).re_replace(rf"\s*[>|{BETWEEN}]\s*", c.PATH)
    return text.re_replace(r"^( > )+|( > )+$", "").re_replace(r"( > ){2,}", c.PATH).nullif("")


def entries(column: ir.Column) -> ir.StringValue:
    """``words``, also of a list written as JSON or as Python prints it."""
    text = words(column)
    return text.startswith("[").ifelse(_json_entries(text), text) if column.type().is_string() else text


TAG = (
    r"(?is)<(script|style)\b.*?</(script|style)\s*>|<!--.*?-->"
    r"""|<[a-z][a-z0-9]*(\s+[a-z-]+(\s*=\s*("[^"]*"|'[^']*'|[^\s"'<>]+))?)*\s*/?>|</?[a-z][^<>]*>"""
)
"""Not every "<" is a tag: "3 < 4" and "<3" are not."""


def plain(text: ir.StringValue, clean: Clean) -> ir.StringValue:
    """Text for people: without markup and control characters, in one Unicode form, null if nothing is left."""
    # Plain ASCII words, most of a catalogue, need no change.
    return text.re_search(r"[^ -~]|  |[<&]|^ | $|^$").ifelse(_cleaned(text, clean), text)


def _cleaned(text: ir.StringValue, clean: Clean) -> ir.StringValue:
    if clean.markup:
        text = text.contains("&").ifelse(_unescaped(text), text)
        text = text.re_replace(TAG, " ")
    if clean.nfkc:
        text = _compatible(text)
    if clean.control_characters:
        # U+200D, which joins emoji, and the marks of right-to-left text are no control characters.
        text = text.re_replace(r"[\x00-\x1e\x7f-\x{9f}\x{feff}]+", " ").re_replace(r"[\p{Z}\s]+", " ")
    return text.strip().re_replace(r"^[\p{Z}\p{C}]+$", "").nullif("")


def _strings(column: Any) -> Any:
    """One array of text. DuckDB passes chunks, Spark a column of nulls without a type."""
    column = column.cast(pa.string())
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _each(change: Callable[[str], str]) -> Callable[[Any], Any]:
    """Apply a function of one text to an array."""

    def changed(texts: Any) -> Any:
        return pa.array([text if text is None else _sound(change(text)) for text in texts.to_pylist()], pa.string())

    return changed


def _sound(text: str) -> str:
    """Without surrogates, which JSON can write and UTF-8 cannot."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _joined(text: str) -> str:
    values = _list(text)
    if values is None:
        return text
    if values and isinstance(values[0], list):
        values = values[0]
    written = (
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str) for value in values
    )
    return BETWEEN.join(one for value, one in zip(values, written, strict=True) if value is not None)


def _list(text: str) -> list[Any] | None:
    """A list written as JSON or by Python; None if it is none, or by NumPy, which writes no commas."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        try:
            value = None if re.search(r"""['"]\s+['"]""", text) else ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    return value if isinstance(value, list) else None


def _unescape(text: str) -> str:
    """Unescape twice, since shops do escape texts twice."""
    return html.unescape(html.unescape(text))


def _nfkc(text: Any) -> Any:
    return pc.utf8_normalize(_strings(text), form="NFKC")


def text_function(name: str, function: Callable[[Any], Any]) -> Callable[[ir.StringValue], ir.StringValue]:
    """A function from Arrow text to Arrow text, for expressions. Through Ibis, Spark passes one text at a time."""

    def called(text: Any) -> Any:
        if text is None or isinstance(text, str):
            return function(pa.array([text], pa.string()))[0].as_py()
        return function(text)

    registered: Callable[[ir.StringValue], ir.StringValue] = ibis.udf.scalar.pyarrow(
        called, name=name, signature=((dt.string,), dt.string)
    )
    return registered


_json_entries = text_function("json_entries", _each(_joined))
_unescaped = text_function("unescaped", _each(_unescape))
_compatible = text_function("compatible", _nfkc)
