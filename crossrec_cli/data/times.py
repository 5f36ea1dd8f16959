"""Times as people write them. A shape is a regular expression with groups named like ``strptime``'s letters."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from crossrec_cli.config.field_types import DIRECTIVE

_MONTHS = "janfebmaraprmayjunjulaugsepoctnovdec"
_MONTH = (
    r"(?P<b>(?i:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?))"
)
_CLOCK = r"(?:,?(?P<at>[ T])(?P<H>\d{1,2})(?P<rest>:\d{2}(?::\d{2}(?:\.\d+)?)?)(?: ?(?P<p>[AaPp])\.?[Mm]\.?)?)?"
_DIGITS = {"Y": r"\d{4}", "y": r"\d{2}", "f": r"\d{1,9}"} | dict.fromkeys("mdHMS", r"\d{1,2}")
_GROUPS = {letter: f"(?P<{letter}>{digits})" for letter, digits in _DIGITS.items()} | {
    "b": rf"{_MONTH}\.?",
    "B": rf"{_MONTH}\.?",
    "a": r"[A-Za-z]+\.?",
    "A": r"[A-Za-z]+",
    "p": r"(?P<p>[AaPp])\.?[Mm]\.?",
    "z": r"(?P<z>Z|[+-]\d{2}:?\d{2})",
    "%": "%",
}
AFTERNOON, MIDNIGHT = r"^(0?\d|1[01])p$", "^12a$"
"""Hours of the 12-hour clock that are not those of the 24-hour clock."""
PIVOT = "69"
"""From this on, a year of two digits is in the last century, as in ``strptime``."""


class Shape(NamedTuple):
    """A format of times."""

    pattern: str
    """With named groups."""
    iso: str = "{Y}-{m}-{d}{at}{H}{rest}"
    """The groups as ISO 8601."""


_DAY, _NUMBER, _YEAR = r"(?P<d>\d{1,2})", r"(?P<m>\d{1,2})", r"(?P<Y>\d{4})"
DAY_FIRST = Shape(rf"{_DAY}[/-]{_NUMBER}[/-]{_YEAR}{_CLOCK}")
MONTH_FIRST = Shape(rf"{_NUMBER}[/-]{_DAY}[/-]{_YEAR}{_CLOCK}")
CLEAR = (
    Shape(rf"{_YEAR}[/.-]{_NUMBER}[/.-]{_DAY}{_CLOCK}"),
    Shape(rf"{_DAY}\.{_NUMBER}\.{_YEAR}{_CLOCK}"),
    Shape(rf"{_DAY}[ ./-]*{_MONTH}[ .,/-]*{_YEAR}{_CLOCK}", "{Y}-{b}-{d}{at}{H}{rest}"),
    Shape(rf"{_MONTH}\.? {_DAY},? {_YEAR}{_CLOCK}", "{Y}-{b}-{d}{at}{H}{rest}"),
)
"""Unambiguous shapes."""
DIGITS = Shape(r"(?P<Y>\d{4})(?P<m>\d\d)(?P<d>\d\d)(?P<H>\d\d)(?P<M>\d\d)(?P<S>\d\d)", "{Y}-{m}-{d} {H}:{M}:{S}")


def shape_of(time_format: str) -> Shape:
    """The shape of a ``strptime`` format, which the config has checked."""
    pieces = DIRECTIVE.split(time_format)
    letters = [{"B": "b", "I": "H"}.get(letter, letter) for letter in pieces[1::2]]
    literals = [re.sub(r"(\\?\s)+", r"\\s+", re.escape(piece)) for piece in pieces[::2]]
    groups = [
        # Without a separator between two numbers, each must have all its digits.
        _GROUPS[letter] if before and after else _GROUPS[letter].replace("{1,2}", "{2}")
        for letter, before, after in zip(letters, ["^", *literals[1:-1]], [*literals[1:-1], "$"], strict=True)
    ]
    pattern = literals[0] + "".join(group + literal for group, literal in zip(groups, literals[1:], strict=True))
    year, month = "{y}" if "y" in letters else "{Y}", "{b}" if "b" in letters else "{m}"
    hour = "{H}" if "H" in letters else "00"
    minute, second, fraction, zone = (
        f"{before}{{{letter}}}" if letter in letters else otherwise
        for letter, before, otherwise in (("M", ":", ":00"), ("S", ":", ":00"), ("f", ".", ""), ("z", "", ""))
    )
    return Shape(pattern, f"{year}-{month}-{{d}} {hour}{minute}{second}{fraction}{zone}")


def written_as(text: ir.StringValue, shape: Shape) -> ir.TimestampValue:
    """The time in a text of that shape, in UTC if it has no zone; null if the text has another shape."""
    groups = list(re.compile(shape.pattern).groupindex)
    pattern = r"(?s)^(?:" + re.sub(r"\(\?P<\w+>", "(", shape.pattern) + "|.*)$"

    def part(form: str) -> ir.StringValue:
        return rewritten(text, pattern, re.sub(r"\{(\w+)\}", lambda name: f"${groups.index(name[1]) + 1}", form))

    iso: ir.StringValue = ibis.literal("")
    for piece in re.split(r"(\{b\}|\{y\})", shape.iso):
        if piece == "{b}":
            place = ibis.literal(_MONTHS).find(part(piece).lower().substr(0, 3))
            iso = iso + (place // 3 + 1).cast("string").lpad(2, "0")
        elif piece == "{y}":
            iso = iso + (part(piece) >= PIVOT).ifelse("19", "20") + part(piece)
        elif piece:
            iso = iso + part(piece)
    if "p" not in groups:
        return instant(iso)
    hour = part("{H}{p}").lower()  # added to the time, as a table of all hours would repeat the expression for each
    return instant(iso) + hour.re_search(AFTERNOON).ifelse(12, hour.re_search(MIDNIGHT).ifelse(-12, 0)).as_interval("h")


def instant(iso: ir.StringValue) -> ir.TimestampValue:
    """The time in UTC of a text in ISO 8601. Without a zone it is UTC, the engine's zone."""
    return iso.try_cast("timestamp('UTC', 6)").try_cast("timestamp(6)")


def _rewrite(text: Any, pattern: Any, form: Any) -> Any:
    """Both engines have this function, with other names of groups; each gets one of this name, which takes ``$1``."""


rewritten = ibis.udf.scalar.builtin(
    _rewrite, name="rewritten", signature=((dt.string, dt.string, dt.string), dt.string)
)
