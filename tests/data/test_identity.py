"""People and items of several platforms, joined by mapping tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import preprocess
from facts import fails
from small import BASE, cleaned, kinds, measured, table, write

from crossrec_cli.errors import InputError

USERS = """
    ann    shop  ann1
    ann    app   ann2
    bob    shop  bob1
    bob    app   bob2
    bob    web   bob3
    cat    app   cat1
    cat    web   cat2
    cat    web   cat3
    dan    app   dan1
    eve    shop  eve1
    eve    shop  eve2
    eve    app   eve3
    fay    shop  fay1
    fay    app   fay2
    fay    web   fay3
    ivy    shop  ivy1
    ivy    web   ivy3
    gus    shop  same
    hal    app   same
"""
"""Who is who: person, platform, the platform's own id."""
LINKS = {
    (
        "shop",
        "app",
    ): "ann1 ann2\n bob1 bob2\n eve1 eve3\n eve2 eve3\n fay1 fay2\n ghost dan1\n - ann2\n ann1 ann2\n ivy1 ghost",
    ("app", "web"): "bob2 bob3\n fay2 fay3\n cat1 cat2\n nobody never\n ghost ivy3",
    ("shop", "web"): "fay1 fay3",
    ("web", "web"): "cat2 cat3\n cat3 cat3",
}


def link(shop, of: str, links: dict[tuple[str, str], str]) -> None:
    """Write mapping tables and name them in the config."""
    specs = []
    for (left, right), pairs in links.items():
        path = shop.folder / f"{of}-{left}-{right}.csv"
        table("a b", pairs).to_csv(path, index=False)
        ends = {"left": {"platform": left, "id": "a"}, "right": {"platform": right, "id": "b"}}
        specs.append({"path": str(path), **ends})
    shop.config["data"].setdefault("identity", {})[of] = specs


def linked_shop(folder, conflicts="apart"):
    """Three platforms on which everybody buys the record once, and has a tag."""
    who = table("person platform user", USERS)
    shops = {}
    for nth, name in enumerate(("shop", "app", "web")):
        here = who[who["platform"] == name]
        rows = here[["user"]].assign(
            item="r0", time=[f"2024-02-{10 * nth + place + 1:02}" for place in range(len(here))]
        )
        shops[name] = (
            pd.concat([table("user item time", BASE), rows]),
            kinds("r0", "b0", "b1"),
            here[["user"]].assign(tag=name, own=here["user"]),
        )
    shop = write(folder, **shops)
    shop.config["data"]["platforms"][2]["users"]["tags"] = ["tag"]
    link(shop, "users", LINKS)
    shop.config["data"]["identity"]["conflicts"] = conflicts
    shop.config["data"]["repeats"] = "keep"
    return shop


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    return preprocess(linked_shop(tmp_path_factory.mktemp("apart")))


def people(found) -> dict[str, set[str]]:
    """The platforms' own ids of each user, of those who bought."""
    rows = found["interactions"]
    own = rows["platform"] + ":" + rows["original_user_id"]
    return own[rows["original_user_id"] != "base"].groupby(rows["user_id"]).agg(set).to_dict()


JOINED = {
    "app:ann2": {"shop:ann1", "app:ann2"},
    "app:bob2": {"shop:bob1", "app:bob2", "web:bob3"},
    "app:cat1": {"app:cat1", "web:cat2", "web:cat3"},
    "app:dan1": {"app:dan1"},
    "app:fay2": {"shop:fay1", "app:fay2", "web:fay3"},
    "shop:ivy1": {"shop:ivy1", "web:ivy3"},  # by an app:ghost that occurs nowhere else
    "shop:same": {"shop:same"},
    "app:same": {"app:same"},
}
EVES = {"shop:eve1", "shop:eve2", "app:eve3"}


def test_links_join_platforms_chains_and_devices_and_leave_conflicts_apart(apart):
    assert people(apart) == JOINED | {eve: {eve} for eve in EVES}
    figures = measured(apart, "identity")
    assert {label: n for (label, of), n in figures.items() if of == "users"} == {
        "conflicts": 1,  # eve
        "cycles": 1,  # fay
        "joined": 1 + 2 + 2 + 2 + 1 + 2 + 1,  # ann, bob, cat, fay, dan's ghost, ivy and hers, nobody
    }


def test_only_people_who_bought_or_are_in_a_users_file_are_users(apart):
    expected = {f"{name}:base" for name in ("shop", "app", "web")} | set(JOINED) | EVES
    assert set(apart["users"]["user_id"]) == expected
    assert not apart["users"]["user_id"].duplicated().any()
    assert (apart["users"]["user_id"].str.partition(":")[0] == apart["users"]["platform"]).all()


def test_a_persons_tags_of_all_platforms_are_united(apart):
    tags = apart["users"].set_index("user_id")["tags"].map(list).to_dict()
    assert tags["app:bob2"] == ["own=bob1", "own=bob2", "tag=app", "tag=shop", "tag=web"]
    assert tags["app:cat1"] == ["own=cat1", "tag=app", "tag=web"]
    assert tags["shop:eve1"] == ["own=eve1", "tag=shop"]
    assert tags["web:base"] == []


