"""Times as people write them. A shape is a regular expression with groups named like ``strptime``'s letters."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from crossrec_cli.config.field_types import DIRECTIVE

_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH_NUMBERS = [(name, f"{number:02}") for number, name in enumerate(_NAMES, 1)]
_MONTH = (
    r"(?P<b>(?i:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?))"
)
_CLOCK = r"(?:,?(?P<at>[ T])(?P<H>\d{1,2})(?P<rest>:\d{2}(?::\d{2}(?:\.\d+)?)?)(?: ?(?P<p>[AaPp])\.?[Mm]\.?)?)?"
_HOURS = {
    f"{hour:{digits}}{half}": f"{hour % 12 + 12 * (half == 'p'):02}"
    for hour in range(13)
    for digits in ("", "02")
    for half in "ap"
}
"""Hours of the 12-hour clock as hours of the 24-hour clock."""
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
        return _rewritten(text, pattern, re.sub(r"\{(\w+)\}", lambda name: f"${groups.index(name[1]) + 1}", form))

    iso: ir.StringValue = ibis.literal("")
    for piece in re.split(r"(\{b\}|\{y\}|\{H\})", shape.iso):
        if piece == "{b}":
            iso = iso + part(piece).lower().substr(0, 3).cases(*_MONTH_NUMBERS, else_="")
        elif piece == "{y}":
            iso = iso + (part(piece) >= PIVOT).ifelse("19", "20") + part(piece)
        elif piece == "{H}" and "p" in groups:
            iso = iso + part("{H}{p}").lower().cases(*_HOURS.items(), else_=part(piece))
        elif piece:
            iso = iso + part(piece)
    return instant(iso)


def instant(iso: ir.StringValue) -> ir.TimestampValue:
    """The time in UTC of a text in ISO 8601. Without a zone it is UTC, the engine's zone."""
    return iso.try_cast("timestamp('UTC', 6)").try_cast("timestamp(6)")


def _rewrite(text: Any, pattern: Any, form: Any) -> Any:
    """Both engines have this function, with other names of groups; each gets one of this name, which takes ``$1``."""


_rewritten = ibis.udf.scalar.builtin(
    _rewrite, name="rewritten", signature=((dt.string, dt.string, dt.string), dt.string)
)
