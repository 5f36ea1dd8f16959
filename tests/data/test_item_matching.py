"""Items of several platforms, joined by their texts."""

from __future__ import annotations

import math
import re
from collections import Counter

import pandas as pd
import pytest
from conftest import preprocess
from small import BASE, cleaned, kinds, table, write

TITLES = {
    "a": {
        "r0": "Kind of Blue, Miles Davis",
        "r1": "A Love Supreme by John Coltrane",
        "r2": "the record of the year",
        "r3": "!!!",
        "b0": "Blue Train: the biography",
        "b1": "Giant Steps",
        "r4": "Sketches of Spain",
        "r5": "Sketches of Spain",
    },
    "b": {
        "x0": "miles davis — KIND OF BLUE",
        "x1": "A Love Supreme by John Coltrane (live, remastered)",
        "x2": "the book of the record",
        "x3": "???",
        "y0": "the biography",
        "y1": "Giant Steps",
        "y2": "Giant Steps",
        "x4": "sketches of Spain",
    },
    "c": {"z0": "kind of blue miles davis", "z1": "Giant Leaps"},
}


def confidences() -> dict[tuple[str, str], float]:
    """Weighted Jaccard similarity of every two items of different platforms that share a word."""
    words = {
        f"{platform}:{item}": set(re.findall(r"\w+", title.lower()))
        for platform, titles in TITLES.items()
        for item, title in titles.items()
    }
    having = Counter(word for found in words.values() for word in found)
    weight = {word: math.log(len(words) / n) for word, n in having.items()}
    found = {}
    for one, mine in words.items():
        for other, theirs in words.items():
            if one[0] < other[0] and mine & theirs:
                # Exact, since sets are walked in another order every time.
                shared, all_words = (math.fsum(map(weight.get, some)) for some in (mine & theirs, mine | theirs))
                found[one, other] = shared / all_words
    return found


def best_pairs(least: float) -> dict[tuple[str, str], float]:
    """Of all pairs those that are best for both, ties to the smaller id."""
    found = confidences()

    def is_best(pair: tuple[str, str], side: int) -> bool:
        rivals = [
            other
            for other in found
            if other[side] == pair[side] and other[1 - side][0] == pair[1 - side][0] and other != pair
        ]
        return all((-round(found[pair], 9), *pair) < (-round(found[other], 9), *other) for other in rivals)

    return {pair: n for pair, n in found.items() if n >= least and is_best(pair, 0) and is_best(pair, 1)}


def matched_shop(folder, **match):
    base = "\n".join(["a0 r0 2024-01-01", "a0 b0 2024-01-02", "a0 b1 2024-01-03"])
    rows = {"a": base, "b": "b0 x0 2024-01-01\n b0 y1 2024-01-02", "c": "c0 z0 2024-01-01"}
    shops = {}
    for name, titles in TITLES.items():
        kind = ["book" if item[0] in "by" else "record" for item in titles]
        items = pd.DataFrame({"item": list(titles), "kind": kind, "title": list(titles.values())})
        shops[name] = (table("user item time", rows[name]), items)
    shop = write(folder, **shops)
    shop.config["data"]["identity"] = {"match_items": match}
    return shop


@pytest.fixture(scope="module")
def matched(tmp_path_factory):
    return preprocess(matched_shop(tmp_path_factory.mktemp("matched"), propose=0.3, apply=0.9))


def test_items_whose_texts_share_their_rare_words_are_proposed_with_a_plain_loops_confidence(matched):
    links = matched["item_links"]
    found = {(row.item_id, row.other_item_id): row.confidence for row in links.itertuples()}
    expected = best_pairs(0.3)
    assert found == {pair: pytest.approx(n, abs=1e-8) for pair, n in expected.items()}
    assert expected["a:r1", "b:x1"] < 0.9 < expected["a:r0", "b:x0"] == 1.0
    assert ("a:b1", "b:y1") in found
    assert ("a:b1", "b:y2") not in found
    assert ("a:r4", "b:x4") in found
    assert ("a:r5", "b:x4") not in found
    assert links["confidence"].is_monotonic_decreasing
    assert links.set_index("item_id").loc["a:r1", ["text", "other_text"]].tolist() == [
        "A Love Supreme by John Coltrane",
        "A Love Supreme by John Coltrane (live, remastered)",
    ]


def test_only_pairs_from_apply_on_become_one_item(matched):
    links = matched["item_links"]
    assert (links["applied"] == (links["confidence"] >= 0.9)).all()
    assert {False, True} == set(links["applied"])
    items = set(matched["items"]["item_id"])
    assert {"a:r0", "a:b1", "a:r1", "b:x1", "b:y2"} <= items
    assert not {"b:x0", "c:z0", "b:y1"} & items
    rows = matched["interactions"].set_index("original_item_id")["item_id"]
    assert rows["x0"] == rows["z0"] == rows["r0"] == "a:r0"
    assert rows["y1"] == rows["b1"] == "a:b1"


def test_items_are_only_proposed_where_apply_is_not_set(tmp_path):
    found = cleaned(matched_shop(tmp_path, propose=0.95))
    assert set(zip(found["item_links"]["item_id"], found["item_links"]["other_item_id"], strict=True)) == set(
        best_pairs(0.95)
    )
    assert not found["item_links"]["applied"].any()
    assert len(found["items"]) == sum(map(len, TITLES.values()))


def test_texts_of_nothing_but_words_that_all_have_are_no_match(tmp_path):
    base = table("user item time", BASE)
    items = kinds("r0", "b0", "b1").assign(title="new")
    shop = write(tmp_path, one=(base, items), two=(base, items))
    shop.config["data"]["identity"] = {"match_items": {"propose": 0.1, "apply": 0.1}}
    found = cleaned(shop)
    assert found["item_links"].empty
    assert len(found["items"]) == 6
