"""Data flows one way: a module imports only from those above it in this list, which CONTRIBUTING.md explains."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from crossrec_cli.artifacts import files as artifact_files
from crossrec_cli.errors import ExitCode

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
    "serving",
    "console",
    "commands",
    "cli",
    "__main__",
]


def parts() -> dict[str, list[Path]]:
    files = sorted((ROOT / PACKAGE).rglob("*.py"))
    found: dict[str, list[Path]] = {}
    for file in files:
        found.setdefault(file.relative_to(ROOT / PACKAGE).with_suffix("").parts[0], []).append(file)
    return found


def imports(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PACKAGE):
            rest = node.module.split(".")[1:]
            names |= {rest[0]} if rest else {alias.name for alias in node.names}
    return names - {"__version__"}


def test_the_list_is_complete():
    assert set(parts()) - {"__init__"} == set(ORDER)


@pytest.mark.parametrize("part", ORDER)
def test_imports_point_upwards(part):
    allowed = set(ORDER[: ORDER.index(part) + 1])
    for file in parts()[part]:
        assert imports(file) - ({"pipeline"} if file.name == "facts.py" else set()) <= allowed, file


def test_library_code_neither_prints_nor_exits():
    for part, files in parts().items():
        if part not in {"console", "commands", "cli", "__main__"}:
            for file in files:
                calls = [node.func for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
                names = {getattr(call, "id", getattr(call, "attr", "")) for call in calls}
                assert not names & {"print", "exit", "_exit"}, file


def test_contributing_names_every_module():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for part in ORDER:
        assert f"{part}" in text


def test_the_readme_documents_every_exit_code_and_table():
    text = (ROOT / "README.md").read_text()
    for code in ExitCode:
        assert f"| {code.value} | {code.meaning}" in text
    named = {value for value in vars(artifact_files).values() if isinstance(value, str) and value.endswith(".parquet")}
    assert len(named) > 10
    for name in named:
        assert f"`{name}`" in text
