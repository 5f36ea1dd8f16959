"""The config written out: defaults, masks, and the schema that editors check with."""

from __future__ import annotations

import json
from inspect import getsource
from pathlib import Path

import jsonschema
import pytest
import yaml
from facts import check_failed

from crossrec_cli.config.document import annotated, json_schema, masked, set_fields
from crossrec_cli.config.load import _CoreLoader, dotted_path, load_config
from crossrec_cli.config.schema import Config
from crossrec_cli.config.training_fields import Adapt, Training
from crossrec_cli.errors import ExitCode

ROOT = Path(__file__).parents[2]
SHIPPED = [*sorted((ROOT / "configs").glob("*.yaml")), *sorted((ROOT / "benchmarks").glob("*.yaml"))]
ODD = [
    "run_dir='off'",
    "data.platforms[0].items.text='{title} " + "and a long text, " * 12 + "{brand}'",
    'data.platforms[0].items.csv={delimiter: "\t", names: [a, "1", "# no comment"]}',
    "data.platforms[0].interactions.events={purchase: {weight: 1e-4}}",
    "split={strategy: time, valid_from: 2024-05-01, test_from: 2024-06-01T12:00:00Z}",
]


@pytest.mark.parametrize("overrides", [[], ODD])
def test_what_is_shown_is_read_as_the_same_config(tmp_path, overrides):
    shown = tmp_path / "shown.yaml"
    config = load_config(ROOT / "configs/demo.yaml", overrides)
    shown.write_text(annotated(config))
    assert load_config(shown) == config


def test_only_what_is_not_the_default_is_marked_with_it():
    config = load_config(ROOT / "configs/demo.yaml", ["evaluate.k=[10]", "adapt.rates.text=0", "seed=7", *ODD[3:4]])
    assert {dotted_path(path): usual for path, usual in set_fields(config).items()} == {
        "data.platforms[0].interactions.columns.timestamp": None,
        "data.platforms[0].interactions.events": {},
        "data.platforms[0].interactions.events.purchase.weight": 1.0,
        "data.platforms[0].items.columns.category": None,
        "data.platforms[0].items.columns.brand": None,
        "data.platforms[0].items.columns.price": None,
        "data.platforms[0].users": None,
        "data.platforms[0].users.tags": (),
        "data.repeats": "strongest",
        "data.min_interactions.user": 1,
        "data.min_interactions.item": 0,
        "adapt.rates.text": 1.0,
        "evaluate.k": (5, 10, 50),
        "recommend.reasons": 0,
        "recommend.rules.per_category": None,
    }
    lines = annotated(config).splitlines()
    assert "  k:  # default: [5, 10, 50]" in lines
    assert '  repeats: first  # default: "strongest"' in lines
    assert sum("# default" in line for line in lines) == 15


def test_accounts_in_addresses_are_masked(crossrec):
    address = "data.platforms[0].items.path=https://me:secret@shop.example/items.parquet?token=t0ken"
    done = crossrec("config", "show", ROOT / "configs/demo.yaml", "--set", address)
    assert done.exit_code == 0
    assert "https://***@shop.example/items.parquet?***" in done.stdout
    assert "secret" not in done.output and "t0ken" not in done.output
    assert masked(load_config(ROOT / "configs/demo.yaml")) == load_config(ROOT / "configs/demo.yaml")


def test_json_is_the_config_and_nothing_else(crossrec):
    done = crossrec("config", "show", ROOT / "configs/demo.yaml", "--json", "--set", "adapt.epochs=3")
    told = json.loads(done.stdout)
    assert told["config"]["adapt"]["epochs"] == 3
    assert told["config"]["adapt"]["lr"] == 1e-3
    assert told["changed_from"]["adapt.epochs"] == Adapt().epochs


def test_validate_says_what_is_wrong_where(crossrec, tmp_path):
    done = crossrec("config", "validate", ROOT / "configs/demo.yaml")
    assert (done.exit_code, done.stdout.count("\n")) == (0, 1)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text((ROOT / "configs/demo.yaml").read_text().replace("encoder: {", "adapt: {epoch: 3}\nencoder: {"))
    line = wrong.read_text().splitlines().index("adapt: {epoch: 3}") + 1
    done = crossrec("config", "validate", wrong)
    assert done.stdout == ""
    check_failed(done, ExitCode.CONFIG, f"{wrong}:{line}:9", "'epoch'", "adapt", "'epochs'")
    assert done.stderr.count("\n") == 1


def test_the_shipped_schema_is_current(crossrec):
    """If this fails: crossrec config schema > configs/schema.json."""
    assert (ROOT / "configs/schema.json").read_text() == crossrec("config", "schema").stdout


@pytest.fixture(scope="module")
def schema() -> dict:
    return json_schema()


@pytest.fixture(scope="module")
def validator(schema) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_configs_name_the_schema_and_fit_it(path, validator):
    modeline, text = path.read_text().split("\n", 1)
    assert (
        path.parent / modeline.removeprefix("# yaml-language-server: $schema=")
    ).resolve() == ROOT / "configs/schema.json"
    validator.validate(yaml.load(text, _CoreLoader))
    load_config(path)


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("encoder: {", "encoder: {modle: x, ", ["encoder"]),
        ("max_tokens: 48", "max_tokens: many", ["encoder", "max_tokens"]),
        ("max_tokens: 48", "max_tokens: 2", ["encoder", "max_tokens"]),
        ("domains:", "domain:", []),
        ("repeats: first", "repeats: never", ["data", "repeats"]),
    ],
)
def test_the_schema_refuses_what_the_command_refuses(old, new, where, validator):
    text = (ROOT / "configs/demo.yaml").read_text()
    assert old in text
    problems = list(validator.iter_errors(yaml.load(text.replace(old, new), _CoreLoader)))
    assert where in [list(problem.absolute_path) for problem in problems]


def test_the_schema_is_valid_and_says_what_fields_mean(schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    inherited = schema["$defs"]["Finetune"]["properties"]["batch_size"]["description"]
    assert f'batch_size: Count = 128\n    """{inherited}"""' in getsource(Training)
    assert f'run_dir: FilePath\n    """{schema["properties"]["run_dir"]["description"]}"""' in getsource(Config)
    assert "title" not in schema["$defs"]["Adapt"]["properties"]["epochs"]
