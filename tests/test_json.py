"""Every command: its help answers fast and without the heavy libraries, and with ``--json`` it prints JSON alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pandas as pd
import pytest
from typer.core import TyperCommand
from typer.main import get_command

from crossrec_cli.artifacts import parquet, schemas
from crossrec_cli.cli import app
from crossrec_cli.errors import ExitCode
from crossrec_cli.export import write
from crossrec_cli.serving.exploration import ShownItem
from crossrec_cli.serving.impression_log import ImpressionLog


def commands(group=None, names: tuple[str, ...] = ()) -> Iterator[tuple[str, TyperCommand]]:
    """Each command of the tool as the shell calls it."""
    for name, command in (group or get_command(app)).commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*names, name))
        else:
            yield " ".join((*names, name)), command


SPEAKS = {name for name, command in commands() if any("--json" in option.opts for option in command.params)}
SILENT = {"serve": "it answers over HTTP", "config schema": "it prints JSON always"}


def test_every_command_has_help_without_torch_that_names_the_exit_codes():
    names = ["", *dict(commands())]
    code = (
        "import io, json, sys\n"
        "from contextlib import redirect_stdout\n"
        "from crossrec_cli.cli import app\n"
        "found = {}\n"
        f"for name in {names!r}:\n"
        "    out = io.StringIO()\n"
        "    with redirect_stdout(out):\n"
        "        try: app([*name.split(), '--help'], prog_name='crossrec')\n"
        "        except SystemExit: pass\n"
        "    heavy = {'torch', 'transformers', 'pandas', 'ibis', 'duckdb', 'pyarrow', 'numpy'} & sys.modules.keys()\n"
        "    assert not heavy, f'{name} imported {heavy}'\n"
        "    found[name] = out.getvalue()\n"
        "print(json.dumps(found))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name, help_text in json.loads(done.stdout).items():
        text = " ".join(help_text.split())
        assert f"Usage: crossrec {name}" in text
        for exit_code in ExitCode:
            assert f"{exit_code.value} {exit_code.meaning.split()[0]}" in text, name


def test_all_commands_but_these_two_speak_json():
    assert {name for name, _ in commands()} - SPEAKS == SILENT.keys()


@pytest.mark.parametrize("name", sorted(SPEAKS))
def test_what_a_command_prints_with_json_is_json(name, trained, crossrec, tmp_path, monkeypatch):
    trained.config["transfer"] = {"seeds": [1]}
    trained.config["tune"] = {"trials": 1, "search": {"finetune.lr": {"choices": [0.01]}}}
    new = tmp_path / "new.parquet"
    pd.DataFrame({"item": ["n"], "kind": ["book"], "title": ["jazz book new"]}).to_parquet(new)
    given = {
        "init": [trained.folder],
        "items add": [trained.path, new],
        "export": [trained.path, tmp_path / "out"],
        "search": [trained.path, "jazz book"],
        "similar": [trained.path, "jazz-book-1"],
        "audience": [trained.path, "jazz-book-1"],
        "data drift": [trained.path, "--against", tmp_path / "earlier"],
        "feedback": [tmp_path / "log"],
        "ab": [tmp_path / "log" / "impressions.parquet"],
        "compare": [trained.run_dir, trained.run_dir],
        "ls": [trained.folder],
        "clean": [trained.folder, "--keep", "1"],
        "forget": [trained.path, "jazz1"],
        "federate": [trained.path, "--dry-run"],
        "doctor": [],
    }
    if name in ("feedback", "ab"):
        log = ImpressionLog(tmp_path / "log")
        for variant in "ab":
            log.add(f"user of {variant}", variant, 1, [ShownItem({"item_id": "i"}, 1.0)])
        parquet.write_parts(tmp_path / "log" / "impressions.parquet", schemas.IMPRESSIONS, log.tables())
    if name == "data drift":
        shutil.copytree(trained.run_dir, tmp_path / "earlier", symlinks=True)
    if name == "export":  # with its graph in test_export.py
        pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
        monkeypatch.setattr(write, "write_graph", lambda path, *_: path.write_bytes(b""))
    if name == "tune":
        pytest.importorskip("optuna", reason="the extra tune is not installed")
    if name in ("transfer", "tune"):  # they train anew
        trained.config["adapt"]["epochs"] = trained.config["finetune"]["epochs"] = 1
        assert crossrec("pretrain-adapt", trained.path).exit_code == 0
    if name == "init":
        shutil.rmtree(trained.run_dir)
    done = crossrec(*name.split(), *given.get(name, [trained.path]), "--json")
    assert done.exit_code == 0, done.stderr
    assert isinstance(json.loads(done.stdout), dict | list)


@pytest.mark.parametrize("name", sorted(SPEAKS - {"doctor", "ls", "clean"}))
def test_what_goes_wrong_is_told_as_json_too(name, tmp_path, crossrec):
    given = {
        "items add": ["new.csv"],
        "export": ["out"],
        "search": ["jazz"],
        "compare": ["no/run"],
        "similar": ["jazz"],
    }
    given |= {"audience": ["jazz"], "data drift": ["--against", "no/run"], "forget": ["jazz"]}
    done = crossrec(*name.split(), tmp_path / "missing", *given.get(name, []), "--json")
    assert done.exit_code in {ExitCode.CONFIG, ExitCode.INPUT, ExitCode.ARTIFACT}, done.stderr
    assert json.loads(done.stdout)["error"]
