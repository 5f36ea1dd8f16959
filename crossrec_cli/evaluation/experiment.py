"""Two variants of a shop's lists, shown to different users: which of them earns more, and whether that is chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from crossrec_cli.errors import ConfigError, InputError
from crossrec_cli.evaluation.experiment_log import KEY, Variant, read_variants
from crossrec_cli.evaluation.rates import LEVEL, RateDifference, ValueDifference, sample_ratio_p
from crossrec_cli.evaluation.significance import holm
from crossrec_cli.models.ragged import Bools

MISMATCH = 0.001
"""Below this p value, numbers of users are not as planned; the level is low, as every look is a test."""
MOST_DAYS = 28
"""Rates of longer experiments are by week."""
NAMED = 5
"""Variants that a message names."""


@dataclass(frozen=True)
class Novelty:
    """Whether a difference wears off, or grows: the first half of the days against the second."""

    first: RateDifference
    second: RateDifference
    change: ValueDifference
    """How much larger the difference is in the second half."""


@dataclass(frozen=True)
class Period:
    """A variant's lists on some days."""

    begins: date
    days: int
    variant: str
    users: int
    lists: int
    rates: Mapping[str, float]
    """By reward, per list; nan without lists."""


@dataclass(frozen=True)
class Experiment:
    """Two variants, without the users who saw both."""

    a: Variant
    b: Variant
    users_in_both: int
    share_of_a: float
    """The share of users who were to see A."""
    detect: float
    """The size of a difference that matters, as a share of A's rate."""

    @classmethod
    def read(
        cls, logs: Sequence[Path], a: str | None, b: str | None, share_of_a: float = 0.5, detect: float = 0.05
    ) -> Experiment:
        """From the logs of two variants, or one log of both.

        Args:
            logs: one or two.
            a: of one log, the name of the first variant; None: the first by name.
            b: the other one; None: the only other one.
            share_of_a: the share of users who were to see A.
            detect: the size of a difference that matters, as a share of A's rate.

        Raises:
            ConfigError: if there are not one or two logs, or variants are named that two logs cannot have.
            InputError: if a log cannot be read, or has not the variants or users.
        """
        if len(logs) == 1:
            return cls.of(*_chosen(read_variants(logs[0], whole=False), a, b, logs[0]), share_of_a, detect)
        if len(logs) != 2 or logs[0] == logs[1]:
            raise ConfigError(["name two logs, or one that has both variants"])
        if a is not None or b is not None:
            raise ConfigError(["--a and --b name variants of one log; of two, the first is A"])
        first, second = (read_variants(log, whole=True)[str(log)] for log in logs)
        return cls.of(first, second, share_of_a, detect)

    @classmethod
    def of(cls, a: Variant, b: Variant, share_of_a: float, detect: float) -> Experiment:
        """From two variants.

        Raises:
            InputError: if one of them has no users of its own, or they have no reward in common.
        """
        in_both = a.users.filter(pc.is_in(a.users, value_set=b.users.combine_chunks()))
        variants = [variant.without(in_both) for variant in (a, b)]
        for variant in variants:
            if not len(variant.users):
                seen = f" but {len(in_both):,} who saw the other variant too" if len(in_both) else ""
                raise InputError(f"{KEY}: '{variant.name}' was shown to no users with an id{seen}")
        if not a.rewards.keys() & b.rewards.keys():
            raise InputError(f"{KEY}: one log has clicks only, the other purchases only")
        return cls(variants[0], variants[1], len(in_both), share_of_a, detect)

    @property
    def variants(self) -> tuple[Variant, Variant]:
        """Both."""
        return self.a, self.b

    @cached_property
    def rewards(self) -> dict[str, RateDifference]:
        """Both variants' rates, by reward."""
        return {
            name: RateDifference.of(self.a.totals(name), self.b.totals(name), self.detect)
            for name in self.a.rewards
            if name in self.b.rewards
        }

    @cached_property
    def p_values(self) -> dict[str, float]:
        """Of each reward's difference, after Holm's correction: several rewards are several tests."""
        adjusted = holm(np.array([compared.difference.p for compared in self.rewards.values()]))
        return dict(zip(self.rewards, adjusted.tolist(), strict=True))

    @property
    def lost(self) -> list[str]:
        """The rewards of which B has significantly less than A."""
        return [name for name, p in self.p_values.items() if p < LEVEL and self.rewards[name].difference.mean < 0]

    @property
    def users(self) -> int:
        """Of both variants."""
        return len(self.a.users) + len(self.b.users)

    def is_enough(self, reward: str) -> bool:
        """Whether there are as many users as it takes to see a difference that matters."""
        return self.users >= self.rewards[reward].needed_users

    @property
    def sample_ratio_p(self) -> float:
        """How likely it is by chance that the numbers of users are so far from the planned ones; all users count."""
        a, b = (len(one.users) + self.users_in_both for one in self.variants)
        return sample_ratio_p(a, b, self.share_of_a)

    @property
    def _days(self) -> range:
        """The days of the experiment, since 1970."""
        return range(
            min(int(one.day.min()) for one in self.variants), max(int(one.day.max()) for one in self.variants) + 1
        )

    def novelty(self, reward: str) -> Novelty | None:
        """The two halves of the days; None where a variant was not shown in one of them."""
        middle = self._days[len(self._days) // 2]
        halves = [
            tuple(one.totals(reward, (one.day >= middle) == later) for one in self.variants) for later in (False, True)
        ]
        if not all(totals.lists.any() for half in halves for totals in half):
            return None
        (a_first, b_first), (a_second, b_second) = halves
        return Novelty(
            RateDifference.of(a_first, b_first, self.detect),
            RateDifference.of(a_second, b_second, self.detect),
            ValueDifference.of(a_second.linear - a_first.linear, b_second.linear - b_first.linear),
        )

    def periods(self) -> Iterator[Period]:
        """Both variants' rates by day, or by week where there are many days."""
        days = self._days
        step = 1 if len(days) <= MOST_DAYS else 7
        for begin in days[::step]:
            for one in self.variants:
                inside: Bools = (one.day >= begin) & (one.day < begin + step)
                rates = {name: one.totals(name, inside).rate for name in self.rewards}
                yield Period(
                    date(1970, 1, 1) + timedelta(days=begin),
                    min(step, days[-1] + 1 - begin),
                    one.name,
                    len(np.unique(one.user[inside])),
                    int(one.lists[inside].sum()),
                    rates,
                )


def _chosen(variants: Mapping[str, Variant], a: str | None, b: str | None, log: Path) -> tuple[Variant, Variant]:
    """Two variants of a log.

    Raises:
        InputError: if there are not two, or not these.
    """
    names = f"{', '.join(list(variants)[:NAMED])}{', …' if len(variants) > NAMED else ''}"
    if missing := next((name for name in (a, b) if name is not None and name not in variants), None):
        raise InputError(f"{KEY}: {log}: no variant '{missing}'; there is {names}")
    rest = [name for name in variants if name not in (a, b)]
    first = a if a is not None else next(iter(rest), None)
    second = b if b is not None else next((name for name in rest if name != first), None)
    if first is None or second is None or first == second:
        raise InputError(f"{KEY}: {log}: needs two variants; there is {names}")
    if len(variants) > 2 and (a is None or b is None):
        raise InputError(f"{KEY}: {log}: has {len(variants)} variants, {names}; name two with --a and --b")
    return variants[first], variants[second]
