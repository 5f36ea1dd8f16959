"""What runs crossrec elsewhere is well formed; docs/test_schedules.py runs it."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib

import pytest
from deployed import DEPLOY, ROOT, Dag, airflow_tasks, crontab_line, of, workflow


def test_the_image_is_slim_and_its_command_is_not_root():
    assert all("-slim" in base for base in of("FROM"))
    assert of("ENTRYPOINT", -1) == ['["crossrec"]']
    [user] = of("USER", -1)
    assert all(int(number) > 0 for number in user.split(":"))
    assert not of("ADD")
    assert len(of("FROM")) == 2, "what installs stays out of the image"


def test_the_builder_gets_what_the_image_is_made_of_and_nothing_else():
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert ignored[0] == "*"
    sent = {line[1:] for line in ignored if line[0] == "!"}
    copied = {name.removeprefix("./") for rest in of("COPY", 0) for name in rest.split()[:-1]}
    assert sent == copied
    assert all((ROOT / name).exists() for name in sent)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {project["readme"], *project["license-files"]} <= sent, "setuptools reads them"
    [extras] = [rest.partition("=")[2] for rest in of("ARG") if rest.startswith("EXTRAS=")]
    assert set(extras.split(",")) <= set(project["optional-dependencies"])


def test_the_line_of_the_crontab_is_one():
    line = crontab_line()
    assert "%" not in line, "cron takes it as the end of the line"
    fields = line.split()[:5]
    for field, most in zip(fields, (59, 23, 31, 12, 7), strict=True):
        assert field == "*" or 0 <= int(field) <= most


def test_systemd_accepts_the_units(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs systemd")
    for unit in DEPLOY.glob("crossrec.*"):
        (tmp_path / unit.name).write_text(
            unit.read_text().replace("/srv/shop/.venv/bin/crossrec", shutil.which("true"))
        )
    units = sorted(tmp_path.iterdir())
    assert {unit.suffix for unit in units} == {".service", ".timer"}
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if "crossrec" in line], done.stderr


def test_the_smoke_job_is_a_workflow():
    assert set(workflow()) == {"name", True, "permissions", "jobs"}, "YAML takes on for true"
    for job in workflow()["jobs"].values():
        assert {"runs-on", "timeout-minutes", "steps"} <= set(job)
        assert all(("run" in step) != ("uses" in step) for step in job["steps"])
        assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in job["steps"] if "uses" in step)


def test_the_dag_publishes_only_what_is_no_worse(monkeypatch):
    tasks = airflow_tasks(monkeypatch)
    assert [[other.settings["task_id"] for other in task.then] for task in tasks] == [["compare"], ["recommend"], []]
    assert (Dag.settings["catchup"], Dag.settings["max_active_runs"]) == (False, 1)
    compare = tasks[1].settings
    assert "--against" in shlex.split(compare["bash_command"])
    assert compare["retries"] == 0, "a second try would compare the evaluation with itself"
