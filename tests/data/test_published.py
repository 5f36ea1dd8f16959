"""The shipped configs on small files in exactly the forms in which these data sets are published.

Six people like six things of the source and six of the target, one a day, and all dislike another. What each form
adds is what the published files are known for.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import pandas as pd
import pytest

from crossrec_cli.artifacts.job import Job
from crossrec_cli.config.load import load_config
from crossrec_cli.stages import preprocess as stage

CONFIGS = Path(__file__).parents[2] / "configs"
START = 1472688000
"""Midnight, in seconds."""
DAY = 86400
PEOPLE = range(6)
SOURCE, TARGET, DISLIKED = range(6), range(6, 12), 12


def ratings() -> list[tuple[int, int, float, int]]:
    """Person, thing, rating, time: the source in order, then the target, each person's from another place on."""
    rows = []
    for person in PEOPLE:
        things = [*SOURCE, *(6 + (person + n) % 6 for n in range(6))]
        rows += [(person, thing, 5.0 - thing % 2, START + DAY * day) for day, thing in enumerate(things)]
        rows.append((person, DISLIKED, 2.0, START + DAY * 20))
    return rows


def preprocess(config: str, out: Path, *overrides: str) -> dict[str, pd.DataFrame]:
    """The stage's tables of a shipped config; interactions and cases with ids."""
    out.mkdir()
    settings = load_config(CONFIGS / f"{config}.yaml", [f"run_dir={out}", "runtime.num_threads=1", *overrides])
    stage.run(Job(settings, {}, out, None, None))
    found = {file.stem: pd.read_parquet(file) for file in out.glob("*.parquet")}
    for name in ("interactions", "cases"):
        table = found[name].merge(found["items"][["item_index", "item_id", "domain"]])
        found[name] = table.merge(found["users"][["user_index", "user_id"]])
    found["items"] = found["items"].set_index("item_id")
    found["users"] = found["users"].set_index("user_id")
    return found


def check(found: dict[str, pd.DataFrame], people: list[str], things: list[str], **rejected: int) -> None:
    """Everything planted is there and held out as planned; what is left out is known."""
    rows, cases = found["interactions"], found["cases"]
    liked = [(people[p], things[t], pd.Timestamp(when, unit="s")) for p, t, rating, when in ratings() if rating > 2]
    assert set(zip(rows["user_id"], rows["item_id"], rows["timestamp"], strict=True)) == set(liked)
    assert len(rows) == len(liked) == 72
    assert set(rows.loc[rows["domain"] == "target", "item_id"]) == {things[t] for t in TARGET}
    for name, back in (("test", 5), ("valid", 4)):
        held_out = cases[cases["split"] == name]
        expected = {people[p]: things[6 + (p + back) % 6] for p in PEOPLE}
        assert dict(zip(held_out["user_id"], held_out["item_id"], strict=True)) == expected
        assert set(held_out["history_length"]) == {6 + back}
    assert set(rows["event"]) == {"rating"}
    assert set(rows["rating"]) == {4.0, 5.0}
    reasons = {reason.replace("_", " "): n for reason, n in rejected.items()} | {"rating too low": 6}
    assert found["rejected"]["reason"].value_counts().to_dict() == reasons


def write_lines(path: Path, rows: list[dict], packed: bool = True) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text) if packed else text)


THINGS = [f"B0{number:08}" for number in range(13)]
CATEGORIES = ["Books", "Movies_and_TV"] * 3 + ["All_Beauty"] * 6 + ["Books"]


@pytest.mark.parametrize("packed", [True, False], ids=["gz", "plain"])
def test_amazon_reviews_2023(tmp_path, packed):
    people = [f"AE{person:026}" for person in PEOPLE]
    end = ".jsonl.gz" if packed else ".jsonl"
    for category in ("Books", "Movies_and_TV", "All_Beauty"):
        reviews = [
            {
                "rating": rating,
                "title": "Such a lovely scent",
                "text": 'This "spray" is nice.<br />I \ud83d\udc4d it',
                "images": [{"small_image_url": "https://x", "attachment_type": "IMAGE"}],
                "asin": f"{THINGS[thing]}X",
                "parent_asin": THINGS[thing],
                "user_id": people[person],
                "timestamp": when * 1000,
                "helpful_vote": 0,
                "verified_purchase": True,
            }
            for person, thing, rating, when in ratings()
            if CATEGORIES[thing] == category
        ]
        if category == "All_Beauty":
            reviews.append(reviews[0] | {"parent_asin": "B0NOMETA00"})
            reviews.append(reviews[0] | {"timestamp": reviews[0]["timestamp"] + 90 * DAY * 1000, "rating": 4.0})
        write_lines(tmp_path / "reviews" / f"{category}{end}", reviews, packed)
        items = [item_2023(thing, category) for thing in range(13) if CATEGORIES[thing] == category]
        write_lines(tmp_path / "meta" / f"meta_{category}{end}", items, packed)
    found = preprocess(
        "amazon_reviews",
        tmp_path / "out",
        f"data.platforms[0].interactions.path={tmp_path}/reviews/*.jsonl*",
        f"data.platforms[0].items.path={tmp_path}/meta/meta_*.jsonl*",
    )
    check(found, people, THINGS, unknown_item=1, repeat_of_user_and_item=1)
    items = found["items"].loc[THINGS[:12]]
    assert items["category"].tolist() == ["Books", "Movies & TV"] * 3 + ["All Beauty"] * 6
    assert items["price"].fillna(-1).tolist() == [12.99, -1, -1, 14.99] * 3
    assert items["brand"].fillna("").tolist() == ["Store & Sons", ""] * 6
    assert items["text"][THINGS[0]] == 'Thing 0, the "first" – 8-Ounce. Store & Sons. Soft Light. A thing. It is 0.'
    assert items["text"][THINGS[7]] == 'Thing 7, the "first" – 8-Ounce.'


