"""What crossrec finds here: crossrec doctor, crossrec --version."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from email.message import Message
from importlib.metadata import version

import pytest
from facts import lacking

from crossrec_cli import __version__
from crossrec_cli.runtime import machine
from crossrec_cli.text import installed
from crossrec_cli.text.find import PACKAGES


def git(folder, *arguments: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    done = subprocess.run(["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_version_names_the_commit_of_its_own_checkout_alone(tmp_path, monkeypatch):
    git(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-qm", "a")
    git(tmp_path, "tag", "v9")
    commit = git(tmp_path, "rev-parse", "--short=7", "HEAD")
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    assert machine.full_version() == f"{__version__} ({commit})"
    (tmp_path / "a").write_text("2")
    assert machine.full_version() == f"{__version__} ({commit}, modified)"
    inside = tmp_path / "venv"  # of another project
    inside.mkdir()
    monkeypatch.setattr(machine, "ROOT", inside)
    assert machine.full_version() == __version__


def test_a_checkout_without_git_still_has_a_version(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    assert machine.full_version() == __version__, "no repository"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.full_version() == __version__, "no git"


def test_version_imports_nothing_heavy():
    code = (
        "import sys; from crossrec_cli.cli import app\n"
        "try: app(['--version'])\n"
        "except SystemExit: pass\n"
        "sys.exit(', '.join({'torch', 'pyarrow', 'numpy', 'huggingface_hub'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith(f"crossrec {__version__}")
    assert not done.stderr


@pytest.fixture
def optional(monkeypatch):
    """Optional parts: one that is there, one that is not, one of which there is another version."""
    about = Message()
    needs = {"here": ["pytest>=1"], "gone": ["nowhere-at-all>=2", "pytest"], "old": ["numpy<1"], "dev": ["nowhere"]}
    about["Requires-Dist"] = "nowhere-either; python_version < '3'"
    for name, packages in needs.items():
        about["Provides-Extra"] = name
        for package in packages:
            about["Requires-Dist"] = f"{package}; extra == '{name}'"
    monkeypatch.setattr(machine, "metadata", lambda name: about)


def test_extras_that_are_not_there_come_with_how_to_install_them(optional, crossrec):
    found = {extra.name: extra for extra in machine.extras()}
    assert [extra.name for extra in found.values() if extra.installed] == ["here"]
    assert found["gone"].missing == ("nowhere-at-all",)
    assert found["old"].missing == ("numpy",)
    assert "dev" not in found
    lines = crossrec("doctor").stdout.splitlines()
    assert any(line.split()[:2] == ["here", "installed"] for line in lines)
    assert any("gone" in line and line.endswith("pip install 'crossrec[gone]'") for line in lines)


def test_json_tells_what_is_here_and_nothing_else(crossrec, tmp_path, monkeypatch):
    snapshot = tmp_path / "models--some--model/snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("x" * 1234)
    monkeypatch.setattr(installed, "hub_cache", lambda: tmp_path)
    done = crossrec("doctor", "--json")
    told = json.loads(done.stdout)
    assert (done.exit_code, done.stderr) == (0, "")
    assert told["versions"]["torch"] == version("torch")
    assert told["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    cpu = told["devices"][0]
    assert (cpu["device"], cpu["cores"]) == ("cpu", len(os.sched_getaffinity(0)))
    assert 0 < told["memory"]["free_bytes"] < told["memory"]["total_bytes"]
    assert 0 < told["disk"]["free_bytes"] < told["disk"]["total_bytes"]
    models = {model["name"]: model for model in told["models"]["found"]}
    assert models.keys() <= {"some/model", *PACKAGES}
    assert models["some/model"] == {"name": "some/model", "where": "hub cache", "bytes": 1234, "languages": None}


def test_the_tables_fit_a_screen(crossrec, monkeypatch):
    gpu = machine.Device(
        "cuda:0", "A GPU of a very long name, as its recommender has it", None, 80 * 10**9, 79 * 10**9, True, "bf16"
    )
    monkeypatch.setattr(machine, "devices", lambda: [gpu])
    lines = crossrec("doctor").stdout.splitlines()
    assert any("cuda:0" in line and "80.0 GB" in line and "79.0 GB" in line for line in lines)
    assert max(len(line.rstrip()) for line in lines if str(installed.hub_cache()) not in line) <= 80


def test_a_broken_torch_is_told_and_the_rest_as_well(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('libc is too old')")
    path = os.pathsep.join([str(tmp_path), str(machine.ROOT)])
    command = [sys.executable, "-m", "crossrec_cli", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": path})
    lines = done.stdout.splitlines()
    [broken] = [line for line in lines if "libc is too old" in line]
    assert not lacking(broken, "torch")
    assert len(lines) > lines.index(broken) + 5, "the rest follows"
