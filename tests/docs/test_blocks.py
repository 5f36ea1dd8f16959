"""What the README and docs/ show works: YAML is a valid config, and shell commands end well on the sample data.

A comment ``<!-- not run: why -->`` before a block of shell code says why it is not run. A comment
``<!-- part: key -->`` before a block of YAML says which part of the config it is, where it is not the whole.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock
from pages import ROOT, Block, blocks, written_pages

from crossrec_cli.config.load import load_config

SHELL = {"bash", "sh", "shell", "console"}
PART = re.compile(r"(?:<!-- part: (?P<key>\S+) -->\n)?```yaml\n(?P<text>.*?)```", re.DOTALL)
PAGES = [page for page in written_pages() if page.name != "README.zh.md"]  # its blocks are README.md's


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def shell_blocks(page: Path) -> list[Block]:
    return [block for block in blocks(page.read_text(encoding="utf-8")) if block.language in SHELL]


def test_a_block_is_run_unless_a_comment_says_why_not():
    text = "<!-- not run: no GPU -->\n```bash\na\n```\n\ntext\n```bash\nb\n```\n```yaml\nc: d\n```\n"
    assert list(blocks(text)) == [
        Block("bash", "a\n", "no GPU"),
        Block("bash", "b\n", None),
        Block("yaml", "c: d\n", None),
    ]


def test_most_blocks_are_run():
    found = [block for page in PAGES for block in shell_blocks(page)]
    assert sum(block.reason is None for block in found) > 0.7 * len(found) > 20


@pytest.mark.parametrize("page", [page for page in PAGES if "```yaml" in page.read_text(encoding="utf-8")], ids=named)
def test_yaml_is_a_part_of_a_valid_config(page, tmp_path):
    for found in PART.finditer(page.read_text(encoding="utf-8")):
        config = yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text(encoding="utf-8"))
        platform = config["data"]["platforms"][0]
        parts = {
            "data.platforms[0].items": platform["items"],
            "data.platforms[0].interactions": platform["interactions"],
        }
        merge(parts[found["key"]] if found["key"] else config, yaml.safe_load(found["text"]))
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        load_config(tmp_path / "config.yaml")


def merge(config: dict[str, Any], part: dict[str, Any]) -> None:
    for key, value in part.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict) and key != "split":
            merge(config[key], value)
        else:
            config[key] = deepcopy(value)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder as the repository is after ``make demo``, with ``crossrec`` and ``python`` in ``bin``."""
    shared = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    folder = shared / "demo"
    with FileLock(shared / "demo.lock"):
        if not folder.exists():
            make_demo(shared / "unfinished")
            (shared / "unfinished").rename(folder)
    return folder


def make_demo(folder: Path) -> None:
    for name in ("configs", "sample_data"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "bin").mkdir()
    for name, module in (("crossrec", "-m crossrec_cli "), ("python", "")):
        (folder / "bin" / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module}"$@"\n')
        (folder / "bin" / name).chmod(0o755)
    bash(folder, "crossrec run configs/demo.yaml --quiet")


def bash(folder: Path, script: str) -> None:
    path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    modules = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", f"trap 'kill $(jobs -p) || true' EXIT\n{script}"],
        cwd=folder,
        env=os.environ | {"PATH": path, "PYTHONPATH": modules},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


@pytest.mark.docs
@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(not one.reason for one in shell_blocks(page))], ids=named
)
def test_commands_end_well(page, demo, tmp_path):
    """All blocks of a page one after the other, in one shell, in a folder of the page's own."""
    folder = tmp_path / "repository"
    shutil.copytree(demo, folder, symlinks=True)
    bash(folder, "\n".join(block.text for block in shell_blocks(page) if block.reason is None))


@pytest.mark.docs
def test_the_notebook_runs_and_shows_what_it_gives(demo, tmp_path):
    folder = tmp_path / "repository"
    shutil.copytree(demo, folder, symlinks=True)
    cells = json.loads((ROOT / "docs" / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] for cell in code if not "".join(cell["source"]).startswith("import"))
    (folder / "cells.py").write_text("\n".join("".join(cell["source"]) for cell in code))
    bash(folder, "crossrec search configs/demo.yaml --quiet; python cells.py")
