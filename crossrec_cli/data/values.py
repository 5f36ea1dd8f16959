"""What stands in a file's cells, as expressions: words, numbers, times, plain text; the same on every engine."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from typing import Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc

from crossrec_cli.config.schema import Clean

BETWEEN = "\x1f"
"""Between the entries of a list that has become text: the control character made for it."""
PATH = " > "
"""Between a category and the one below it."""


def words(column: ir.Column) -> ir.StringValue:
    """Text without space around it, null where there is none; 1.0 is 1, as it was before a missing value beside it.

    A list becomes its entries with ``BETWEEN`` between them.
    """
    text = column.cast("string") if not column.type().is_array() else column.cast("array<string>").join(BETWEEN)
    if column.type().is_floating():
        number = column.isnan().ifelse(ibis.null(column.type()), column)
        integer = number.try_cast("int64")
        text = ibis.ifelse(number == integer, integer.cast("string"), number.cast("string"))
    return trimmed(text)


def trimmed(text: ir.StringValue) -> ir.StringValue:
    """Without space around it, null where there is nothing else. Most need nothing, and a look costs a fifth."""
    return text.re_search(r"^\s|\s$|^$").ifelse(text.strip().nullif(""), text)


def number(column: ir.Column) -> ir.FloatingValue:
    """A number, also from text with a currency, thousands separators or a decimal comma; of a range the lower end.

    ``1,234`` and ``1.234.567`` are thousands, ``12,99`` and ``1.234,50`` have a decimal comma, ``1.234`` a decimal
    point. Null where there is none, and for what is infinite.
    """
    value = column.try_cast("float64")
    if column.type().is_string():
        value = ibis.coalesce(value, _figure(column).try_cast("float64"))
    return (value.isnan() | value.isinf()).ifelse(ibis.null("float64"), value)


def _figure(text: ir.StringValue) -> ir.StringValue:
    """The sign, digits and decimal point of the number that a text begins with, past a currency."""
    figure = text.re_extract(r"^\s*[-+]?\s*(?:[^\d\s.,+-]{1,3}\.?\s?)?[-+]?\s*(\d[\d.,'’ \x{a0}\x{202f}]*|[.,]\d+)", 1)
    figure = figure.re_replace(r"['’ \x{a0}\x{202f}]|[.,]$", "")
    plain = ibis.cases(
        (figure.re_search(r"^\d{1,3}(,\d{3})+(\.\d*)?$"), figure.replace(",", "")),
        (figure.re_search(r"^\d{1,3}(\.\d{3})+,\d*$|^\d{1,3}(\.\d{3}){2,}$"), figure.replace(".", "")),
        else_=figure,
    )
    return text.re_search(r"^[^\d.,]*-").ifelse("-", "") + plain.replace(",", ".")


def moment(column: ir.Column) -> ir.TimestampValue:
    """UTC, from a time, ISO 8601 text, a date such as 20240501, or a number since 1970 in any common unit."""
    if column.type().is_numeric():
        return _of_number(column.cast("float64"))
    if not column.type().is_string():
        return column.try_cast("timestamp(6)")
    text = column.strip()
    # A text without a zone is UTC, as the engine's own zone is. Engines differ in what else they take for a time.
    iso = text.re_search(r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?$").ifelse(text, ibis.null("string"))
    written = iso.try_cast("timestamp('UTC', 6)").try_cast("timestamp(6)")
    return ibis.coalesce(written, _of_number(text.try_cast("float64")))


def _of_number(value: ir.FloatingValue) -> ir.TimestampValue:
    """A date if it reads as one; else the unit shows in the size.

    Seconds reach 10^11 in the year 5138, milliseconds passed it in 1973. What reads as a date from 1900 to 2100 would
    be a time in August 1970.
    """
    size = value.abs()
    milliseconds = ibis.cases(
        (size < 1e11, value * 1000), (size < 1e14, value), (size < 1e17, value / 1e3), else_=value / 1e6
    )
    since_1970 = _since_1970(milliseconds.round().try_cast("int64")).cast("timestamp(6)")
    digits = value.between(19000101, 21001231).ifelse(value.try_cast("int64").cast("string"), ibis.null("string"))
    date = digits.substr(0, 4) + "-" + digits.substr(4, 2) + "-" + digits.substr(6, 2)
    return ibis.coalesce(date.try_cast("timestamp(6)"), since_1970)


def _milliseconds(number: Any) -> Any:
    """DuckDB's own function; Spark, to which Ibis gives none, gets one of its name."""


