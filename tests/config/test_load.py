import errno
import os
import re
from pathlib import Path

import pytest
from facts import fails, lacking

from crossrec_cli.config.load import load_config
from crossrec_cli.errors import ConfigError

ROOT = Path(__file__).parents[2]
GOOD = """\
run_dir: runs/x
data:
  platforms:
    - name: shop
      interactions:
        path: i.parquet
        columns: {user_id: u, item_id: i, timestamp: t}
      items:
        path: items.parquet
        columns: {item_id: i, category: c}
        text: "{title}"
domains:
  target: {category: books}
"""


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "c.yaml"
        path.write_text(text)
        return path

    return write


def problems(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return [problem.removeprefix(f"{path}:") for problem in caught.value.problems]


def test_the_shortest_config_gets_the_defaults(write):
    config = load_config(write(GOOD))
    assert config.seed == 7
    assert config.domains.source.category == ("*",)
    assert config.domains.target.category == ("books",)
    assert config.interest.user_encoder == "auto"
    assert "neural" in config.interest.scorers


def test_scientific_notation_is_a_number(write):
    assert load_config(write(GOOD + "adapt: {lr: 1e-4}\n")).adapt.lr == 1e-4


@pytest.mark.parametrize("word", ["off", "no", "on", "yes", "2024-01-01", "12:30"])
def test_a_word_that_yaml_1_1_would_convert_stays_a_string(write, word):
    config = load_config(write(GOOD.replace("run_dir: runs/x", f"run_dir: {word}")))
    assert config.run_dir == word


def test_every_problem_is_told_at_once_with_its_place(write):
    text = GOOD.replace("name: shop", "nam: shop") + "adapt: {epohcs: 3, lr: fast}\nrecommend: {k: 0}\n"
    found = problems(write(text))
    facts = [
        ("4:7", "'name'", "data.platforms[0]"),
        ("4:7", "'nam'", "data.platforms[0]", "'name'"),
        ("14:9", "'epohcs'", "adapt", "'epochs'"),
        ("14:20", "adapt.lr", '"fast"'),
        ("15:13", "recommend.k", 1, 0),
    ]
    assert [lacking(problem, *of) for problem, of in zip(found, facts, strict=True)] == [[]] * 5


def test_a_duplicate_key_is_an_error(write):
    [found] = problems(write(GOOD + "seed: 1\nseed: 2\n"))
    assert not lacking(found, "15:1", "'seed'", "line 14")


@pytest.mark.parametrize(
    ("line", "place", "facts"),
    [
        ("seed: '3'", "14:1: seed: ", ['"3"']),
        ("seed: true", "14:1: seed: ", ["true"]),
        ("evaluate: {mask_seen: off}", "14:12: evaluate.mask_seen: ", ['"off"']),
        ("finetune: {init: adpated}", "14:12: finetune.init: ", ["'adpated'", "'adapted'", "'scratch'"]),
        ("interest: {scorers: []}", "14:12: interest.scorers: ", []),
        ("interest: {scorers: [text, text]}", "14:12: interest.scorers: ", []),
        ("interest: {dim: 10, heads: 4}", "14:1: interest: ", ["dim (10)", "heads (4)"]),
        ("runtime: {device: gpu}", "14:11: runtime.device: ", ["'gpu'", "auto", "cpu", "mps", "cuda", "cuda:0"]),
        ("split: {strategy: time}", "14:1: split: ", ["strategy: time", "valid_from", "test_from"]),
        ("split: {strategy: given}", "14:1: split: ", ["column", "strategy: given"]),
        ("serve: {explore: 0.05}", "14:1: serve: ", ["explore", "'log'"]),
        ("serve: {explore: 1.5, log: log}", "14:9: serve.explore: ", [1]),
        ("serve: {session_half_life_minutes: 0}", "14:9: serve.session_half_life_minutes: ", [0]),
        ("split: {column: split}", "14:1: split: ", ["column", "strategy: given"]),
        ("evaluate: {candidates: 99, negatives: theirs.csv}", "14:1: evaluate: ", ["'candidates'", "'negatives'"]),
        ("evaluate: {external: lists.csv, negatives: theirs.csv}", "14:1: evaluate: ", ["'external'", "'negatives'"]),
    ],
)
def test_wrong_values(write, line, place, facts):
    [problem] = problems(write(f"{GOOD}{line}\n"))
    assert problem.startswith(place)
    assert not lacking(problem, *facts)


def test_a_text_template_must_name_columns(write):
    for wrong in ("title", "{title", "{{x}} {title}", "{title!r}", "{title:>10}", "{}"):
        [problem] = problems(write(GOOD.replace("{title}", wrong)))
        assert problem.startswith("11:9: data.platforms[0].items.text: ")


def test_an_order_beside_a_timestamp_is_for_ties(write):
    both = GOOD.replace("timestamp: t", "timestamp: t, order: o")
    assert not lacking(problems(write(both))[0], "timestamp", "order", "split.ties: order")
    assert load_config(write(f"{both}split: {{ties: order}}\n")).split.ties == "order"
    neither = GOOD.replace(", timestamp: t", "")
    assert not lacking(problems(write(neither))[0], "interactions.columns", "'timestamp'", "'order'")


@pytest.mark.parametrize("text", ["a: [1", "a: b: c", "\t- x", "&a [*b]"])
def test_broken_yaml_is_one_line_with_its_place(write, text):
    (found,) = problems(write(text))
    assert re.match(r"\d+:\d+: .*YAML", found)


def test_an_alias_that_contains_itself_is_an_error_not_a_crash(write):
    assert any(problem.startswith("1:") for problem in problems(write("run_dir: &a [*a]\n")))


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("seed: !!binary aGk=", ["binary"]),
        ("seed: !!timestamp 2001-01-01", ["timestamp"]),
        ("seed: !!bool x", ["'x'"]),
        ("seed: !!python/object/apply:os.system [ls]", ["os.system"]),
        ("m1²1: 3", ["'m1²1'"]),
        ("seed: " + "[" * 1000, []),
        ('run_dir: "a\\0b"', ["run_dir"]),
        ("split: {strategy: time, valid_from: 0001-01-01T00:00:00+10:00}", ["split.valid_from"]),
        ("evaluate: {k: [3000000000]}", ["evaluate.k", 3000000000]),
    ],
)
def test_hostile_values_are_errors_not_crashes(write, text, facts):
    base = GOOD.replace("run_dir: runs/x\n", "") if text.startswith("run_dir") else GOOD
    assert any(not lacking(problem, *facts) for problem in problems(write(f"{base}{text}\n")))


