"""Which rule, or which rank, kept an item out of a user's list."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crossrec_cli import runtime
from crossrec_cli.artifacts import tables as t
from crossrec_cli.config.schema import Config
from crossrec_cli.errors import InputError
from crossrec_cli.interest.ensemble import Ensemble
from crossrec_cli.ranking.rules import MIN_SCORE, Lists
from crossrec_cli.ranking.topk import chunks, interest_scorer
from crossrec_cli.reporting import Silent
from crossrec_cli.stages import FINETUNED, INTERACTIONS
from crossrec_cli.stages.load import World, load_model, load_world
from crossrec_cli.stages.recommend import ALL_USERS
from crossrec_cli.stages.recommender import shelf_of, with_newest
from crossrec_cli.stages.rules import KEY, Shelf


def why_not(config: Config, inputs: Mapping[str, Path], lists: pa.Table, user: str, item: str) -> str:
    """Why an item is not in a user's list, in one line.

    Args:
        config: the whole config.
        inputs: the files that recommend reads.
        lists: what recommend wrote.
        user: a user's id.
        item: an item's id.

    Raises:
        InputError: if there is no such user.
    """
    known = load_world(inputs)
    world, _ = with_newest(config, known)
    index, users = (
        pc.index(ids, id_).as_py() for ids, id_ in ((world.items[t.ITEM_ID], item), (world.users[t.USER_ID], user))
    )
    if users < 0:
        raise InputError(f"--user {user}: not in the data")
    if index < 0:
        return "no such item"
    if not world.histories.domain.is_target[index]:
        return f"not a target item; its category is {world.items[t.CATEGORY][index].as_py()}"
    if config.recommend.users != (ALL_USERS,) and user not in config.recommend.users:
        return "the user gets no list; recommend.users names others"
    listed = lists.filter(pc.and_(pc.equal(lists[t.USER_ID], user), pc.equal(lists[t.ITEM_ID], item)))
    if listed.num_rows:
        return f"it is in the list, at place {listed[t.RANK][0].as_py()}"
    runtime.prepare(config.runtime, config.seed)
    model = load_model(inputs, FINETUNED, config.interest)
    shelf = shelf_of(config, inputs, known, world, model, Silent())
    return _Case(config, world, shelf, model, users, index).reason(inputs, known)


class _Case:
    """A user and a target item."""

    def __init__(self, config: Config, world: World, shelf: Shelf, model: Ensemble, user: int, item: int) -> None:
        self.config, self.world, self.shelf, self.model = config, world, shelf, model
        self.user, self.item = user, item

    def reason(self, inputs: Mapping[str, Path], known: World) -> str:
        """The first rule that keeps the item out, else its rank."""
        shelf, rules = self.shelf, self.config.recommend.rules
        failing = shelf.failing[np.searchsorted(self.world.target_items, self.item)]
        if failing >= 0:
            return self._filtered(shelf.filters[failing])
        barred = shelf.barred.take(np.array([self.user]))
        if self.item in barred.values:
            return self._bought(inputs, known)
        one, given = np.array([self.user]), self.world.histories.items.lengths[[self.user]]
        scorer = interest_scorer(self.model, shelf.items)
        (chunk,) = chunks(scorer, self.world.histories, one, given, shelf.items, False)
        column = int(shelf.number[self.item])
        if rules.min_score is not None:
            score = float(shelf.rules.probability(chunk.scores[:, [column]]))
            if score < rules.min_score:
                return f"its score is {score:.2g}, below {KEY}.{MIN_SCORE}, {rules.min_score:g}"
        return self._outranked(shelf.lists(chunk, one), column)

    def _filtered(self, name: str) -> str:
        if name == "block":
            return f"in {KEY}.block"
        if name != "price":
            return f"not in {KEY}.{name}"
        price = self.world.items[t.PRICE][self.item].as_py()
        return (
            f"has no price, and {KEY}.price wants one"
            if price is None
            else f"its price, {price:g}, is not in {KEY}.price"
        )

    def _bought(self, inputs: Mapping[str, Path], known: World) -> str:
        """When the user last had it."""
        before, days = known.histories.items, self.config.recommend.rules.rebuy_after_days
        since = "" if days is None else f"; {KEY}.rebuy_after_days is {days:g}"
        now = self.world.histories.items.take(np.array([self.user])).values
        begin, length = (
            int(part[self.user]) if self.user < known.histories.users else 0 for part in (before.starts, before.lengths)
        )
        if self.item in now[length:]:
            return f"already bought, in recommend.events{since}"
        times = t.read_table(inputs[INTERACTIONS], [t.TIMESTAMP])[t.TIMESTAMP]
        latest = times[begin + int(np.flatnonzero(now[:length] == self.item)[-1])].as_py()
        return f"already bought{f' on {latest:%Y-%m-%d}' if latest else ''}{since}"

    def _outranked(self, found: Lists, column: int) -> str:
        """It may be shown, but the places went to others."""
        rules, ranking = self.shelf.rules, found.ranking[0]
        places = found.places[0][found.places[0] >= 0]
        rank, left = int((ranking > ranking[column]).sum()) + 1, int((ranking > -np.inf).sum())
        told = f"ranked {_ordinal(rank)} of {left:,}"
        lower = places[ranking[places] < ranking[column]]
        if len(lower) or len(places) < rules.k:
            for name, cap in rules.caps.items():
                if rules.full(name, found.places, found.places.new_tensor([[column]])).item():
                    group = self.shelf.groups[name][int(cap.group[column])]
                    return f"{told}, but the list already has {cap.most} of {name.removeprefix('per_')} {group}"
        if rules.new is not None and found.forced.item() and rules.new[lower].all() and not rules.new[column]:
            return f"{told}, but {KEY}.new_items keeps {int(found.forced)} of the {len(places)} places for new items"
        if rules.texts is not None and len(lower):
            nearest = places[(rules.texts[places] @ rules.texts[column]).argmax()]
            other = self.world.items[t.ITEM_ID][int(self.shelf.items[nearest])].as_py()
            return f"{told}, but of the list {other} is too like it for {KEY}.diversity"
        return f"{told}; the list ends at {len(places)}"


def _ordinal(number: int) -> str:
    """1 as 1st, 12 as 12th, 1023 as 1,023rd."""
    ending = "th" if 10 < number % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"
