from __future__ import annotations

import pandas as pd
from facts import fails
from small import BASE, catalogue, cleaned, kinds, measured, table, write

from crossrec_cli.errors import ConfigError, InputError


def shop_of(folder, items: pd.DataFrame):
    """A shop with these items and the base ones."""
    return write(folder, shop=(table("user item time", BASE), pd.concat([kinds("r0", "b0", "b1"), items])))


def told(shop, column: str) -> dict:
    """One column of the catalogue by item."""
    items = catalogue(shop).set_index("item_id")[column].astype(object)
    return items.where(items.notna(), None).to_dict()


PATHS = {
    "plain": ("Food", "Food"),
    "arrows": ("Food > Fruit > Apples", "Food > Fruit > Apples"),
    "narrow": ("Food>Fruit", "Food > Fruit"),
    "bars": ("Food|Fruit| Apples", "Food > Fruit > Apples"),
    "json": ('["Food", "Fruit"]', "Food > Fruit"),
    "one": ('["Food"]', "Food"),
    "entity": ("Food &gt; Fruit &amp; Nuts", "Food > Fruit & Nuts"),
    "gaps": ("|Food||Fruit|", "Food > Fruit"),
    "brackets": ("[Food]", "[Food]"),
}


def test_a_category_is_a_path_however_it_is_written(tmp_path):
    items = pd.DataFrame([{"item": name, "title": "x", "kind": kind} for name, (kind, _) in PATHS.items()])
    found = told(shop_of(tmp_path, items), "category")
    assert {name: found[name] for name in PATHS} == {name: path for name, (_, path) in PATHS.items()}


def test_a_category_may_be_a_list_of_parquet(tmp_path):
    items = kinds("r0", "b0", "b1").assign(kind=[["Food", "Fruit"], ["book"], ["book", "Old"]])
    items["title"] = [["a", "b"], ["c"], []]
    shop = write(tmp_path, shop=(table("user item time", BASE), items))
    shop.config["data"]["clean"]["items_without_text"] = "keep"
    found = catalogue(shop).set_index("item_id")[["category", "text"]].astype(object)
    assert found.where(found.notna(), None).T.to_dict("list") == {
        "r0": ["Food > Fruit", "a b"],
        "b0": ["book", "c"],
        "b1": ["book > Old", None],
    }


def test_a_domain_is_its_categories_and_all_below_them(tmp_path):
    kind = ["Food", "Food > Fruit", "Foodstuff", "Food > Drink > Tea", "Fruit > Food", "Toys", None, "food"]
    items = pd.DataFrame({"item": [f"i{nth}" for nth in range(8)], "title": "x", "kind": kind})
    shop = shop_of(tmp_path, items)
    shop.config["domains"] = {
        "source": {"category": ["Food", "Toys", "record"]},
        "target": {"category": ["book", "Food > Drink"]},
    }
    found = told(shop, "domain")
    expected = ["source", "source", None, "target", None, "source", None, None]
    assert [found[f"i{nth}"] for nth in range(8)] == expected
    assert (found["r0"], found["b0"]) == ("source", "target")
    del shop.config["domains"]["source"]
    found = told(shop, "domain")
    expected = ["source", "source", "source", "target", "source", "source", "source", "source"]
    assert [found[f"i{nth}"] for nth in range(8)] == expected


def test_a_category_in_the_middle_of_a_path_is_none_of_its_own(tmp_path):
    items = pd.DataFrame({"item": ["i"], "title": "x", "kind": "Food > Fruit"})
    shop = shop_of(tmp_path, items)
    shop.config["domains"]["target"]["category"] = "Fruit"
    with fails(InputError, "domains.target.category", "'Fruit'", "Food > Fruit", "record"):
        catalogue(shop)


def test_price_bands_are_thirds_of_the_widest_category(tmp_path):
    kind = ["Food > Fruit"] * 4 + ["Food > Tea"] * 5 + ["Toys"] * 3 + ["Food"]
    price = ["1", "8", "3", "$4.50", "5", "6", "7", "2", "9", "1000", "1200", "1,100", "-"]
    items = pd.DataFrame({"item": [f"i{nth}" for nth in range(13)], "title": "x", "kind": kind, "price": price})
    shop = shop_of(tmp_path, items)
    found = catalogue(shop).set_index("item_id")
    bands = found["price_band"].astype(object).where(found["price_band"].notna(), None)
    expected = ["low", "high", "low", *["middle"] * 3, "high", "low", "high", "low", "high", "middle"]
    assert [bands[f"i{nth}"] for nth in range(13)] == [*expected, None]
    assert found["price"]["i3"] == 4.5


