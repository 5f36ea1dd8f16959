"""What a crontab, systemd, Airflow and GitHub Actions start ends well on the sample data; so do the image's steps."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from deployed import DEPLOY, ROOT, SHOP, airflow_tasks, crontab_line, instructions, workflow
from test_blocks import bash, demo  # noqa: F401  a fixture

pytestmark = pytest.mark.docs
BUILDER = next((name for name in ("docker", "podman", "buildah") if shutil.which(name)), None)


@pytest.fixture
def shop(demo, tmp_path) -> Path:  # noqa: F811
    """A folder as the schedules expect it: shop.yaml after its first run, and crossrec in .venv."""
    folder = tmp_path / "shop"
    shutil.copytree(demo, folder, symlinks=True)
    (folder / "runs" / "demo").rename(folder / "runs" / "shop")
    config = yaml.safe_load((folder / "configs" / "demo.yaml").read_text())
    (folder / "shop.yaml").write_text(yaml.safe_dump(config | {"run_dir": "runs/shop"}))
    command = folder / ".venv" / "bin" / "crossrec"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec "{sys.executable}" -m crossrec_cli "$@"\n')
    command.chmod(0o755)
    return folder


def started(command: str, shop: Path) -> subprocess.CompletedProcess[str]:
    """A command with no more of an environment than a daemon gives it."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(shop)}
    done = subprocess.run(
        ["/bin/sh", "-c", command.replace(SHOP, str(shop))],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done


def test_what_cron_starts_says_nothing_when_all_is_well(shop):
    lists = shop / "runs" / "shop" / "recommend"
    before = (lists / "current").readlink()
    (shop / "shop.yaml").write_text((shop / "shop.yaml").read_text().replace("per_category: 2", "per_category: 3"))
    done = started(crontab_line().split(maxsplit=5)[5], shop)
    assert not done.stdout + done.stderr
    assert (lists / "current").readlink() != before


def test_what_systemd_starts(shop):
    settings = dict(re.findall(r"^(\w+)=(.*)$", (DEPLOY / "crossrec.service").read_text(), re.MULTILINE))
    done = started(f"cd {settings['WorkingDirectory']} && {settings['ExecStart']} --json", shop)
    assert '"ran": false' in done.stdout


def test_what_airflow_starts(shop, monkeypatch):
    for task in airflow_tasks(monkeypatch):
        assert task.settings["cwd"] == SHOP
        started(f"cd {SHOP} && {task.settings['bash_command']}", shop)


def test_the_steps_of_the_smoke_job(demo, tmp_path):  # noqa: F811
    folder = tmp_path / "repository"
    shutil.copytree(demo, folder, symlinks=True)
    [job] = workflow()["jobs"].values()
    variables = {**job["env"], "GITHUB_STEP_SUMMARY": str(folder / "summary.md")}
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())
    steps = [step["run"] for step in job["steps"] if "run" in step and step["name"] != "Install"]
    assert len(steps) == 5
    bash(folder, "\n".join([exports, *steps]))
    assert "crossrec" in (folder / "summary.md").read_text()
    [kept] = [step["with"]["path"] for step in job["steps"] if "upload-artifact" in step.get("uses", "")]
    assert (folder / kept).is_file()


def can_build() -> bool:
    return bool(BUILDER) and subprocess.run([BUILDER, "info"], capture_output=True, check=False).returncode == 0


def run_demo(folder: Path, command: list[str]) -> None:
    """The demo's first stage, by a crossrec that is not of this environment."""
    for name in ("configs", "sample_data"):
        shutil.copytree(ROOT / name, folder / name)
    plain = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    for arguments in (["--version"], ["run", "configs/demo.yaml", "--quick", "--quiet"]):
        subprocess.run([*command, *arguments], cwd=folder, env=plain, check=True, capture_output=True)
    assert (folder / "runs" / "demo" / "recommend" / "current" / "recommendations.parquet").is_file()


@pytest.mark.skipif(not can_build(), reason="no builder of images runs here; the next test runs its steps")
def test_the_image_runs_the_demo(tmp_path):
    subprocess.run([BUILDER, "build", "--tag", "crossrec-test", str(ROOT)], check=True)
    user = f"{os.getuid() or 10001}:{os.getgid() or 10001}"
    tmp_path.chmod(0o777)
    (tmp_path / "data").mkdir(mode=0o777)
    runs = "docker" if BUILDER == "docker" else "podman"
    run_demo(tmp_path / "data", [runs, "run", "--rm", "--user", user, "-v", f"{tmp_path}/data:/data", "crossrec-test"])


@pytest.mark.skipif(can_build(), reason="the test before builds the image")
@pytest.mark.skipif(not os.environ.get("IMAGE_STEPS"), reason="IMAGE_STEPS=1: installs torch anew, five minutes")
def test_the_steps_of_the_image_run_as_a_script(tmp_path):
    """In a folder instead of /, with the packages that pip finds, and no user of its own."""

    def inside(path: str) -> str:
        return re.sub(r"(?<![\w.])/(?=opt|src|data)", f"{tmp_path}/", path)

    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    cwd, environment["PATH"] = tmp_path, f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for name, rest in instructions():
        match name:
            case "ARG":
                variable, _, value = rest.partition("=")
                environment[variable] = value.strip('"')
                if variable == "TORCH":  # the one that is there: pip's own index would give one with CUDA
                    environment[variable] = f"torch=={version('torch').partition('+')[0]}"
            case "ENV":
                settings = dict(setting.split("=", 1) for setting in shlex.split(inside(rest)))
                environment |= {key: value.replace("$PATH", environment["PATH"]) for key, value in settings.items()}
            case "WORKDIR":
                cwd = Path(inside(rest))
                cwd.mkdir(exist_ok=True)
            case "RUN":
                subprocess.run(["/bin/sh", "-ec", inside(rest)], cwd=cwd, env=environment, check=True)
            case "COPY" if not rest.startswith("--from"):
                *sources, target = rest.split()
                for source in sources:
                    copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
                    copy(ROOT / source, cwd / target)
    assert environment["HOME"] == str(cwd) == str(tmp_path / "data")
    command = shutil.which("crossrec", path=environment["PATH"])
    assert command == str(tmp_path / "opt" / "crossrec" / "bin" / "crossrec")
    run_demo(cwd, [command])
