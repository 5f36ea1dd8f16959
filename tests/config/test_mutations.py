"""Whatever is wrong with a config is one line that says where; whatever is no config at all is told as well."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import hypothesis.strategies as st
import pytest
import yaml
from facts import lacking
from hypothesis import given, settings

from crossrec_cli.config.load import dump_config, load_config
from crossrec_cli.errors import ConfigError, ExitCode

ROOT = Path(__file__).parents[2]
ALSO = (
    "data.platforms[0].interactions.events={purchase: {weight: 2.0}}",
    "data.platforms[0].items.csv={delimiter: ';'}",
    "data.identity={users: [{path: a, left: {platform: grocer, id: x}, right: {platform: grocer, id: y}}]}",
    "data.identity.match_items={propose: 0.5}",
    "tune.search={finetune.lr: {low: 1e-4, high: 1e-2, log: true}}",
)
WHOLE = yaml.safe_load(dump_config(load_config(ROOT / "configs/complete_journey.yaml", ALSO)))
"""A config with every field in it."""


def leaves(value, path=()) -> Iterator[tuple]:
    """The path of every key whose value holds no further key."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        inner = [*leaves(child, (*path, key))]
        if inner:
            yield from inner
        elif isinstance(key, str):
            yield (*path, key)


LEAVES = [*leaves(WHOLE)]


def section_of(config, path):
    """What holds the leaf of a config."""
    for key in path[:-1]:
        config = config[key]
    return config


def line_of(node, path) -> int:
    for key in path:
        found = node.value[key] if isinstance(key, int) else None
        place, node = (found, found) if found else next((k, v) for k, v in node.value if k.value == key)
    return place.start_mark.line + 1


def problems(file) -> list[str]:
    with pytest.raises(ConfigError) as told:
        load_config(file)
    assert told.value.exit_code == ExitCode.CONFIG
    return told.value.problems


def test_every_field_is_among_the_leaves():
    assert len(LEAVES) > 120
    assert ("data", "platforms", 0, "items", "columns", "price") in LEAVES
    assert ("recommend", "rules", "price", "max") in LEAVES
    assert ("data", "platforms", 0, "interactions", "events", "purchase", "weight") in LEAVES
    assert ("tune", "search", "finetune.lr", "low") in LEAVES


APART = len(LEAVES) // 3 + 1


@pytest.mark.parametrize("first", range(APART))
def test_wrong_values_are_told_with_their_lines_and_misspelt_keys_with_what_was_meant(tmp_path, first):
    """Of a few fields far apart in one file, each the wrong value, and of those behind them each the key."""
    wrong, misspelt = LEAVES[first::APART], (LEAVES[1:] + LEAVES[:1])[first::APART]
    config = deepcopy(WHOLE)
    for path in wrong:
        section_of(config, path)[path[-1]] = {"wrong": 1}
    for path in misspelt:
        section = section_of(config, path)
        section[f"{path[-1]}x"] = section.pop(path[-1])
    file = tmp_path / "config.yaml"
    file.write_text(yaml.dump(config, Dumper=yaml.CSafeDumper, sort_keys=False))
    told = problems(file)
    root = yaml.compose(file.read_text(), yaml.CSafeLoader)
    for path in wrong:
        lines = {line_of(root, path), line_of(root, (*path, "wrong"))}
        assert any(problem.startswith(f"{file}:{line}:") for line in lines for problem in told), (path, told)
    for *above, key in misspelt:
        place = f"{file}:{line_of(root, (*above, f'{key}x'))}:"
        assert any(one.startswith(place) and not lacking(one, f"'{key}x'", f"'{key}'") for one in told), (key, told)


def or_refused(file) -> None:
    """It loads, or every problem is one line that names the file."""
    try:
        load_config(file)
    except ConfigError as error:
        assert error.problems
        for problem in error.problems:
            assert str(file) in problem
            assert problem.isprintable()


FEW = settings(max_examples=50, deadline=None, derandomize=True, database=None)
words = st.sampled_from(sorted({str(key) for path in LEAVES for key in path}))
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | words
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | st.text(max_size=5), inner, max_size=4)
)


@FEW
@given(sections=st.dictionaries(st.sampled_from(sorted(WHOLE)), values), whole=st.booleans())
def test_random_sections_never_crash_it(tmp_path_factory, sections, whole):
    file = tmp_path_factory.mktemp("random") / "config.yaml"
    file.write_text(yaml.safe_dump((WHOLE if whole else {}) | sections, allow_unicode=True), encoding="utf-8")
    or_refused(file)


@FEW
@given(text=st.text(alphabet="ab:-[]{}&*!|>'\"#%@` \n\t\\0.,?~<\x00\u2028é", max_size=60), data=st.data())
def test_random_text_never_crashes_it(tmp_path_factory, text, data):
    file = tmp_path_factory.mktemp("random") / "config.yaml"
    demo = (ROOT / "configs/demo.yaml").read_text()
    begin = data.draw(st.integers(0, len(demo)))
    end = data.draw(st.integers(begin, len(demo)))
    file.write_text(data.draw(st.sampled_from([text, demo[:begin] + text + demo[end:]])), encoding="utf-8")
    or_refused(file)


@FEW
@given(content=st.binary(max_size=60))
def test_random_bytes_never_crash_it(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("random") / "config.yaml"
    file.write_bytes(content)
    or_refused(file)