def test_equal_prices_are_in_one_band(tmp_path):
    """Whatever their ids: a band must not tell where an item stands in the file or the alphabet."""
    items = pd.DataFrame({"item": [f"i{nth}" for nth in range(6)], "title": "x", "kind": "Toys"})
    shop = shop_of(tmp_path, items.assign(price=[2.5] * 5 + [9.0]))
    bands = told(shop, "price_band")
    assert [bands[f"i{nth}"] for nth in range(6)] == ["low"] * 5 + ["high"]


def test_the_language_is_told_from_the_text_where_it_is_not_given(tmp_path):
    titles = [
        "The complete works of Shakespeare, with all the plays and sonnets",
        "Die Verwandlung und andere Erzählungen aus der Prager Zeit",
        "Les fleurs du mal et autres poèmes de la vie parisienne",
        "罪と罰 上下巻 新訳 文庫本",
        "B07 X",
    ]
    items = pd.DataFrame({"item": [f"i{nth}" for nth in range(5)], "title": titles, "kind": "record"})
    items["language"] = [None, " ", "EN", None, None]
    shop = shop_of(tmp_path, items)
    given = told(shop, "language")
    assert [given[f"i{nth}"] for nth in range(5)] == [None, None, "en", None, None]
    shop.config["data"]["detect_language"] = True
    detected = told(shop, "language")
    assert [detected[f"i{nth}"] for nth in range(4)] == ["en", "de", "en", "ja"]


def test_a_brand_of_several_entries_is_plain_text(tmp_path):
    items = pd.DataFrame(
        {"item": ["i", "j"], "title": "x", "kind": "record", "brand": ['["Verve", "ECM"]', " <b>A</b> "]}
    )
    brands = told(shop_of(tmp_path, items), "brand")
    assert (brands["i"], brands["j"], brands["r0"]) == ("Verve ECM", "A", None)


def test_a_template_leaves_out_what_is_empty_and_what_stands_behind_it(tmp_path):
    items = pd.DataFrame(
        {
            "item": ["all", "first", "second", "last", "none"],
            "title": ["T", "T", None, " ", ""],
            "brand": ["B", None, "B", " ", None],
            "size": ["S", None, None, "S", "<i></i>"],
            "kind": "record",
        }
    )
    shop = shop_of(tmp_path, items)
    platform = shop.config["data"]["platforms"][0]
    platform["items"]["text"] = "New: {title}. {brand} ({size})"
    texts = told(shop, "text")
    assert texts == {
        "all": "New: T. B (S)",
        "first": "New: T.",
        "second": "New: B (",
        "last": "New: S)",
        "none": None,
        "r0": "New: r0.",
        "b0": "New: b0.",
        "b1": "New: b1.",
    }


LINES = """
    r0  lamp      acme  hall     2.50  2024-01-01
    r0  lamp      acme  hall     2.50  2024-01-02
    r0  broken?   -     attic    0     2024-01-09
    r0  lamp      acme  hall     3.00  2024-01-05
    r0  a-lamp    zeta  hall     9.00  2024-01-03
    b0  mug       acme  book     1     2024-01-01
    b0  mug       acme  book     5     2024-01-02
    b0  mug       acme  book     2     2024-01-03
    b1  -         -     -        0     2024-01-01
    b1  -         -     -        0     2024-01-01
    -   x         x     book     1     2024-01-01
"""
"""Order lines: of r0 the alphabetically smallest row says a-lamp, zeta and attic, and the last one that it is free."""


def order_lines(folder):
    """A shop whose one table holds both who bought and what."""
    lines = table("item title brand kind price time", LINES).assign(user=[*"abcdeabcab", "a"])
    shop = write(folder, shop=(lines[["user", "item", "time"]], lines))
    platform = shop.config["data"]["platforms"][0]
    lines.to_parquet(platform["interactions"]["path"])
    platform["items"]["path"] = platform["interactions"]["path"]
    return shop


def test_of_order_lines_an_item_is_what_most_rows_say_at_its_latest_price(tmp_path):
    shop = order_lines(tmp_path)
    found = cleaned(shop)
    items = found["items"].set_index("item_id")[["text", "brand", "category", "price"]].astype(object)
    assert items.where(items.notna(), None).T.to_dict("list") == {
        "r0": ["lamp", "acme", "hall", 3.0],
        "b0": ["mug", "acme", "book", 2.0],
    }
    assert set(found["rejected"]["table"]) == {"interactions"}
    assert measured(found, "catalogue") == {
        ("described in more than one way", "shop"): 1,
        ("without a category", "shop"): 1,
    }


def test_without_times_an_item_costs_the_median_of_its_prices_that_are_prices(tmp_path):
    shop = order_lines(tmp_path)
    lines = table("item title brand kind price time", LINES)
    lines.to_parquet(tmp_path / "items.parquet")
    shop.config["data"]["platforms"][0]["items"]["path"] = str(tmp_path / "items.parquet")
    prices = catalogue(shop).set_index("item_id")["price"]
    assert prices.to_dict() == {"r0": 2.5, "b0": 2.0, "b1": 0.0}
    assert measured(cleaned(shop), "catalogue")["described in more than one way", "shop"] == 2