def test_every_row_keeps_its_platform_and_that_platforms_ids(apart):
    rows = apart["interactions"]
    bob = rows[rows["user_id"] == "app:bob2"]
    found = bob[["platform", "original_user_id", "original_item_id", "position", "timestamp"]].to_numpy().tolist()
    assert found == [
        ["shop", "bob1", "r0", 0, pd.Timestamp("2024-02-02")],
        ["app", "bob2", "r0", 1, pd.Timestamp("2024-02-12")],
        ["web", "bob3", "r0", 2, pd.Timestamp("2024-02-21")],
    ]
    assert bob["item_id"].tolist() == ["shop:r0", "app:r0", "web:r0"]


def test_shared_users_of_platforms_are_counted_once_a_person(apart):
    # base, and on the shop gus and eve twice; see JOINED for the rest.
    expected = {("app", "app"): 8, ("shop", "shop"): 8, ("web", "web"): 5, ("app", "shop"): 3, ("app", "web"): 3}
    expected |= {("shop", "web"): 3}
    expected |= {(other, name): n for (name, other), n in expected.items()}
    assert measured(apart, "shared_platform_users") == expected


def test_conflicts_may_be_merged(tmp_path):
    found = cleaned(linked_shop(tmp_path, "merge"))
    assert people(found) == JOINED | {"app:eve3": EVES}
    assert measured(found, "identity")["conflicts", "users"] == 1


def test_conflicts_may_stop_it(tmp_path):
    with fails(InputError, "data.identity.users", *EVES, "data.identity.conflicts"):
        cleaned(linked_shop(tmp_path, "fail"))


def test_without_links_nobody_is_joined_whatever_the_ids(tmp_path):
    shop = linked_shop(tmp_path)
    del shop.config["data"]["identity"]
    found = cleaned(shop)
    who = table("person platform user", USERS)
    bases = {f"{name}:base" for name in ("shop", "app", "web")}
    assert set(found["users"]["user_id"]) == bases | set(who["platform"] + ":" + who["user"])
    assert measured(found, "identity") == {}


def test_a_mapping_table_without_a_whole_row_joins_nobody(tmp_path):
    base = table("user item time", BASE)
    shop = write(tmp_path, shop=(base, kinds("r0", "b0", "b1")), app=(base, kinds("r0", "b0", "b1")))
    link(shop, "users", {("shop", "app"): "- base\n base -"})
    assert set(cleaned(shop)["users"]["user_id"]) == {"shop:base", "app:base"}


def test_devices_of_one_platform_alone_are_joined(tmp_path):
    more = table("user item time", "phone r0 2024-02-01\n tablet b0 2024-02-02\n laptop b1 2024-02-03")
    shop = write(tmp_path, shop=(pd.concat([table("user item time", BASE), more]), kinds("r0", "b0", "b1")))
    link(shop, "users", {("shop", "shop"): "tablet phone\n laptop tablet"})
    found = cleaned(shop)
    assert set(found["users"]["user_id"]) == {"base", "laptop"}
    rows = found["interactions"]
    assert rows.loc[rows["user_id"] == "laptop", "original_user_id"].tolist() == ["phone", "tablet", "laptop"]


