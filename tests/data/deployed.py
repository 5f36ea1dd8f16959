"""What runs crossrec elsewhere, taken apart: the image, a crontab, systemd, Airflow, GitHub Actions."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs" / "deploy"
SHOP = "/srv/shop"
"""Where they expect the shop's config, and crossrec in a virtual environment."""


def instructions(stage: int | None = None) -> list[tuple[str, str]]:
    """The Dockerfile's instructions and what follows them, of all stages or of one."""
    text = "".join(line for line in (ROOT / "Dockerfile").read_text().splitlines(True) if not line.startswith("#"))
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    parsed = [(name, " ".join(rest.split())) for name, _, rest in (line.partition(" ") for line in lines)]
    if stage is None:
        return parsed
    begins = [number for number, (name, _) in enumerate(parsed) if name == "FROM"]
    return parsed[begins[stage] : [*begins[1:], len(parsed)][stage]]


def of(name: str, stage: int | None = None) -> list[str]:
    return [rest for instruction, rest in instructions(stage) if instruction == name]


def crontab_line() -> str:
    """The line that the page on cron shows."""
    [line] = re.findall(r"^(?:\S+ ){5}cd .*", (ROOT / "docs" / "how-to" / "cron.md").read_text(), re.MULTILINE)
    return line


def workflow() -> dict[Any, Any]:
    """The smoke job of GitHub Actions."""
    return yaml.safe_load((DEPLOY / "github-actions.yml").read_text())


class Task:
    """A task of Airflow's, as far as the DAG uses it."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.then: list[Task] = []
        Dag.tasks.append(self)

    def __rshift__(self, other: Task) -> Task:
        self.then.append(other)
        return other


class Dag:
    """A DAG of Airflow's, as far as the file uses it."""

    tasks: list[Task]
    settings: dict[str, Any]

    def __init__(self, name: str, **settings: Any) -> None:
        Dag.tasks, Dag.settings = [], settings

    def __enter__(self) -> Dag:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def airflow_tasks(monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """The tasks of the DAG, in order."""
    for name, content in (
        ("airflow.sdk", {"DAG": Dag}),
        ("airflow.providers.standard.operators.bash", {"BashOperator": Task}),
    ):
        parts = name.split(".")
        for size in range(1, len(parts) + 1):
            monkeypatch.setitem(sys.modules, ".".join(parts[:size]), ModuleType(parts[size - 1]))
        vars(sys.modules[name]).update(content)
    exec(compile((DEPLOY / "airflow_dag.py").read_text(), "airflow_dag.py", "exec"), {})
    return Dag.tasks
