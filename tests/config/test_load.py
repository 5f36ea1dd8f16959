from pathlib import Path

import pytest

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
    assert found == [
        "4:7: missing key 'name' in data.platforms[0]",
        "4:7: unknown key 'nam' in data.platforms[0]; did you mean 'name'?",
        "14:9: unknown key 'epohcs' in adapt; did you mean 'epochs'?",
        '14:20: adapt.lr: input should be a valid number, not "fast"',
        "15:13: recommend.k: input should be greater than or equal to 1, not 0",
    ]


def test_a_duplicate_key_is_an_error(write):
    found = problems(write(GOOD + "seed: 1\nseed: 2\n"))
    assert found == ["15:1: duplicate key 'seed', already given on line 14"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("seed: '3'", '14:1: seed: input should be a valid integer, not "3"'),
        ("seed: true", "14:1: seed: input should be a valid integer, not true"),
        ("evaluate: {mask_seen: off}", '14:12: evaluate.mask_seen: input should be a valid boolean, not "off"'),
        (
            "finetune: {init: adpated}",
            "14:12: finetune.init: 'adpated' is not one of 'adapted' or 'scratch'",
        ),
        ("interest: {scorers: []}", "14:12: interest.scorers: needs at least one entry"),
        ("interest: {scorers: [text, text]}", "14:12: interest.scorers: has an entry twice"),
        ("interest: {dim: 10, heads: 4}", "14:1: interest: dim (10) must be a multiple of heads (4)"),
        (
            "runtime: {device: gpu}",
            "14:11: runtime.device: 'gpu' is not a device; there are auto, cpu, mps, cuda, cuda:0 and so on",
        ),
        ("split: {strategy: time}", "14:1: split: 'strategy: time' needs valid_from and test_from"),
        ("split: {strategy: given}", "14:1: split: column goes with 'strategy: given', which needs it"),
        ("split: {column: split}", "14:1: split: column goes with 'strategy: given', which needs it"),
        (
            "evaluate: {candidates: 99, negatives: theirs.csv}",
            "14:1: evaluate: 'candidates' and 'negatives' both set what the true items are ranked among; give one",
        ),
        (
            "evaluate: {external: lists.csv, negatives: theirs.csv}",
            "14:1: evaluate: lists of 'external' rank all items; they cannot be combined with 'negatives'",
        ),
    ],
)
def test_wrong_values(write, line, message):
    assert problems(write(f"{GOOD}{line}\n")) == [message]


def test_a_text_template_must_name_columns(write):
    assert "names no column" in problems(write(GOOD.replace("{title}", "title")))[0]
    assert "11:9" in problems(write(GOOD.replace("{title}", "{title")))[0]
    for wrong in ("{{x}} {title}", "{title!r}", "{title:>10}", "{}"):
        assert "plain column names" in problems(write(GOOD.replace("{title}", wrong)))[0]


def test_an_order_beside_a_timestamp_is_for_ties(write):
    both = GOOD.replace("timestamp: t", "timestamp: t, order: o")
    assert "split.ties: order" in problems(write(both))[0]
    assert load_config(write(f"{both}split: {{ties: order}}\n")).split.ties == "order"
    neither = GOOD.replace(", timestamp: t", "")
    assert "needs 'timestamp' or 'order'" in problems(write(neither))[0]


@pytest.mark.parametrize("text", ["a: [1", "a: b: c", "\t- x", "&a [*b]"])
def test_broken_yaml_is_one_line_with_its_place(write, text):
    (found,) = problems(write(text))
    assert found[0].isdigit()
    assert "not valid YAML" in found


def test_an_alias_that_contains_itself_is_an_error_not_a_crash(write):
    assert any("contains itself" in problem for problem in problems(write("run_dir: &a [*a]\n")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: !!binary aGk=", "is not for configs"),
        ("seed: !!timestamp 2001-01-01", "is not for configs"),
        ("seed: !!bool x", "cannot read 'x'"),
        ("seed: !!python/object/apply:os.system [ls]", "is not for configs"),
        ("m1²1: 3", "unknown key 'm1²1'"),
        ("seed: " + "[" * 3000, "nested too deep"),
        ('run_dir: "a\\0b"', "run_dir"),
        ("split: {strategy: time, valid_from: 0001-01-01T00:00:00+10:00}", "not a date or time"),
        ("evaluate: {k: [3000000000]}", "less than"),
    ],
)
def test_hostile_values_are_errors_not_crashes(write, text, message):
    base = GOOD.replace("run_dir: runs/x\n", "") if text.startswith("run_dir") else GOOD
    assert any(message in problem for problem in problems(write(f"{base}{text}\n")))


def test_aliases_of_aliases_end_before_the_memory_does(write):
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
    assert "more than 100,000" in problems(write(bomb))[0]


def test_a_duplicate_and_an_unknown_key_are_told_together(write):
    found = problems(write(GOOD + "seed: 1\nseed: 2\nsede: 3\n"))
    assert found == [
        "15:1: duplicate key 'seed', already given on line 14",
        "16:1: unknown key 'sede'; did you mean 'seed'?",
    ]


@pytest.mark.parametrize("text", ["", "[]", "word"])
def test_a_config_must_be_a_mapping(write, text):
    assert "mapping" in problems(write(text))[0]


def test_a_missing_file_and_a_binary_file(tmp_path):
    assert "No such file" in problems(tmp_path / "none.yaml")[0]
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in problems(tmp_path / "b.yaml")[0]


def test_set_reaches_into_lists_and_creates_sections(write):
    config = load_config(write(GOOD), ["data.platforms[0].items.path=x.parquet", "adapt.lr=1e-3", "evaluate.k=[3]"])
    assert config.data.platforms[0].items.path == "x.parquet"
    assert config.adapt.lr == 1e-3
    assert config.evaluate.k == (3,)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("adapt.epohcs=3", "--set adapt.epohcs=3: unknown key 'epohcs' in adapt; did you mean 'epochs'?"),
        ("seed=x", '--set seed=x: seed: input should be a valid integer, not "x"'),
        ("data.platforms[1].name=b", "--set data.platforms[1].name=b: data.platforms has only 1 entries"),
        ("run_dir.x=1", "--set run_dir.x=1: run_dir is not a mapping"),
        ("data[0]=1", "--set data[0]=1: data is not a list"),
        ("seed", "--set seed: write it as key=value or list[0].key=value"),
        ("a..b=1", "--set a..b=1: write it as key=value or list[0].key=value"),
        ("seed=[1", "--set seed=[1: '[1' is not valid YAML"),
    ],
)
def test_a_wrong_set_is_told_as_such(write, override, message):
    assert problems(write(GOOD), override) == [message]


def test_a_hostile_set_is_an_error_not_a_crash(write):
    for value in ("!!binary aGk=", "!!set {a}", "&a {b: *a}", "[" * 3000, "!!bool x"):
        assert problems(write(GOOD), f"seed={value}")


def test_a_set_to_nothing_is_null(write):
    assert load_config(write(GOOD), ["runtime.memory_limit="]).runtime.memory_limit is None


def test_the_shipped_configs_load():
    configs = sorted((ROOT / "configs").glob("*.yaml"))
    assert len(configs) >= 2
    for path in configs:
        load_config(path)