def random_rows(seed: int) -> pd.DataFrame:
    """Purchases of 30 people on two platforms under different ids, with many at one time; 24 items are on both."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame({"person": rng.integers(0, 30, 900), "thing": rng.integers(0, 40, 900)})
    rows["platform"] = rng.choice(["shop", "app"], 900)
    rows["time"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 60, 900), unit="h")
    return rows


def own_ids(rows: pd.DataFrame, platform: str) -> pd.DataFrame:
    rows = rows[rows["platform"] == platform]
    user, item = ("u{:02}", "{:02}") if platform == "shop" else ("{:03}x", "i{:03}")
    ids = {"user": rows["person"].map(user.format), "item": rows["thing"].map(item.format)}
    return pd.DataFrame({**ids, "time": rows["time"]})


@pytest.mark.parametrize(
    ("repeats", "split"),
    [
        ("keep", {"strategy": "leave_last_out"}),
        ("strongest", {"strategy": "cold_users", "share": 0.3}),
    ],
)
def test_two_linked_platforms_are_split_as_if_they_had_been_one(tmp_path, repeats, split):
    """Against the same purchases with the people's and items' true ids: no test purchase trains by another name."""
    rows = random_rows(1)
    if split["strategy"] == "leave_last_out":  # which of a basket's items is its last is drawn by the ids
        rows["time"] += pd.to_timedelta(np.arange(len(rows)), unit="s")
    things = pd.DataFrame({"thing": range(40)})
    things["kind"] = ["book" if thing % 3 == 0 else "record" for thing in range(40)]
    named = {}
    for name, form in (("shop", "{:02}"), ("app", "i{:03}")):
        named[name] = things.assign(item=things["thing"].map(form.format), title="x").drop(columns="thing")
    two = write(tmp_path / "two", **{name: (own_ids(rows, name), named[name]) for name in ("shop", "app")})
    link(two, "users", {("shop", "app"): "\n".join(f"u{person:02} {person:03}x" for person in range(30))})
    link(two, "items", {("app", "shop"): "\n".join(f"i{thing:03} {thing:02}" for thing in range(40))})
    one = write(tmp_path / "one", both=(own_ids(rows.assign(platform="shop"), "shop"), named["shop"]))
    for shop in (one, two):
        shop.config["data"]["repeats"] = repeats
        shop.config["data"]["clean"]["duplicates"] = "keep" if repeats == "keep" else "drop"
        shop.config["split"] = split
    found, expected = preprocess(two), preprocess(one)

    held = ["user_id", "item_id", "split", "history_length", "target_history_length", "cold_user", "cold_item"]
    person = {f"app:{person:03}x": f"u{person:02}" for person in range(30)}
    thing = {f"app:i{thing:03}": f"{thing:02}" for thing in range(40)}
    for name, columns in (
        ("cases", held),
        ("interactions", ["user_id", "item_id", "split", "timestamp", "position"]),
    ):
        mine = found[name].assign(user_id=found[name]["user_id"].map(person), item_id=found[name]["item_id"].map(thing))
        order = columns[:3] + columns[-1:]
        mine, theirs = (part[columns].sort_values(order, ignore_index=True) for part in (mine, expected[name]))
        if name == "interactions":
            theirs["position"], mine["position"] = (
                part.sort_values(["user_id", "timestamp", "item_id", "position"]).groupby("user_id").cumcount()
                for part in (theirs, mine)
            )
        pd.testing.assert_frame_equal(mine, theirs)
    assert set(found["interactions"]["platform"]) == {"shop", "app"}
    truly = found["interactions"]
    own = truly["original_item_id"].str.removeprefix("i").astype(int)
    assert (own == truly["item_id"].map(thing).astype(int)).all()


def test_a_test_purchase_bought_elsewhere_before_and_after_trains_only_what_was_before(tmp_path):
    """The same person buys the test item on the other platform under another id, once earlier and once later."""
    shop_rows = table("user item time", BASE + "ann1 r0 2024-02-01\n ann1 b0 2024-02-20\n ann1 b1 2024-02-25")
    app_rows = table(
        "user item time",
        "ann2 B1 2024-02-05\n ann2 R1 2024-02-10\n ann2 R2 2024-02-22\n ann2 B1 2024-03-01\n ann2 R1 2024-03-05",
    )
    app_items = kinds("R1", "R2", "B1").assign(kind=["record", "record", "book"])
    shop = write(tmp_path, shop=(shop_rows, kinds("r0", "b0", "b1")), app=(app_rows, app_items))
    link(shop, "users", {("shop", "app"): "ann1 ann2"})
    link(shop, "items", {("shop", "app"): "b1 B1"})
    shop.config["data"]["repeats"] = "keep"
    found = preprocess(shop)
    rows = found["interactions"]
    ann = rows[rows["user_id"] == "app:ann2"]
    assert ann["original_item_id"].tolist() == ["r0", "B1", "R1", "b0", "R2", "b1", "B1", "R1"]
    assert ann["split"].tolist() == ["train"] * 5 + ["valid"] + ["held_out"] * 2
    cases = found["cases"][found["cases"]["user_id"] == "app:ann2"].set_index("split")
    assert cases["history_length"].to_dict() == {"test": 6, "valid": 5}
    assert set(cases["item_id"]) == {"app:B1"}

    shop.config["data"]["repeats"] = "strongest"
    found = preprocess(shop)
    rows = found["interactions"]
    ann = rows[rows["user_id"] == "app:ann2"]
    assert ann["original_item_id"].tolist() == ["r0", "B1", "R1", "b0", "R2"]
    assert ann["split"].tolist() == ["train", "valid", "valid", "held_out", "held_out"]


def test_linked_items_are_one_of_the_first_platform_that_has_its_text(tmp_path):
    base = table("user item time", BASE)
    first = kinds("r0", "b0", "b1").assign(title=["first", None, "apart"], price=["1", "2", "3"])
    second = kinds("r0", "b0", "b1").assign(title=["second", "has text", "apart"], price=["7", "8", "9"])
    shop = write(tmp_path, two=(base, first), one=(base, second))
    link(shop, "items", {("one", "two"): "r0 r0\n b0 b0\n b1 unheard-of"})
    found = cleaned(shop)
    items = found["items"].set_index("item_id")
    assert items[["platform", "text", "price"]].T.to_dict("list") == {
        "one:r0": ["two", "first", 1.0],
        "one:b0": ["one", "has text", 8.0],
        "one:b1": ["one", "apart", 9.0],
        "two:b1": ["two", "apart", 3.0],
    }
    assert measured(found, "identity")["joined", "items"] == 3
    assert len(found["interactions"]) == 6
    assert set(found["interactions"]["user_id"]) == {"one:base", "two:base"}
