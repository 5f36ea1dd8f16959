"""Why an item is not in a user's list: the rule that removes it, or its rank."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from crossrec_cli.artifacts import columns as c
from crossrec_cli.ranking.candidate_pool import KEY, LANGUAGES
from crossrec_cli.ranking.recommender import ALL_USERS, Recommender, RequestBatch
from crossrec_cli.ranking.shop_rules import MIN_SCORE, RuledLists
from crossrec_cli.ranking.topk import chunks


def why_not(recommender: Recommender, lists: pa.Table, user: str, item: str) -> str:
    """Why an item is not in a user's list, in one line.

    Args:
        recommender: makes the lists.
        lists: the user's list, possibly with those of others.
        user: a user's id.
        item: an item's id.

    Raises:
        InputError: if there is no such user.
    """
    (index,) = recommender.users([user], "--user")
    listed_users = recommender.config.recommend.users
    if listed_users != (ALL_USERS,) and index not in recommender.users(listed_users, "recommend.users"):
        return "the user gets no list; recommend.users names others"
    at = int(index) if index < recommender.earlier.histories.users else -1
    return kept_out(recommender, RequestBatch(recommender.dataset, recommender.pool), int(index), at, lists, item)


def kept_out(
    recommender: Recommender, request_batch: RequestBatch, user: int, at: int, lists: pa.Table, item: str
) -> str:
    """``why_not`` for one user of a request batch.

    Args:
        recommender: makes the lists.
        request_batch: the users who get lists.
        user: the user's index in the batch.
        at: the user's index in the data, −1 for a new user.
        lists: the user's list, possibly with those of others.
        item: an item's id.
    """
    dataset, user_id = recommender.dataset, request_batch.dataset.users[c.USER_ID][user]
    index = pc.index(dataset.items[c.ITEM_ID], item).as_py()
    if index < 0:
        return "no such item; it is in no items file, or items.exclude, data.clean or data.min_interactions removed it"
    if not dataset.histories.item_stats.is_target[index]:
        return f"not a target item; its category is {dataset.items[c.CATEGORY][index].as_py()}"
    listed = lists.filter(pc.and_(pc.equal(lists[c.USER_ID], user_id), pc.equal(lists[c.ITEM_ID], item)))
    if listed.num_rows:
        return f"it is in the list, at place {listed[c.RANK][0].as_py()}"
    return _Case(recommender, request_batch, user, at, index).reason()


class _Case:
    """A user and a target item."""

    def __init__(self, recommender: Recommender, request_batch: RequestBatch, user: int, at: int, item: int) -> None:
        self.recommender, self.dataset, self.pool, self.user, self.at, self.item = (
            recommender,
            *request_batch,
            user,
            at,
            item,
        )

    def reason(self) -> str:
        """The first rule that removes the item, otherwise its rank."""
        pool, rules, one = self.pool, self.recommender.config.recommend.rules, np.array([self.user])
        failing = pool.failing[np.searchsorted(self.dataset.target_items, self.item)]
        if failing >= 0:
            return self._filtered(pool.filters[failing])
        if self.item in pool.barred.take(one).values:
            return self._bought()
        histories = self.dataset.histories
        (chunk,) = chunks(self.recommender.scorer, histories, one, histories.items.lengths[one], pool.items, False)
        column = int(pool.number[self.item])
        if rules.min_score is not None:
            score = float(torch.sigmoid(chunk.scores[0, column]))
            if score < rules.min_score:
                return f"its score is {score:.2g}, below {KEY}.{MIN_SCORE}, {rules.min_score:g}"
        return self._outranked(pool.lists(chunk, one), column)

    def _filtered(self, name: str) -> str:
        if name == "block":
            return f"in {KEY}.block"
        if name == LANGUAGES:
            return f"its language, {self.dataset.items[c.LANGUAGE][self.item].as_py()}, is not in recommend.languages"
        if name != "price":
            return f"not in {KEY}.{name}"
        price = self.dataset.items[c.PRICE][self.item].as_py()
        return (
            f"has no price, and {KEY}.price requires one"
            if price is None
            else f"its price, {price:g}, is not in {KEY}.price"
        )

    def _bought(self) -> str:
        """When the user last bought it, or disliked it."""
        history, days = (
            self.recommender.earlier.histories.items,
            self.recommender.config.recommend.rules.rebuy_after_days,
        )
        since = "" if days is None else f"; {KEY}.rebuy_after_days is {days:g}"
        whole = self.dataset.histories.items.take(np.array([self.user]))
        items_now, did = whole.values, "already bought" if whole.liked[whole.values == self.item].all() else "disliked"
        begin, length = (int(part[self.at]) if self.at >= 0 else 0 for part in (history.starts, history.lengths))
        if self.item in items_now[length:]:
            return f"{did} since the data were read{since}"
        times = self.recommender.updated.times(self.recommender.inputs)
        latest = times[begin + int(np.flatnonzero(items_now[:length] == self.item)[-1])].as_py()
        return f"{did}{f' on {latest:%Y-%m-%d}' if latest else ''}{since}"

    def _outranked(self, ruled: RuledLists, column: int) -> str:
        """The item may be shown, but others filled the list."""
        rules, ranking = self.pool.rules, ruled.ranking[0]
        listed = ruled.columns[0][ruled.columns[0] >= 0]
        rank, ranked = int((ranking > ranking[column]).sum()) + 1, int((ranking > -np.inf).sum())
        rank_text = f"ranked {_ordinal(rank)} of {ranked:,}"
        outranking = listed[ranking[listed] < ranking[column]]
        if len(outranking) or len(listed) < rules.k:
            for name, cap in rules.caps.items():
                if rules.full(name, ruled.columns, ruled.columns.new_tensor([[column]])).item():
                    group = self.pool.groups[name][int(cap.group[column])]
                    return f"{rank_text}, but the list already has {cap.limit} of {name.removeprefix('per_')} {group}"
        if rules.new is not None and ruled.forced.item() and rules.new[outranking].all() and not rules.new[column]:
            return (
                f"{rank_text}, but {KEY}.new_items keeps {int(ruled.forced)} of the {len(listed)} places for new items"
            )
        if rules.texts is not None and len(outranking):
            nearest = listed[(rules.texts[listed] @ rules.texts[column]).argmax()]
            similar_item = self.dataset.items[c.ITEM_ID][int(self.pool.items[nearest])].as_py()
            return f"{rank_text}, but of the list {similar_item} is too similar to it for {KEY}.diversity"
        return f"{rank_text}; the list ends at {len(listed)}"


def _ordinal(number: int) -> str:
    """1 as 1st, 12 as 12th, 1023 as 1,023rd."""
    ending = "th" if 10 < number % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"