def test_aliases_of_aliases_end_before_the_memory_does(write):
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
    assert not lacking(problems(write(bomb))[0], "100,000")


def test_a_duplicate_and_an_unknown_key_are_told_together(write):
    found = problems(write(GOOD + "seed: 1\nseed: 2\nsede: 3\n"))
    facts = [("15:1", "'seed'", "line 14"), ("16:1", "'sede'", "'seed'")]
    assert [lacking(problem, *of) for problem, of in zip(found, facts, strict=True)] == [[], []]


@pytest.mark.parametrize("text", ["", "[]", "word"])
def test_a_config_must_be_a_mapping(write, text):
    assert len(problems(write(text))) == 1


def test_a_missing_file_and_a_binary_file(tmp_path):
    with fails(ConfigError, tmp_path / "none.yaml", os.strerror(errno.ENOENT)):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in problems(tmp_path / "b.yaml")[0]


def test_set_reaches_into_lists_and_creates_sections(write):
    config = load_config(write(GOOD), ["data.platforms[0].items.path=x.parquet", "adapt.lr=1e-3", "evaluate.k=[3]"])
    assert config.data.platforms[0].items.path == "x.parquet"
    assert config.adapt.lr == 1e-3
    assert config.evaluate.k == (3,)


@pytest.mark.parametrize(
    ("override", "facts"),
    [
        ("adapt.epohcs=3", ["'epohcs'", "'epochs'"]),
        ("seed=x", ['"x"']),
        ("data.platforms[1].name=b", ["data.platforms", 1]),
        ("run_dir.x=1", ["run_dir"]),
        ("data[0]=1", ["data"]),
        ("seed", ["key=value", "list[0].key=value"]),
        ("a..b=1", ["key=value", "list[0].key=value"]),
        ("seed=[1", ["'[1'", "YAML"]),
    ],
)
def test_a_wrong_set_is_told_as_such(write, override, facts):
    [problem] = problems(write(GOOD), override)
    assert problem.startswith(f"--set {override}: ")
    assert not lacking(problem.removeprefix(f"--set {override}: "), *facts)


def test_a_hostile_set_is_an_error_not_a_crash(write):
    for value in ("!!binary aGk=", "!!set {a}", "&a {b: *a}", "[" * 1000, "!!bool x"):
        assert problems(write(GOOD), f"seed={value}")


def test_a_set_to_nothing_is_null(write):
    assert load_config(write(GOOD), ["runtime.memory_limit="]).runtime.memory_limit is None


def test_the_shipped_configs_load():
    configs = sorted((ROOT / "configs").glob("*.yaml"))
    assert len(configs) >= 2
    for path in configs:
        load_config(path)
