"""The generated reference says what the code does: every field, command, option, file, column and exit code."""

from __future__ import annotations

import re
from inspect import getsource

import generate
import pyarrow.parquet as pq
import pytest
import typer

from crossrec_cli.artifacts import schemas
from crossrec_cli.cli import app
from crossrec_cli.config.load import load_config
from crossrec_cli.errors import ExitCode


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return generate.pages()


def sections(page: str) -> dict[str, str]:
    """A page's text below each heading."""
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in page.split("\n## ")[1:]}


def test_every_config_field_is_there_with_its_default(pages, shop):
    found = sections(pages["reference/config.md"])
    config = load_config(shop.path)
    some = {"Top level": config, "adapt": config.adapt, "evaluate": config.evaluate, "data.clean": config.data.clean}
    for name, section in some.items():
        for field in type(section).model_fields:
            assert f"| `{field}` |" in found[name]
    assert "| `tolerance` | number ≥ 0, < 1 | `0.05` |" in found["evaluate"]
    assert "| `run_dir` | text | required |" in found["Top level"]
    assert {"data.platforms[].items.columns", "recommend.rules.price", "tune.search.NAME"} <= set(found)


def test_every_command_and_option_is_there(pages):
    found = sections(pages["reference/commands.md"])
    commands = dict(generate.commands(typer.main.get_command(app), "crossrec"))
    assert {path.removeprefix("crossrec ") for path in commands} == set(found)
    assert {"run", "config show", "items add"} <= set(found)
    assert "`--nproc N`" in found["run"]
    assert "`--against RUN_DIR`" in found["evaluate"]


def test_every_file_of_a_run_is_there_with_its_columns(pages, trained):
    found = sections(pages["reference/files.md"])
    files = sorted(trained.run_dir.glob("*/current/*.parquet"))
    assert len(files) > 15
    for file in files:
        section = found[f"{file.parts[-3]}/{file.name}"]
        for column in pq.read_schema(file).names:
            alike = {column, "SCORER_vector"} if column.endswith("_vector") else {column}
            alike |= {"SCORER_terms"} if column.endswith("_terms") else {"METRIC@K"} if "@" in column else set()
            assert any(f"| `{name}` |" in section for name in alike), f"{file.name}: {column}"


def test_comments_of_the_schemas_become_meanings(pages):
    found = sections(pages["reference/files.md"])
    [comment] = re.findall(r"c\.POSITION: pa\.int32\(\),  # (.*)", getsource(schemas))
    assert comment in found["preprocess/interactions.parquet"]


def test_every_exit_code_is_there(pages):
    for code in ExitCode:
        assert f"| {code.value} | {code.meaning} |" in pages["reference/exit-codes.md"]


def test_a_bar_in_a_cell_does_not_end_it():
    assert generate.table(["a"], [["b | c"]]).splitlines()[-1] == "| b \\| c |"
