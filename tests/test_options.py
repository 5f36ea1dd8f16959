"""Every value of every option that is a choice is turned on by some test: by a run of all stages here, or elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pandas as pd
import pytest
from conftest import Shop, make_shop

from crossrec_cli.config.field_types import Section
from crossrec_cli.config.load import load_config, models_in
from crossrec_cli.config.schema import BASELINES, Config
from crossrec_cli.errors import ExitCode

TESTS = Path(__file__).parent
Value = tuple[str, Any]
"""A field, dotted, and one of the values that it may have."""

RUNS: dict[str, dict[str, Any]] = {
    "bag": {
        "interest": {"user_encoder": "bag"},
        "encoder": {"kind": "auto"},
        "split": {"strategy": "given", "column": "split", "ties": "order"},
        "data.clean": {"items_without_text": "keep", "markup": False, "duplicates": "keep", "returns": "drop"},
        "data.repeats": "keep",
        "recommend": {"also": ["csv"], "reasons": 2, "k": 5},
        "report": {"language": "en"},
    },
    "sequence": {
        "interest": {"user_encoder": "sequence"},
        "data.clean": {"items_without_text": "keep", "nfkc": False, "future": "keep", "returns": "keep"},
        "data.repeats": "last",
        "data.detect_language": False,
        "split": {"strategy": "time", "valid_from": 0.7, "test_from": 0.85},
        "encoder": {"pooling": "cls", "offline": True},
        "adapt": {"language_model": "lora", "text": {"objective": "pairs", "steps": 2, "rank": 2}},
        "finetune": {"init": "scratch", "refit": False},
        "evaluate": {"mask_seen": False, "baselines": ["popularity", "ials"]},
        "recommend": {"also": ["jsonl"], "exclude_seen": False, "exclude_disliked": False},
        "runtime.precision": "fp32",
        "report": {"examples": 2, "ids": "real", "language": "de"},
    },
    "hybrid": {
        "interest": {"user_encoder": "hybrid"},
        "data.clean": {"items_without_text": "keep", "control_characters": False, "returns": "dislike"},
        "data.repeats": "first",
        "split": {"strategy": "cold_users", "share": 0.2},
        "encoder": {"pooling": "mean"},
        "adapt": {"language_model": "full", "text": {"objective": "history", "steps": 2}},
        "runtime.precision": "bf16",
        "tracking": {"tensorboard": True},
        "recommend": {"languages": ["en", "de"], "reasons": 1},
        "report": {"language": "zh"},
    },
    "everything": {
        "domains": {"target": {"category": "*"}},
        "split": {"strategy": "cold_items", "share": 0.2},
        "encoder": {"pooling": "last", "kind": "static"},
        "evaluate": {"baselines": [*BASELINES]},
    },
    "without training": {"interest": {"scorers": ["words", "popularity"]}},
}
"""Few runs of all five stages that turn on what can be turned on together; each has items without a text."""

ELSEWHERE: dict[Value, str] = {
    ("data.engine", "spark"): "data/test_spark.py::test_spark_gives_what_duckdb_gives",
    ("data.identity.conflicts", "merge"): "data/test_identity.py::test_conflicts_may_be_merged",
    ("data.identity.conflicts", "fail"): "data/test_identity.py::test_conflicts_may_stop_it",
    (
        "data.platforms.interactions.events.returns",
        True,
    ): "data/test_ledger.py::test_every_row_of_messy_files_has_the_fate",
    (
        "data.platforms.interactions.events.returns",
        False,
    ): "data/test_ledger.py::test_every_row_of_messy_files_has_the_fate",
    ("federate.secure", False): "federation/test_flower.py::test_hidden_answers_have_the_sum_of_open_ones",
    ("federate.weights", True): "federation/test_member.py::test_items_own_vectors_stay_and_go_on_from_round",
    ("adapt.init", "previous"): "stages/test_language_model.py::test_a_night_reads_texts_as_the_run_before_did",
    ("finetune.init", "previous"): "pipeline/test_nightly.py::test_a_night_goes_on_with_new_users_items_and_tags",
    ("data.repeats", "sum"): "data/test_ledger.py::test_every_row_of_messy_files_has_the_fate",
    ("encoder.trust_remote_code", True): "text/test_transformer.py::test_a_model_that_brings_its_own_code_is_asked_for",
    ("encoder.allow_pickle_weights", True): "text/test_find.py::test_pickled_weights_are_read_only_where",
    ("split.strategy", "leave_last_out"): "data/test_split.py::test_leave_last_out_against_a_plain_loop",
    ("runtime.precision", "fp16"): "pipeline/test_reruns.py::test_an_unavailable_device_or_model_has_its_code",
    ("tune.search.log", True): "stages/test_tune.py::test_the_best_by_validation_is_found",
    ("tune.search.log", False): "stages/test_tune.py::test_the_best_by_validation_is_found",
    ("tune.search.choices", True): "stages/test_tune.py::test_the_best_by_validation_is_found",
    ("tune.search.choices", False): "stages/test_tune.py::test_the_best_by_validation_is_found",
}
ELSEWHERE |= {
    (f"data.clean.{rule}", "fail"): "data/test_ledger.py::test_a_rule_set_to_fail_names_file_row_and_field"
    for rule in ("missing_ids", "unreadable", "future", "unknown_events", "unknown_items")
}
ELSEWHERE |= {
    (f"data.{part}.csv.encoding", encoding): f"data/test_engine.py::{test}"
    for part in ("platforms.interactions", "platforms.items", "platforms.users", "identity.users", "identity.items")
    for encoding, test in (
        *((name, "test_csv_in_other_encodings") for name in ("utf-8", "latin-1", "utf-16")),
        ("windows-1252", "test_windows_1252_has_the_signs_that_latin_1_lacks"),
    )
}
"""The other values, each with the beginning of the name of a test that turns it on."""


def choices(annotation: Any) -> Iterator[Any]:
    """What a field of this type may be chosen from."""
    if annotation is bool:
        yield from (True, False)
    elif get_origin(annotation) is Literal:
        yield from get_args(annotation)
    else:
        for part in get_args(annotation):
            yield from choices(part)


def possible(section: type[Section], prefix: str = "") -> Iterator[Value]:
    """Every value of every option of a section, and of those in it."""
    for name, field in section.model_fields.items():
        yield from ((f"{prefix}{name}", value) for value in choices(field.annotation))
        for inner in models_in(field.annotation):
            yield from possible(inner, f"{prefix}{name}.")


def turned_on(value: Any, name: str = "") -> Iterator[Value]:
    """Every field of a config and its value, or each of its values."""
    if isinstance(value, Section):
        for field in type(value).model_fields:
            yield from turned_on(getattr(value, field), f"{name}.{field}" if name else field)
    elif isinstance(value, tuple | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from turned_on(one, name)
    else:
        yield name, value


def shop_for(run: str, folder: Path, model: Path) -> Shop:
    """The planted shop, small and hardly trained, with these options and an item without a text."""
    shop = make_shop(folder, model)
    items = pd.read_parquet(folder / "items.parquet")
    items.loc[items["item"].isin(["jazz-record-0", "jazz-book-0"]), "title"] = None
    items.to_parquet(folder / "items.parquet")
    rows = pd.read_parquet(folder / "interactions.parquet")
    rows["split"] = np.random.default_rng(0).choice(["train", "valid", "test"], len(rows), p=[0.8, 0.1, 0.1])
    rows.to_parquet(folder / "interactions.parquet")
    small = {"epochs": 1, "batch_size": 128}
    shop.config |= {"adapt": dict(small), "finetune": dict(small), "interest": {"dim": 8, "layers": 1}}
    for key, value in RUNS[run].items():
        *above, last = key.split(".")
        section = shop.config
        for name in above:
            section = section.setdefault(name, {})
        section[last] = {**section.get(last, {}), **value} if isinstance(value, dict) else value
    if run == "everything":
        shop.config["domains"] = RUNS[run]["domains"]
        del shop.config["data"]["platforms"][0]["items"]["columns"]["category"]
    return shop


@pytest.fixture(scope="module")
def shops(tmp_path_factory, tiny_bert) -> dict[str, Shop]:
    return {run: shop_for(run, tmp_path_factory.mktemp(run), tiny_bert) for run in RUNS}


@pytest.mark.parametrize("run", RUNS)
def test_all_stages_run_with_these_options(run, shops, crossrec):
    shop = shops[run]
    done = crossrec("run", shop.path)
    assert done.exit_code == 0, done.output
    items = shop.table("preprocess", "items").set_index("item_id")
    keeps = load_config(shop.path).data.clean.items_without_text == "keep"
    assert items["text"].isna().sum() == 2 * keeps
    lists = shop.table("recommend", "recommendations")
    assert lists["user_id"].nunique() == shop.table("preprocess", "users")["user_id"].nunique()
    assert set(lists["item_id"]) <= set(items.index[items["domain"] == "target"])
    assert lists["score"].between(0, 1).all()
    if run == "everything":
        assert set(items["domain"]) == {"target"}
        assert set(shop.table("evaluate", "accuracy")["domain"]) == {"target"}
        models = set(shop.table("evaluate", "metrics")["model"])
        assert {"crossrec", "ease", "item_knn"} <= models
        assert not {"ease_target", "ease_weighted"} & models, "both are ease here"
        refused = crossrec("transfer", shop.path)
        assert refused.exit_code == ExitCode.CONFIG
    if run == "without training":
        assert set(shop.table("finetune", "fusion")["scorer"].dropna()) == {"words", "popularity"}
        assert shop.table("finetune", "learning_curve").empty
    shutil.rmtree(shop.run_dir)


def test_every_value_of_every_option_is_turned_on(shops):
    on = {value for shop in shops.values() for value in turned_on(load_config(shop.path))}
    wanted = set(possible(Config))
    assert len(wanted) > 80
    assert wanted - on - set(ELSEWHERE) == set()
    assert set(ELSEWHERE) <= wanted, "what is no option any more"
    for test in set(ELSEWHERE.values()):
        file, _, name = test.partition("::")
        assert f"def {name}" in (TESTS / file).read_text(), test