def item_2023(thing: int, category: str) -> dict:
    full = thing % 2 == 0
    return {
        "main_category": {"Movies_and_TV": "Movies & TV", "All_Beauty": "All Beauty"}.get(category, category),
        "title": f'Thing {thing}, the "first" – 8-Ounce',
        "average_rating": 4.8,
        "rating_number": 10,
        "features": ["Soft", "Light"] if full else [],
        "description": [f"<p>A thing.</p> It is {thing}."] if full else [],
        "price": [12.99, None, "—", "from 14.99"][thing % 4],
        "images": [{"thumb": "https://x", "large": "https://x", "variant": "MAIN", "hi_res": None}],
        "videos": [],
        "store": "Store &amp; Sons" if full else None,
        "categories": [] if category == "All_Beauty" else [category, "Gifts"],
        "details": {"Package Dimensions": "7 x 3 x 1 inches; 8 Ounces", "UPC": "617390882781"},
        "parent_asin": THINGS[thing],
        "bought_together": None,
    }


def test_amazon_reviews_2018(tmp_path):
    people = [f"A{person:013}" for person in PEOPLE]
    for category in ("Books", "Movies_and_TV", "All_Beauty"):
        reviews = [
            {
                "overall": rating,
                "verified": True,
                "reviewTime": "09 1, 2016",
                "reviewerID": people[person],
                "asin": THINGS[thing],
                "style": {"Format:": " Paperback"},
                "reviewerName": "theodore j bigham",
                "reviewText": "great",
                "summary": "Five Stars",
                "unixReviewTime": when,
                **({"vote": "1,234"} if person else {}),
            }
            for person, thing, rating, when in ratings()
            if CATEGORIES[thing] == category
        ]
        write_lines(tmp_path / f"{category}.json.gz", [*reviews, reviews[0]])  # they hold rows twice
        items = [item_2018(thing, category) for thing in range(13) if CATEGORIES[thing] == category]
        write_lines(tmp_path / f"meta_{category}.json.gz", [*items, items[0]])
    found = preprocess(
        "amazon_reviews",
        tmp_path / "out",
        f"data.platforms[0].interactions.path={tmp_path}/[BMA]*.json.gz",
        "data.platforms[0].interactions.columns={user_id: reviewerID, item_id: asin, timestamp: unixReviewTime, "
        "rating: overall}",
        f"data.platforms[0].items.path={tmp_path}/meta_*.json.gz",
        "data.platforms[0].items.columns={item_id: asin, category: main_cat, brand: brand, price: price}",
        "data.platforms[0].items.text='{title}. {brand}. {description}'",
    )
    check(found, people, THINGS, duplicate=3, repeat_of_an_id=3)
    items = found["items"].loc[THINGS[:12]]
    assert items["category"].tolist() == ["Books", "Movies & TV"] * 3 + ["All Beauty"] * 6
    assert items["price"].fillna(-1).tolist() == [12.99, -1, -1, 7.5] * 3
    assert items["text"][THINGS[0]] == "Thing 0. By Somebody. A thing here. More of it"
    assert items["text"][THINGS[1]] == "Thing 1. By Somebody."


def item_2018(thing: int, category: str) -> dict:
    return {
        "category": [] if category == "All_Beauty" else [category.replace("_and_", " &amp; "), "Gifts"],
        "tech1": "",
        "description": [] if thing % 2 else ["A <b>thing</b> here.", "More of it"],
        "fit": "",
        "title": f"Thing {thing}",
        "also_buy": ["B000000001"],
        "tech2": "",
        "brand": "By Somebody",
        "feature": [],
        "rank": "2,938,573 in Beauty &amp; Personal Care (",
        "also_view": [],
        "details": {"ASIN: ": THINGS[thing]},
        "main_cat": category.replace("_and_", " &amp; ").replace("_", " "),
        "similar_item": "",
        "date": "",
        "price": ["$12.99", "", ".a-box-inner{background-color:#fff}#alohaBuyBoxWidget", "$7.50 - $9.99"][thing % 4],
        "asin": THINGS[thing],
        "imageURL": [],
        "imageURLHighRes": [],
    }


GENRES = ["Adventure|Children", "Comedy|Drama", "(no genres listed)"] * 2 + ["Drama", "Drama|Romance"] * 3 + ["Horror"]
NUMBERS = [str(number) for number in range(1, 14)]
VIEWERS = [str(person + 1) for person in PEOPLE]


