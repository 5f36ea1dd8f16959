"""The log of lists, and experiments, on the terminal."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.text import Text

from crossrec_cli.console.terminal import Console, visible
from crossrec_cli.evaluation.experiment import MISMATCH, Experiment, Novelty
from crossrec_cli.evaluation.rates import LEVEL, RateDifference, ValueDifference
from crossrec_cli.report.formatting import NONE, figure
from crossrec_cli.serving.impression_log import LogCounts


def exported(console: Console, path: Path, rows: int, counts: LogCounts) -> dict[str, Any]:
    """Print where the log is, and what it has.

    Returns:
        The same for ``--json``.
    """
    if counts.dropped:
        console.warn(f"the log is full: {counts.dropped:,} older lists were dropped; write it out more often")
    rewards = f"{counts.clicks:,} clicks, {counts.purchases:,} purchases"
    console.result(Text(f"{path}: {counts.lists:,} lists, {rewards}"), always=False)
    return {"path": str(path), "rows": rows} | counts._asdict()


def experiment(console: Console, compared: Experiment) -> dict[str, Any]:
    """Print how two variants compare.

    Returns:
        The same for ``--json``.
    """
    novelties = {reward: compared.novelty(reward) for reward in compared.rewards}
    _warnings(console, compared)
    _variants(console, compared)
    columns = ["rewards per list", "A", "B", "B − A (95 %)", "of A", "p (Holm)", "users needed"]
    rows = [
        [reward, *_rates(rate), _p_value(compared.p_values[reward]), _users_needed(rate)]
        for reward, rate in compared.rewards.items()
    ]
    console.table("Rates", columns, rows, always=True)
    rows = [
        row for reward, novelty in novelties.items() if novelty is not None for row in _novelty_rows(reward, novelty)
    ]
    if rows:
        console.table("First and second half of the days", [*columns[:5], "p"], rows)
    for reward in compared.rewards:
        console.result(Text(_sentence(compared, reward)), always=True)
    return _document(compared, novelties)


def worse(compared: Experiment) -> str:
    """The message where B is significantly worse."""
    rates = ", ".join(f"{reward} {_difference(compared.rewards[reward].difference)}" for reward in compared.lost)
    return f"ab: '{compared.b.name}' is worse than '{compared.a.name}' by more than chance: {rates} per list"


def _warnings(console: Console, compared: Experiment) -> None:
    if compared.users_in_both:
        console.warn(f"{compared.users_in_both:,} users saw both variants; they are left out")
    if compared.sample_ratio_p < MISMATCH:
        numbers = " and ".join(f"{len(one.users) + compared.users_in_both:,}" for one in compared.variants)
        console.warn(
            f"{numbers} users are not the planned {compared.share_of_a:.0%} of A by more than chance "
            f"(p = {compared.sample_ratio_p:.1g}); find out why before you believe the rates"
        )


def _variants(console: Console, compared: Experiment) -> None:
    """Print what was shown: guard metrics, which should not differ."""
    rows = {
        "users": [f"{len(one.users):,}" for one in compared.variants],
        "lists of users": [f"{one.lists.sum():,.0f}" for one in compared.variants],
        "lists per user": [figure(one.lists.sum() / len(one.users), 2) for one in compared.variants],
        "anonymous lists": [f"{one.shown.anonymous:,}" for one in compared.variants],
        "different items": [f"{one.shown.items:,}" for one in compared.variants],
        "empty lists": [f"{one.shown.empty:.2%}" for one in compared.variants],
        "short lists": [_percent(one.shown.short) for one in compared.variants],
    }
    names = [f"{letter}: {visible(one.name)}" for letter, one in zip("AB", compared.variants, strict=True)]
    console.table("What was shown", ["", *names], [(name, *cells) for name, cells in rows.items()])


def _rates(rate: RateDifference) -> list[str]:
    """A, B, their difference, and that as a share of A."""
    relative = rate.difference.mean / rate.a if rate.a else float("nan")
    return [figure(rate.a, 4), figure(rate.b, 4), _difference(rate.difference), _percent(relative, sign="+")]


def _difference(difference: ValueDifference) -> str:
    ends = "" if math.isnan(difference.low) else f" ({difference.low:+.4f} to {difference.high:+.4f})"
    return f"{difference.mean:+.4f}{ends}"


def _percent(share: float, sign: str = "") -> str:
    return NONE if math.isnan(share) else f"{share:{sign}.2%}"


def _users_needed(rate: RateDifference) -> str:
    return NONE if math.isnan(rate.needed_users) else f"{rate.needed_users:,.0f}"


def _novelty_rows(reward: str, novelty: Novelty) -> list[list[str]]:
    halves = {"first": novelty.first, "second": novelty.second}
    rows = [[f"{reward}, {name}", *_rates(half), _p_value(half.difference.p)] for name, half in halves.items()]
    return [*rows, [f"{reward}, change", "", "", _difference(novelty.change), "", _p_value(novelty.change.p)]]


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _sentence(compared: Experiment, reward: str) -> str:
    """What can be said of a reward."""
    rate = compared.rewards[reward]
    if compared.p_values[reward] < LEVEL:
        return f"{reward}: B is {'better' if rate.difference.mean > 0 else 'worse'} than A by more than chance."
    size = f"a difference of {compared.detect:.0%} of A's rate"
    enough = f"enough to find {size}" if compared.is_enough(reward) else f"too few to find {size}"
    return f"{reward}: no difference beyond chance; {compared.users:,} users are {enough}."


def _document(compared: Experiment, novelties: dict[str, Novelty | None]) -> dict[str, Any]:
    variants = {
        letter: {
            "name": one.name,
            "users": len(one.users),
            "lists_of_users": int(one.lists.sum()),
            **asdict(one.shown),
        }
        for letter, one in zip("ab", compared.variants, strict=True)
    }
    rewards = {}
    for reward, rate in compared.rewards.items():
        novelty = novelties[reward]
        rewards[reward] = asdict(rate) | {
            "p_holm": compared.p_values[reward],
            "enough_users": compared.is_enough(reward),
            "novelty": None if novelty is None else asdict(novelty),
        }
    periods = [asdict(period) | {"begins": period.begins.isoformat()} for period in compared.periods()]
    return {
        "variants": variants,
        "users_in_both": compared.users_in_both,
        "sample_ratio_p": compared.sample_ratio_p,
        "sample_ratio_mismatch": compared.sample_ratio_p < MISMATCH,
        "detect": compared.detect,
        "rewards": rewards,
        "lost": compared.lost,
        "periods": periods,
    }
