"""Imports go one way, and names say one thing: the order that CONTRIBUTING.md explains."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from crossrec_cli.pipeline.table import STAGES

ROOT = Path(__file__).parents[1]
PACKAGE = "crossrec_cli"
ORDER = [
    "errors",
    "config",
    "runtime",
    "artifacts",
    "data",
    "text",
    "models",
    "ranking",
    "evaluation",
    "report",
    "stages",
    "pipeline",
    "export",
    "api",
    "serving",
    "privacy",
    "federation",
    "console",
    "commands",
    "cli",
    "__main__",
]
"""A part imports from itself and from those above it."""
MOST_LINES = 350
MOST_LINES_OF_A_STAGE = 100


def modules() -> list[Path]:
    """All files of the package but ``__init__.py``."""
    return [file for file in sorted((ROOT / PACKAGE).rglob("*.py")) if file.name != "__init__.py"]


def parts() -> dict[str, list[Path]]:
    by_part: dict[str, list[Path]] = {}
    for file in modules():
        by_part.setdefault(file.relative_to(ROOT / PACKAGE).with_suffix("").parts[0], []).append(file)
    return by_part


def imports(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PACKAGE):
            rest = node.module.split(".")[1:]
            names |= {rest[0]} if rest else {alias.name for alias in node.names}
    return names - {"__version__"}


def lines(file: Path) -> int:
    return len(file.read_text().splitlines())


def repeated(names: list[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}


def test_the_list_is_complete():
    assert set(parts()) == set(ORDER)


@pytest.mark.parametrize("part", ORDER)
def test_imports_point_upwards(part):
    allowed = set(ORDER[: ORDER.index(part) + 1])
    for file in parts()[part]:
        assert imports(file) <= allowed, file


def test_no_two_modules_share_a_name():
    assert not repeated([file.name for file in modules()])
    assert not repeated([file.name for file in (ROOT / "tests").rglob("*.py")])


def test_no_two_public_classes_share_a_name():
    names = [
        node.name
        for file in modules()
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    assert len(names) > 100
    assert not repeated(names)


def test_a_file_fits_in_the_head_and_a_stage_on_two_screens():
    for file in modules():
        most = MOST_LINES_OF_A_STAGE if file.parent.name == "stages" else MOST_LINES
        assert lines(file) <= most, file


def test_stages_holds_one_file_a_stage_and_nothing_else():
    assert {file.stem for file in parts()["stages"]} == {stage.name.replace("-", "_") for stage in STAGES}
    assert {path.name for path in (ROOT / PACKAGE / "stages").iterdir()} - {"__pycache__"} == {
        "__init__.py",
        *(file.name for file in parts()["stages"]),
    }


def test_library_code_neither_prints_nor_exits():
    for part, files in parts().items():
        if part not in {"console", "commands", "cli", "__main__"}:
            for file in files:
                calls = [node.func for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
                names = {getattr(call, "id", getattr(call, "attr", "")) for call in calls}
                assert not names & {"print", "exit", "_exit"}, file


def test_contributing_names_every_module():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for file in modules():
        assert file.name in text, file
