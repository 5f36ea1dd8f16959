"""Times as people write them. A shape is a regular expression whose groups bear the names of ``strptime``'s letters."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from crossrec_cli.config.values import DIRECTIVE

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?P<b>(?i:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?))"
)
_CLOCK = r"(?:,?(?P<clock>[ T]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?)(?: ?(?P<p>[AaPp])\.?[Mm]\.?)?)?"
_DIGITS = {"Y": r"\d{4}", "y": r"\d{2}", "f": r"\d{1,9}"} | dict.fromkeys("mdHIMS", r"\d{1,2}")
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
"""From here on a year of two digits is one of the last century, as in ``strptime``."""


class Shape(NamedTuple):
    """One way to write a time."""

    pattern: str
    """With named groups."""
    iso: str = "{Y}-{m}-{d}{clock}"
    """The groups as ISO 8601."""


_DAY, _NUMBER, _YEAR = r"(?P<d>\d{1,2})", r"(?P<m>\d{1,2})", r"(?P<Y>\d{4})"
DAY_FIRST = Shape(rf"{_DAY}[/-]{_NUMBER}[/-]{_YEAR}{_CLOCK}")
MONTH_FIRST = Shape(rf"{_NUMBER}[/-]{_DAY}[/-]{_YEAR}{_CLOCK}")
CLEAR = (
    Shape(rf"{_YEAR}[/.-]{_NUMBER}[/.-]{_DAY}{_CLOCK}"),
    Shape(rf"{_DAY}\.{_NUMBER}\.{_YEAR}{_CLOCK}"),
    Shape(rf"{_DAY}[ ./-]*{_MONTH}[ .,/-]*{_YEAR}{_CLOCK}", "{Y}-{b}-{d}{clock}"),
    Shape(rf"{_MONTH}\.? {_DAY},? {_YEAR}{_CLOCK}", "{Y}-{b}-{d}{clock}"),
)
"""What is read one way only."""


def shape_of(time_format: str) -> Shape:
    """A format as in ``strptime``, which the config has checked."""
    pieces = DIRECTIVE.split(time_format)
    letters = ["b" if letter == "B" else letter for letter in pieces[1::2]]
    literals = [re.sub(r"(\\?\s)+", r"\\s+", re.escape(piece)) for piece in pieces[::2]]
    groups = [
        # Where nothing stands between two numbers, each must have all its digits.
        _GROUPS[letter] if before and behind else _GROUPS[letter].replace("{1,2}", "{2}")
        for letter, before, behind in zip(letters, ["^", *literals[1:-1]], [*literals[1:-1], "$"], strict=True)
    ]
    pattern = literals[0] + "".join(group + literal for group, literal in zip(groups, literals[1:], strict=True))
    year, month = "{y}" if "y" in letters else "{Y}", "{b}" if "b" in letters else "{m}"
    hour = next((f"{{{letter}}}" for letter in letters if letter in "HI"), "00")
    minute, second, fraction, zone = (
        f"{before}{{{letter}}}" if letter in letters else otherwise
        for letter, before, otherwise in (("M", ":", ":00"), ("S", ":", ":00"), ("f", ".", ""), ("z", "", ""))
    )
    return Shape(pattern, f"{year}-{month}-{{d}} {hour}{minute}{second}{fraction}{zone}")


def written_as(text: ir.StringValue, shape: Shape) -> ir.TimestampValue:
    """The time that a text of that shape means, in UTC where it names no zone; null if it is of another shape."""
    groups = list(re.compile(shape.pattern).groupindex)
    pattern = r"(?s)^(?:" + re.sub(r"\(\?P<\w+>", "(", shape.pattern) + "|.*)$"

    def part(form: str) -> ir.StringValue:
        return _rewritten(text, pattern, re.sub(r"\{(\w+)\}", lambda name: f"${groups.index(name[1]) + 1}", form))

    iso: ir.StringValue = ibis.literal("")
    for piece in re.split(r"(\{[by]\})", shape.iso):
        if piece == "{b}":
            name = part(piece).lower().substr(0, 3)
            iso = iso + ibis.cases(*((name == month, f"{nth:02}") for nth, month in enumerate(MONTHS, 1)), else_="")
        elif piece:
            century = (part(piece) >= PIVOT).ifelse("19", "20") if piece == "{y}" else ""
            iso = iso + century + part(piece)
    time = instant(iso)
    return _of_half(time, part("{p}").lower()) if "p" in groups else time


def instant(iso: ir.StringValue) -> ir.TimestampValue:
    """UTC of a text in ISO 8601. One without a zone is UTC, as the engine's own zone is."""
    return iso.try_cast("timestamp('UTC', 6)").try_cast("timestamp(6)")


def _of_half(time: ir.TimestampValue, half: ir.StringValue) -> ir.TimestampValue:
    """A time of twelve hours with ``a`` or ``p`` as one of twenty-four; what has neither stays."""
    twelve, hour = ibis.interval(hours=12), time.hour()
    return ibis.cases(
        (half == "", time),
        (hour > 12, ibis.null("timestamp(6)")),
        ((half == "a") & (hour == 12), time - twelve),
        ((half == "p") & (hour < 12), time + twelve),
        else_=time,
    )


def _rewrite(text: Any, pattern: Any, form: Any) -> Any:
    """Both engines' own function, but they name the groups differently; each gets one of its name, with ``$1``."""


_rewritten = ibis.udf.scalar.builtin(
    _rewrite, name="rewritten", signature=((dt.string, dt.string, dt.string), dt.string)
)
