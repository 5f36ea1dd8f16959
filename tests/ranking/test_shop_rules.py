from __future__ import annotations

import numpy as np
import pytest
import torch

from crossrec_cli.ranking import shop_rules as r
from crossrec_cli.ranking.shop_rules import Cap, ListRules, first_failing

NOTHING = (torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64))
BY_HAND = torch.tensor([[5.0, 4.0, 3.0, 2.0, 1.0, 0.0]])


def rules(k: int = 3, **more) -> ListRules:
    return ListRules(k=k, probability=torch.sigmoid, **more)


def cap(groups: list[int], most: int) -> Cap:
    return Cap(torch.tensor(groups), most)


def test_without_any_rule_the_best_stand_in_the_list():
    found = rules().lists(BY_HAND, NOTHING)
    assert found.columns.tolist() == [[0, 1, 2]]
    assert found.missing == {"bought": 0}


def test_the_scores_stay_as_they_are():
    scores = BY_HAND.clone()
    rules(min_score=0.9, boost=torch.ones(6)).lists(scores, (torch.tensor([0]), torch.tensor([0])))
    assert torch.equal(scores, BY_HAND)


def test_what_is_barred_is_not_shown_and_counted_where_it_would_have_been():
    found = rules().lists(BY_HAND, (torch.tensor([0, 0]), torch.tensor([1, 5])))
    assert found.columns.tolist() == [[0, 2, 3]]
    assert found.missing == {"bought": 1}, "the sixth would not have been in the list"


def test_a_minimum_ends_the_list():
    found = rules(min_score=float(torch.sigmoid(torch.tensor(4.0)))).lists(BY_HAND, NOTHING)
    assert found.columns.tolist() == [[0, 1, -1]]
    assert found.missing == {"bought": 0, "min_score": 1}


def test_a_boost_moves_an_item_up_and_does_not_lift_it_over_the_minimum():
    boost = torch.tensor([0, 0, 0, 0, 0, 9.0])
    found = rules(boost=boost).lists(BY_HAND, NOTHING)
    assert found.columns.tolist() == [[5, 0, 1]]
    assert found.missing == {"bought": 0, "boosts": 1}
    assert rules(boost=boost, min_score=0.6).lists(BY_HAND, NOTHING).columns.tolist() == [[0, 1, 2]]


def test_a_cap_lets_so_many_of_a_group_in_and_all_that_have_none():
    found = rules(caps={"per_brand": cap([0, 0, 0, -1, -1, -1], 1)}).lists(BY_HAND, NOTHING)
    assert found.columns.tolist() == [[0, 3, 4]]
    assert found.missing == {"bought": 0, "per_brand": 2}


def test_what_one_cap_refuses_does_not_count_against_the_other():
    """Item 1 is refused for its category; its brand still has room for item 2."""
    caps = {"per_category": cap([0, 0, 1, 2, 2, 2], 1), "per_brand": cap([0, 1, 1, 2, 3, 4], 1)}
    assert rules(caps=caps).lists(BY_HAND, NOTHING).columns.tolist() == [[0, 2, 3]]


def test_places_are_kept_for_new_items_and_no_more_than_are_missing():
    new = torch.tensor([False, True, False, False, False, True])
    assert rules(new=new, new_items=1).lists(BY_HAND, NOTHING).columns.tolist() == [[0, 1, 2]], "one is there anyway"
    found = rules(new=new, new_items=2).lists(BY_HAND, NOTHING)
    assert found.columns.tolist() == [[0, 1, 5]]
    assert found.missing == {"bought": 0, "new_items": 1}
    more = rules(new=new, new_items=3).lists(BY_HAND, NOTHING)
    assert more.columns.tolist() == [[0, 1, 5]], "there are but two, and the third place is not lost"
    barred = (torch.tensor([0]), torch.tensor([5]))
    assert rules(new=new, new_items=2).lists(BY_HAND, barred).columns.tolist() == [[0, 1, 2]]


def test_a_new_item_far_below_the_pool_gets_its_place():
    count = 5000
    new = torch.zeros(count, dtype=torch.bool)
    new[-1] = True
    found = rules(new=new, new_items=1).lists(-torch.arange(count, dtype=torch.float32)[None], NOTHING)
    assert found.columns.tolist() == [[0, 1, count - 1]]


def test_a_list_that_a_cap_ends_has_no_gap_before_its_new_item(monkeypatch):
    """Of the pool of three one is let in; the other that may be is new, and stands outside it."""
    monkeypatch.setattr(r, "POOL_PLACES", 1)
    monkeypatch.setattr(r, "POOL_LEAST", 3)
    new = torch.tensor([False] * 5 + [True])
    found = rules(caps={"per_brand": cap([0, 0, 0, 0, 0, 1], 1)}, new=new, new_items=1).lists(BY_HAND, NOTHING)
    assert found.columns.tolist() == [[0, 5, -1]]