def test_rows_in_another_order_describe_the_same_items(tmp_path):
    shop = order_lines(tmp_path)
    path = shop.config["data"]["platforms"][0]["items"]["path"]
    before = catalogue(shop).drop(columns="source_row").sort_values("item_id", ignore_index=True)
    pd.read_parquet(path).sample(frac=1, random_state=1).to_parquet(path)
    after = catalogue(shop).drop(columns="source_row").sort_values("item_id", ignore_index=True)
    pd.testing.assert_frame_equal(before, after)


def test_a_whole_catalogue_needs_no_category(tmp_path):
    shop = shop_of(tmp_path, kinds("r1"))
    del shop.config["data"]["platforms"][0]["items"]["columns"]["category"]
    with fails(ConfigError, shop.path, "items.columns", "category", 'domains: {target: {category: "*"}}'):
        catalogue(shop)
    shop.config["domains"] = {"target": {"category": "*"}}
    found = catalogue(shop)
    assert set(found["domain"]) == {"target"}
    assert found[["category", "price_band"]].isna().all(axis=None)
    for wrong in ({"target": {"category": ["*", "book"]}}, {"target": {"category": "*"}, "source": {"category": "x"}}):
        shop.config["domains"] = wrong
        with fails(ConfigError, shop.path, "domains", "'*'"):
            catalogue(shop)


def test_of_order_lines_a_user_has_the_tags_that_most_rows_say(tmp_path):
    shop = order_lines(tmp_path)
    platform = shop.config["data"]["platforms"][0]
    path = platform["interactions"]["path"]
    lines = pd.read_parquet(path).assign(town=["Rome"] * 5 + ["Oslo"] * 2 + ["Rome"] * 4)
    lines["user"] = ["a"] * 5 + ["b"] * 5 + [None]
    lines.to_parquet(path)
    platform["users"] = {"path": path, "columns": {"user_id": "user"}, "tags": ["town"]}
    shop.config["data"]["clean"]["near_duplicates"] = 0
    found = cleaned(shop)
    assert found["users"].set_index("user_id")["tags"].map(list).to_dict() == {"a": ["town=Rome"], "b": ["town=Rome"]}
    assert set(found["rejected"]["table"]) == {"interactions"}


def test_a_language_that_is_hardly_ever_detected_is_a_mistake(tmp_path):
    texts = [f"a warm blanket for the winter in red number {number}" for number in range(40)]
    items = kinds("r0", "b0", *(f"b{number}" for number in range(1, 41)))
    items["title"] = ["eine warme Decke für den Winter und das Sofa", "una manta caliente para el invierno", *texts]
    shop = write(tmp_path, shop=(table("user item time", BASE), items))
    shop.config["data"]["detect_language"] = True
    assert set(told(shop, "language").values()) == {"en", None}
    items["title"] = ["eine warme Decke für den Winter und das Sofa"] * 6 + texts[:36]
    shop = write(tmp_path, shop=(table("user item time", BASE), items))
    shop.config["data"]["detect_language"] = True
    assert set(told(shop, "language").values()) == {"en", "de"}


CATEGORIES = "item_id,category\nr0,record > Old\nb0,book\n b1 ,book | New\nb2,\nunknown,book\n"


def categorised(folder, text: str):
    """The shop with three items of the base and two more, whose categories are in a file."""
    shop = shop_of(folder, kinds("b2", "r1"))
    (folder / "categories.csv").write_text(text)
    items = shop.config["data"]["platforms"][0]["items"]
    items["categories"] = str(folder / "categories.csv")
    del items["columns"]["category"]
    return shop


def test_categories_of_a_file_of_their_own(tmp_path):
    shop = categorised(tmp_path, CATEGORIES)
    expected = {"r0": "record > Old", "b0": "book", "b1": "book > New", "b2": None, "r1": None}
    assert told(shop, "category") == expected
    assert told(shop, "domain")["b1"] == "target"


def test_a_file_of_categories_that_cannot_be_used_is_named(tmp_path):
    for text, facts in (
        ("item_id,category\nb0,book\nb0,record\n", ["'b0'", 2]),
        ("item_id,kind\nb0,book\n", ["'category'", "kind", "items.categories"]),
    ):
        with fails(InputError, tmp_path / "categories.csv", *facts):
            catalogue(categorised(tmp_path, text))
    shop = categorised(tmp_path, CATEGORIES)
    (tmp_path / "categories.csv").unlink()
    with fails(InputError, tmp_path / "categories.csv"):
        catalogue(shop)
    shop.config["data"]["platforms"][0]["items"]["columns"]["category"] = "kind"
    with fails(ConfigError, "data.platforms[0].items"):
        catalogue(shop)
