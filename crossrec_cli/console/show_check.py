"""The result of ``crossrec data check`` on the terminal."""

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


MAX_DESCRIBED = 4
"""Lines about items with several descriptions; ``--json`` has all of them."""


def check(console: Console, result: Check) -> dict[str, Any]:
    """Print the result on one screen.

    Returns:
        The same for ``--json``.
    """
    _columns(console, result)
    for warning in result.warnings:
        console.warn(warning)
    rows = [
        [f"{other}: {label}", f"{value:,.0f}"]
        for measure, label, other, value in result.measures
        if measure == "removed" and value
    ]
    console.remark(f"For the first {result.sample:,} interactions of each platform, and all items and users:")
    if rows:
        console.table("Rows that would be removed", ["rule", "rows"], rows)
    for _, label, kind, count in (row for row in result.measures if row[0] == "identity" and row[3]):
        console.result(Text(f"Identity of {kind}: {label} {count:,.0f}"), always=False)
    sizes = {(measure, label): value for measure, label, _, value in result.measures}
    names = ("interactions", "users", "items", "density")
    if domains := [domain for domain in (c.SOURCE, c.TARGET) if ("density", domain) in sizes]:
        table = [
            [domain, *(f"{sizes[name, domain]:,.0f}" for name in names[:3]), f"{sizes['density', domain]:.3%}"]
            for domain in domains
        ]
        console.table("Data that would be kept", ["domain", *names], table)
    if ("users", "both") in sizes:
        shared = (
            f"Shared by source and target: {sizes['users', 'both']:,.0f} users; {result.words[1]:,} of the target's "
            f"{result.words[0]:,} words"
        )
        console.result(Text(shared), always=False)
    if line := reach(result.measures):
        console.result(Text(line), always=False)
    _suspects(console, result.suspects)
    console.result(Text(f"Transfer {result.verdict}."), always=False)
    return {
        "columns": [dict(zip(("source", "name", "column", "first_value"), row, strict=True)) for row in result.columns],
        "measures": [dict(zip(schemas.QUALITY.names, row, strict=True)) for row in result.measures],
        "readings": [dict(zip(("source", "name", "reading"), row, strict=True)) for row in result.readings],
        "times": {
            platform: {"earliest": first.isoformat(), "latest": last.isoformat()}
            for platform, (first, last) in result.times.items()
        },
        "warnings": result.warnings,
        "target_words": result.words[0],
        "shared_words": result.words[1],
        "suspects": [asdict(suspect) for suspect in result.suspects],
        "too_few": result.too_few,
        "transfer": result.verdict,
        "problem": result.problem,
    }


def _suspects(console: Console, suspects: Sequence[Suspect]) -> None:
    """What to check, by kind, with a line for the config; only the first of the items with several descriptions."""
    by_kind = {
        kind: [each for each in suspects if each.kind == kind] for kind in ("guest account", "no product", "tag")
    }
    by_kind["rest"] = [each for each in suspects if each.kind not in by_kind][:MAX_DESCRIBED]
    if suspects:
        console.result(Text("To check", style="bold"), always=False)
    for kind, of_kind in by_kind.items():
        for suspect in of_kind:
            console.result(Text(f"  {suspect.platform}: {visible(suspect.text)}."), always=False)
        if kind == "no product" and of_kind:
            console.result(Text(f"  exclude: {json.dumps([suspect.id for suspect in of_kind])}"), always=False)


def _columns(console: Console, result: Check) -> None:
    """What each column maps to, how it is read, and the first and last time of the data."""
    readings = {(source, name): reading for source, name, reading in result.readings}
    for source in dict.fromkeys(source for source, *_ in result.columns):
        console.result(Text(source, style="bold"), always=False)
        for name, column, value in (row[1:] for row in result.columns if row[0] == source):
            reading = f" ({visible(readings[source, name])})" if (source, name) in readings else ""
            line = f"  {name:<10} {visible(column):<24} {visible(value)}{reading}"
            console.result(console.fit(Text(line)), always=False)
    for platform, (first, last) in result.times.items():
        console.result(Text(f"{platform}: times from {first:%Y-%m-%d} to {last:%Y-%m-%d}"), always=False)


def reach(measures: Sequence[tuple[str, str, str | None, float]]) -> str:
    """How many items can be recommended and how many people get a list, in a line; empty if not known."""
    counts = {label: f"{value:,.0f}" for measure, label, _, value in measures if measure == c.REACH}
    if c.FOR_SALE not in counts:
        return ""
    return (
        f"For sale: {counts[c.FOR_SALE]} of {counts[c.IN_CATALOGUE]} target items. "
        f"Served: {counts[c.SERVED]} of {counts[c.PEOPLE]} people."
    )
