"""A look at the data, as people read it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.text import Text

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import schemas
from crossrec_cli.console.terminal import Console, visible

if TYPE_CHECKING:  # DuckDB takes a moment to import
    from crossrec_cli.data.check import Check
    from crossrec_cli.data.suspects import Suspect


DESCRIBED_SHOWN = 4
"""Lines about items that are described in several ways; ``--json`` has them all."""


def check(console: Console, found: Check) -> dict[str, Any]:
    """A look at the data, on one screen.

    Returns:
        The same for ``--json``.
    """
    _columns(console, found)
    for warning in found.warnings:
        console.warn(warning)
    out = [(label, other, value) for measure, label, other, value in found.measures if measure == "removed" and value]
    rows = [[f"{other}: {label}", f"{value:,.0f}"] for label, other, value in out]
    console.remark(f"Of the first {found.sample:,} interactions of each platform, and all items and users:")
    if rows:
        console.table("Would be left out", ["rule", "rows"], rows)
    for _, label, of, number in (row for row in found.measures if row[0] == "identity" and row[3]):
        console.result(Text(f"Identity of {of}: {label} {number:,.0f}"), wanted=False)
    sizes = {(measure, label): value for measure, label, _, value in found.measures}
    names = ("interactions", "users", "items", "density")
    if domains := [domain for domain in (c.SOURCE, c.TARGET) if ("density", domain) in sizes]:
        table = [
            [domain, *(f"{sizes[name, domain]:,.0f}" for name in names[:3]), f"{sizes['density', domain]:.3%}"]
            for domain in domains
        ]
        console.table("Would be left", ["domain", *names], table)
    if ("users", "both") in sizes:
        shared = (
            f"Shared: {sizes['users', 'both']:,.0f} users; {found.words[1]:,} of the target's {found.words[0]:,} words"
        )
        console.result(Text(shared), wanted=False)
    if line := reach(found.measures):
        console.result(Text(line), wanted=False)
    _suspects(console, found.suspects)
    console.result(Text(f"Transfer {found.verdict}."), wanted=False)
    return {
        "columns": [dict(zip(("source", "name", "column", "first_value"), row, strict=True)) for row in found.columns],
        "measures": [dict(zip(schemas.QUALITY.names, row, strict=True)) for row in found.measures],
        "readings": [dict(zip(("source", "name", "reading"), row, strict=True)) for row in found.readings],
        "times": {
            platform: {"earliest": first.isoformat(), "latest": last.isoformat()}
            for platform, (first, last) in found.times.items()
        },
        "warnings": found.warnings,
        "target_words": found.words[0],
        "shared_words": found.words[1],
        "suspects": [asdict(suspect) for suspect in found.suspects],
        "too_few": found.too_few,
        "transfer": found.verdict,
        "problem": found.problem,
    }


def _suspects(console: Console, suspects: Sequence[Suspect]) -> None:
    """What to look at, by kind; what can be pasted into the config; of items described in several ways a few."""
    by_kind = {kind: [one for one in suspects if one.kind == kind] for kind in ("guest account", "no product", "tag")}
    by_kind["rest"] = [one for one in suspects if one.kind not in by_kind][:DESCRIBED_SHOWN]
    if suspects:
        console.result(Text("Look at this", style="bold"), wanted=False)
    for kind, some in by_kind.items():
        for one in some:
            console.result(Text(f"  {one.platform}: {visible(one.text)}."), wanted=False)
        if kind == "no product" and some:
            console.result(Text(f"  exclude: {json.dumps([one.id for one in some])}"), wanted=False)


def _columns(console: Console, found: Check) -> None:
    """What each column is, how it is read, and from when to when the data run."""
    readings = {(source, ours): reading for source, ours, reading in found.readings}
    for source in dict.fromkeys(source for source, *_ in found.columns):
        console.result(Text(source, style="bold"), wanted=False)
        for ours, theirs, value in (row[1:] for row in found.columns if row[0] == source):
            reading = f" ({visible(readings[source, ours])})" if (source, ours) in readings else ""
            line = f"  {ours:<10} {visible(theirs):<24} {visible(value)}{reading}"
            console.result(console.fit(Text(line)), wanted=False)
    for platform, (first, last) in found.times.items():
        console.result(Text(f"{platform}: times from {first:%Y-%m-%d} to {last:%Y-%m-%d}"), wanted=False)


def reach(measures: Sequence[tuple[str, str, str | None, float]]) -> str:
    """What can be recommended, and to whom, in a line; empty where that is not known."""
    reach = {label: f"{value:,.0f}" for measure, label, _, value in measures if measure == c.REACH}
    if c.FOR_SALE not in reach:
        return ""
    return (
        f"For sale: {reach[c.FOR_SALE]} of {reach[c.IN_CATALOGUE]} target items. "
        f"Served: {reach[c.SERVED]} of {reach[c.PEOPLE]} people."
    )