def test_the_next_item_is_unlike_those_above_it():
    texts = torch.nn.functional.normalize(torch.tensor([[1.0, 0], [1, 0], [0.9, 0.1], [0, 1], [0, 1], [1, 1]]), dim=1)
    by = {weight: rules(diversity=weight, texts=texts).lists(BY_HAND, NOTHING) for weight in (0.01, 0.5, 1.0)}
    assert by[0.01].columns.tolist() == [[0, 1, 2]]
    # relevance 1, .8, .6, .4, .2, 0; after item 0: 1 gets .4 − .5, 3 gets .2 − 0; then 5 gets 0 − .35, 1 gets −.1
    assert by[0.5].columns.tolist() == [[0, 3, 1]]
    assert by[0.5].missing == {"bought": 0, "diversity": 1}
    assert by[1.0].columns.tolist() == [[0, 3, 5]]


def test_each_missing_item_is_counted_once_and_first_with_what_bars_it():
    caps = {"per_category": cap([0, 0, 0, 1, 1, 1], 1)}
    found = rules(caps=caps, min_score=0.6).lists(BY_HAND, (torch.tensor([0]), torch.tensor([0])))
    assert found.columns.tolist() == [[1, 3, -1]]
    assert found.missing == {"bought": 1, "min_score": 0, "per_category": 1}


def test_more_places_than_items():
    new, texts = torch.ones(6, dtype=torch.bool), torch.eye(6)
    found = rules(k=50, caps={"per_brand": cap([0] * 6, 4)}, new=new, new_items=2, diversity=0.1, texts=texts)
    places = found.lists(BY_HAND, NOTHING).columns
    assert places.shape == (1, 6)
    assert (places >= 0).sum() == 4


def test_nobody_and_who_has_everything():
    caps = {"per_brand": cap([0] * 6, 4)}
    assert rules(caps=caps).lists(BY_HAND[:0], NOTHING).columns.shape == (0, 3)
    everything = torch.zeros(6, dtype=torch.int64), torch.arange(6)
    some = rules(caps=caps, diversity=0.5, texts=torch.eye(6), new=torch.ones(6, dtype=torch.bool), new_items=1)
    assert some.lists(BY_HAND, everything).columns.tolist() == [[-1, -1, -1]]


def plainly(scores: np.ndarray, barred: set[int], boost: np.ndarray, caps: dict, new: np.ndarray, places: int) -> list:
    """The same over the whole ranking, an item at a time."""
    order = [i for i in np.argsort(-(scores + boost)) if i not in barred and 1 / (1 + np.exp(-scores[i])) >= 0.3]
    chosen: list[int] = []
    missing = min(places, sum(new[order]))
    while len(chosen) < 5:
        open_ = [
            i
            for i in order
            if i not in chosen
            and all(g[i] < 0 or sum(g[j] == g[i] for j in chosen) < most for g, most in caps.values())
        ]
        if missing - sum(new[chosen]) >= 5 - len(chosen) and any(new[open_]):
            open_ = [i for i in open_ if new[i]]
        if not open_:
            return chosen + [-1] * (5 - len(chosen))
        chosen.append(open_[0])
    return chosen


@pytest.mark.parametrize("pool", [5, 12, 10_000])
@pytest.mark.parametrize("seed", range(5))
def test_against_a_plain_loop_whatever_the_pool(pool, seed, monkeypatch):
    """Lists that a small pool leaves short are filled from a larger one."""
    monkeypatch.setattr(r, "POOL_PLACES", 1)
    monkeypatch.setattr(r, "POOL_LEAST", pool)
    monkeypatch.setattr(r, "CELLS", 100)
    rng = np.random.default_rng(seed)
    users, count = 12, 80
    scores = rng.normal(size=(users, count)).astype(np.float32)
    groups = {"per_category": (rng.integers(-1, 4, count), 2), "per_brand": (rng.integers(-1, 9, count), 1)}
    boost = np.where(rng.random(count) < 0.2, 1.0, 0).astype(np.float32)
    barred = [set(rng.choice(count, 20, replace=False).tolist()) for _ in range(users)]
    new = rng.random(count) < 0.05
    made = ListRules(
        k=5,
        probability=torch.sigmoid,
        min_score=0.3,
        boost=torch.from_numpy(boost),
        caps={name: Cap(torch.from_numpy(group), most) for name, (group, most) in groups.items()},
        new=torch.from_numpy(new),
        new_items=1,
    )
    rows = torch.tensor([row for row, items in enumerate(barred) for _ in items])
    columns = torch.tensor([item for items in barred for item in items])
    found = made.lists(torch.from_numpy(scores), (rows, columns))
    for user in range(users):
        expected = plainly(scores[user], barred[user], boost, groups, new, 1)
        assert found.columns[user].tolist() == expected, user
    missing = 0
    for user in range(users):
        order = np.argsort(-scores[user]).tolist()
        missing += len(set(order[:5]) & barred[user])
        missing += len(set([i for i in order if i not in barred[user]][:5]) - set(found.columns[user].tolist()))
    assert sum(found.missing.values()) == missing


def test_the_first_filter_that_an_item_fails_counts():
    passes = {"in_stock": np.array([True, False, True, False]), "price": np.array([True, True, False, False])}
    assert first_failing(passes, 4).tolist() == [-1, 0, 1, 0]
    assert first_failing({}, 2).tolist() == [-1, -1]