def test_movielens_latest(tmp_path):
    written = io.StringIO()
    lines = csv.writer(written, lineterminator="\r\n")
    lines.writerow(["userId", "movieId", "rating", "timestamp"])
    lines.writerows([VIEWERS[p], NUMBERS[t], rating, when] for p, t, rating, when in ratings())
    (tmp_path / "ratings.csv").write_text(written.getvalue(), newline="")
    written = io.StringIO()
    lines = csv.writer(written, lineterminator="\r\n")
    lines.writerow(["movieId", "title", "genres"])
    lines.writerows([NUMBERS[n], f'Léon "The {n}", a Film (1994)', GENRES[n]] for n in range(13))
    (tmp_path / "movies.csv").write_text(written.getvalue(), newline="", encoding="utf-8")
    found = preprocess(
        "movielens",
        tmp_path / "out",
        f"data.platforms[0].interactions.path={tmp_path}/ratings.csv",
        f"data.platforms[0].items.path={tmp_path}/movies.csv",
    )
    check(found, VIEWERS, NUMBERS)
    items = found["items"].loc[NUMBERS[:12]]
    assert items["category"].tolist() == [genre.replace("|", " > ") for genre in GENRES[:12]]
    assert items["text"]["1"] == 'Léon "The 0", a Film (1994). Adventure|Children'


def test_movielens_1m(tmp_path):
    lines = [f"{VIEWERS[p]}::{NUMBERS[t]}::{rating:.0f}::{when}" for p, t, rating, when in ratings()]
    (tmp_path / "ratings.dat").write_text("\n".join(lines) + "\n", encoding="latin-1")
    lines = [f'{NUMBERS[n]}::"Léon": The {n}, a Film (1994)::{GENRES[n]}' for n in range(13)]
    (tmp_path / "movies.dat").write_text("\n".join(lines) + "\n", encoding="latin-1")
    lines = [f"{viewer}::{'FM'[n % 2]}::25::{n}::0{n}067-1234" for n, viewer in enumerate([*VIEWERS, "99"])]
    (tmp_path / "users.dat").write_text("\n".join(lines) + "\n", encoding="latin-1")
    layout = "delimiter: '::', quote: '', encoding: latin-1"
    found = preprocess(
        "movielens",
        tmp_path / "out",
        f"data.platforms[0].interactions.path={tmp_path}/ratings.dat",
        f"data.platforms[0].interactions.csv={{{layout}, names: [userId, movieId, rating, timestamp]}}",
        f"data.platforms[0].items.path={tmp_path}/movies.dat",
        f"data.platforms[0].items.csv={{{layout}, names: [movieId, title, genres]}}",
        f"data.platforms[0].users={{path: {tmp_path}/users.dat, csv: {{{layout}, names: [userId, gender, age, "
        "occupation, zip]}, columns: {user_id: userId}, tags: [gender, age, occupation]}",
    )
    check(found, VIEWERS, NUMBERS)
    assert found["items"]["text"]["1"] == '"Léon": The 0, a Film (1994). Adventure|Children'
    assert list(found["users"]["tags"]["2"]) == ["age=25", "gender=M", "occupation=1"]
    assert found["users"]["activity"]["99"] == 0


def test_recbole_atomic_files(tmp_path):
    genres = ["Drama" if thing in TARGET else "Comedy" for thing in range(13)]
    rows = [f"{VIEWERS[p]}\t{NUMBERS[t]}\t{rating:.0f}\t{when}" for p, t, rating, when in ratings()]
    write(tmp_path / "ml.inter", "user_id:token\titem_id:token\trating:float\ttimestamp:float", rows)
    rows = [f'{NUMBERS[n]}\t"Film" {n}\t1995\t{genres[n]}' for n in range(13)]
    write(tmp_path / "ml.item", "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq", rows)
    rows = [f"{viewer}\t24\tM\ttechnician\t85711" for viewer in VIEWERS]
    write(tmp_path / "ml.user", "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token", rows)
    found = preprocess(
        "movielens",
        tmp_path / "out",
        f"data.platforms[0].interactions.path={tmp_path}/ml.inter",
        "data.platforms[0].interactions.columns={user_id: user_id, item_id: item_id, timestamp: timestamp, "
        "rating: rating}",
        f"data.platforms[0].items.path={tmp_path}/ml.item",
        "data.platforms[0].items.columns={item_id: item_id, category: class}",
        "data.platforms[0].items.text='{movie_title} ({release_year})'",
        f"data.platforms[0].users={{path: {tmp_path}/ml.user, columns: {{user_id: user_id}}, tags: [occupation]}}",
    )
    check(found, VIEWERS, NUMBERS)
    assert found["items"]["text"]["1"] == '"Film" 0 (1995)'
    assert list(found["users"]["tags"]["1"]) == ["occupation=technician"]


def write(path: Path, header: str, rows: list[str]) -> None:
    path.write_text("\n".join([header, *rows]) + "\n")
