"""Newer events count as preprocess would have them: the raw file cut in two gives what the whole of it gives."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd
import pytest
from facts import Heard, fails, lacking
from small import kinds, table, write

from crossrec_cli.artifacts.files import INTERACTIONS, ITEMS, USERS
from crossrec_cli.artifacts.job import Job
from crossrec_cli.config.load import load_config
from crossrec_cli.errors import InputError
from crossrec_cli.models.dataset import Dataset, load_dataset
from crossrec_cli.ranking.history_updates import UpdatedDataset
from crossrec_cli.runtime.progress import Silent
from crossrec_cli.stages import preprocess as stage

COLUMNS = "user item time event quantity rating"
OLD = """
    base  r0  2024-01-01  buy    1  -
    base  b0  2024-01-02  buy    1  -
    base  b1  2024-01-03  buy    1  -
    ann   r0  2024-01-01  buy    2  -
    ann   r1  2024-01-02  view   1  -
    ann   b0  2024-01-03  buy    1  -
    bob   r1  2024-01-01  buy    1  -
    bob   r2  2024-01-02  stars  1  5
"""
NEW = """
    ann   r0  2024-02-01  refund 1  -
    ann   b0  2024-02-02  refund 1  -
    ann   r1  2024-02-03  buy    3  -
    bob   r0  2024-02-01  view   1  -
    bob   r0  2024-02-02  buy    1  -
    bob   r0  2024-02-02  buy    1  -
    bob   b1  2024-02-03  stars  1  2
    bob   r1  2024-02-04  buy    -1 -
    cy    b1  2024-02-01  buy    1  -
    cy    r0  2024-02-01  odd    1  -
"""
EVENTS = {"view": {"weight": 0.25}, "buy": {}, "stars": {"weight": 0.5, "at_least": 4}, "refund": {"returns": True}}
OURS = {"user": "user_id", "item": "item_id", "time": "timestamp"}


def world_of(shop, rows: pd.DataFrame, **data: object) -> tuple[Dataset, dict[str, Path]]:
    """The histories that preprocess makes of some rows, and its files."""
    rows.to_parquet(shop.folder / "shop-interactions.parquet")
    shop.config["data"] |= data
    out = Path(tempfile.mkdtemp(dir=shop.folder))
    stage.run(Job(load_config(shop.path), {}, out, Silent(), out))
    inputs = {file: out / Path(file).name for file in (INTERACTIONS, ITEMS, USERS)}
    return load_dataset(inputs, []), inputs


def histories(dataset: Dataset) -> dict[str, list[tuple[str, float]]]:
    """Every user's items with their weights, oldest first."""
    items, found = dataset.items["item_id"].to_pylist(), {}
    rows, given = dataset.histories.items.rows, dataset.histories.items
    for user, name in enumerate(dataset.users["user_id"].to_pylist()):
        own = rows == user
        pairs = zip(given.values[own], given.weights_or_ones[own], strict=True)
        found[name] = [(items[item], round(float(weight), 5)) for item, weight in pairs]
    return found


def old_shop(folder: Path):
    made = write(folder, shop=(table(COLUMNS, OLD), kinds("r0", "r1", "r2", "b0", "b1")))
    made.config["data"]["platforms"][0]["interactions"]["events"] = EVENTS
    return made


@pytest.fixture
def shop(tmp_path):
    return old_shop(tmp_path)


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> tuple[Dataset, dict[str, Path]]:
    """The histories of the old rows, and preprocess's files."""
    return world_of(old_shop(tmp_path_factory.mktemp("old")), table(COLUMNS, OLD))


def newest(shop, known: Dataset, inputs: dict[str, Path], events: pd.DataFrame, report=None) -> UpdatedDataset:
    path = shop.folder / "events.csv"
    events.to_csv(path, index=False)
    config = load_config(shop.path, [f"recommend.events={path}"])
    return UpdatedDataset.of(config, inputs, known, report or Silent())


@pytest.mark.parametrize(
    ("repeats", "returns"), [("strongest", "cancel"), ("sum", "cancel"), ("last", "drop"), ("keep", "cancel")]
)
def test_a_file_cut_in_two_gives_what_the_whole_gives(shop, repeats, returns):
    shop.config["data"]["clean"] |= {"returns": returns}
    old, new = table(COLUMNS, OLD), table(COLUMNS, NEW)
    whole, _ = world_of(shop, pd.concat([old, new]), repeats=repeats)
    known, inputs = world_of(shop, old, repeats=repeats)
    found = newest(shop, known, inputs, new.rename(columns=OURS))
    assert histories(found.dataset) == histories(whole)
    assert len(found.times(inputs)) == len(found.earlier.histories.items.values)
    if (repeats, returns) == ("strongest", "cancel"):
        assert histories(found.dataset) == {
            "ann": [("r0", 1.0), ("r1", 1.0)],  # of two r0 one came back; b0 did; the view of r1 became a purchase
            "base": [("r0", 1.0), ("b0", 1.0), ("b1", 1.0)],
            "bob": [("r2", 0.5), ("r0", 1.0)],  # b1 got two stars, r1 came back
            "cy": [("b1", 1.0)],
        }


def test_the_order_of_the_file_counts_where_it_tells_no_time(shop, old):
    known, inputs = old
    rows = pd.DataFrame({"user_id": ["cy", "bob", "cy"], "item_id": ["r2", "b1", "r0"]})
    found = histories(newest(shop, known, inputs, rows).dataset)
    assert found["cy"] == [("r2", 1.0), ("r0", 1.0)]
    assert found["bob"] == [("r1", 1.0), ("r2", 0.5), ("b1", 1.0)]


def test_what_is_unusable_is_counted_and_too_much_of_it_is_an_error(shop, old):
    known, inputs = old
    users, items, words = ["cy", None, "cy", "cy"], ["r2", "r0", "r1", "zz"], ["buy", "buy", "odd", "buy"]
    rows = pd.DataFrame({"user_id": users, "item_id": items, "event": words})
    report = Heard()
    assert histories(newest(shop, known, inputs, rows, report).dataset)["cy"] == [("r2", 1.0)]
    expected = ["missing user id", "unknown event", "items"]
    assert [lacking(*told) for told in zip(report.warnings, expected, strict=True)] == [[]] * 3
    shop.config["data"]["clean"]["max_rejected"] = 0.05
    with fails(InputError, "recommend.events", shop.folder / "events.csv", "row 2", "2 of 4"):
        newest(shop, known, inputs, rows)


def test_an_event_column_that_the_config_has_not_is_named(shop):
    columns = shop.config["data"]["platforms"][0]["interactions"]["columns"]
    del columns["event"], shop.config["data"]["platforms"][0]["interactions"]["events"]
    known, inputs = world_of(shop, table(COLUMNS, OLD))
    report = Heard()
    rows = pd.DataFrame({"user_id": ["cy"], "item_id": ["r2"], "event": ["view"]})
    assert histories(newest(shop, known, inputs, rows, report).dataset)["cy"] == [("r2", 1.0)]
    assert "'event'" in report.warnings[0]


def test_without_events_nothing_changes(shop, old):
    known, inputs = old
    found = UpdatedDataset.of(load_config(shop.path), inputs, known, Silent())
    assert found.dataset is found.earlier is known
    assert found.kept.all()