_since_1970: Callable[[ir.IntegerValue], ir.TimestampValue] = ibis.udf.scalar.builtin(
    _milliseconds, name="epoch_ms", signature=((dt.int64,), dt.Timestamp(scale=6))
)


def path(column: ir.Column, clean: Clean) -> ir.StringValue:
    """A category from wide to narrow, from a list or from text with ``>`` or ``|``."""
    text = plain(entries(column), clean).re_replace(rf"\s*[>|{BETWEEN}]\s*", PATH)
    return text.re_replace(r"^( > )+|( > )+$", "").re_replace(r"( > ){2,}", PATH)


def entries(column: ir.Column) -> ir.StringValue:
    """``words``, of a list written in JSON as well."""
    text = words(column)
    return text.startswith("[").ifelse(_json_entries(text), text) if column.type().is_string() else text


def plain(text: ir.StringValue, clean: Clean) -> ir.StringValue:
    """Text for people: without markup and control characters, in one form of Unicode, null where nothing is left."""
    # Plain ASCII words need none of it, and are most of a catalogue.
    return text.re_search(r"[^ -~]|  |[<&]|^ | $|^$").ifelse(_cleaned(text, clean), text)


def _cleaned(text: ir.StringValue, clean: Clean) -> ir.StringValue:
    if clean.markup:
        text = text.contains("&").ifelse(_unescaped(text), text)
        # Not every "<": "3 < 4" and "<3" are no tags.
        text = text.re_replace(r"(?is)<(script|style)\b.*?</(script|style)\s*>|<!--.*?-->|</?[a-z][^<>]*>", " ")
    if clean.nfkc:
        text = _compatible(text)
    if clean.control_characters:
        # U+200D, which joins emoji, and the marks of right-to-left text are no control characters.
        text = text.re_replace(r"[\x00-\x1e\x7f-\x{9f}\x{feff}]+", " ").re_replace(r"[\p{Z}\s]+", " ")
    return text.strip().nullif("")


def _strings(column: Any) -> Any:
    """One array of text. DuckDB hands on chunks, Spark a column of nulls without a type."""
    column = column.cast(pa.string())
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _each(change: Callable[[str], str]) -> Callable[[Any], Any]:
    """A function of one text as a function of many."""

    def changed(texts: Any) -> Any:
        return pa.array([text if text is None else change(text) for text in texts.to_pylist()], pa.string())

    return changed


def _joined(text: str) -> str:
    try:
        values = json.loads(text)
    except ValueError:
        return text
    return BETWEEN.join(str(value) for value in values if value is not None)


def _nfkc(text: Any) -> Any:
    return pc.utf8_normalize(_strings(text), form="NFKC")


def text_function(name: str, function: Callable[[Any], Any]) -> Callable[[ir.StringValue], ir.StringValue]:
    """A function from Arrow text to Arrow text, for expressions; through Ibis, Spark hands it one text at a time."""

    def called(text: Any) -> Any:
        if text is None or isinstance(text, str):
            return function(pa.array([text], pa.string()))[0].as_py()
        return function(text)

    made: Callable[[ir.StringValue], ir.StringValue] = ibis.udf.scalar.pyarrow(
        called, name=name, signature=((dt.string,), dt.string)
    )
    return made


_json_entries = text_function("json_entries", _each(_joined))
_unescaped = text_function("unescaped", _each(html.unescape))
_compatible = text_function("compatible", _nfkc)
