"""Every benchmark runs at toy size to its end and prints figures.

They run in this process, as do the commands that they start: a process each would spend the time on imports. Sizes
that are no options of a script are set to less. Three exceptions: ``rivals.py`` needs an environment of its own, so
only what it reads of a run is tested; ``preprocess_data.py``, ``preprocess_in_pandas.py`` and, where Polars is
installed, ``preprocess_in_polars.py`` are run by ``preprocess.py``; ``spark.py`` needs Java, and so has a test of its
own.
"""

from __future__ import annotations

import importlib
import re
import runpy
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import uvicorn
from typer.testing import CliRunner

from crossrec_cli.cli import app
from crossrec_cli.config.load import load_config
from crossrec_cli.runtime.progress import Silent
from crossrec_cli.serving.app import create_app
from crossrec_cli.serving.event_store import Events
from crossrec_cli.serving.live import Service

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[2] / "benchmarks"
SMALL = ["--set", "interest.scorers=[text, popularity]", "--set", "evaluate.baselines=[popularity]"]
TOY = {
    "audiences": (["{config}"], {"LEAST_BUYERS": 1}),
    "cold_users": (["{config}", "--seeds", "1", *SMALL], {}),
    "controls": (["{config}", "--into", "{folder}/controls", "--seeds", "1", "--set", "finetune.epochs=1"], {}),
    "dropout": ([], {"USERS": 2, "ROUNDS": 1}),
    "encoders": (["{config}", "--texts", "10"], {}),
    "evaluate_scale": (["--items", "200", "--users", "30", "--baselines", "popularity", "text"], {"WORDS": 50}),
    "federated": (
        ["{config}", "--into", "{folder}/federated", "--seeds", "1", "--budgets", "--set", "adapt.epochs=1"],
        {"ROUNDS": 1, "KIND": "transformer"},
    ),
    "gate": (["{config}", "--trials", "1", "--runs", "{folder}/gate", *SMALL], {}),
    "gpu": (
        ["--model", "{bert}", "--texts", "20", "--users", "30", "--items", "200"],
        {"ROUNDS": 1, "CATALOGUE": 100, "devices": lambda: ["cpu", "cpu"]},  # the second stands in for a GPU
    ),
    "growth": (["--rows", "2e3"], {}),
    "languages": (
        ["{config}", "--into", "{folder}/languages", "--encoders", "{bert}"],
        {"LANGUAGES": {"de": "German"}, "SCORERS": ("text", "popularity"), "TRANSLATED": ("all of one platform",)},
    ),
    "kills": (["{config}", "--kills", "1", *SMALL], {}),
    "nightly": (["{config}", "--days", "1", "--every", "2", "--set", "evaluate.k=[10]", *SMALL], {}),
    "preprocess": (["--rows", "2e3"], {}),
    "reasons": (["{config}", "--users", "20"], {}),
    "recommend memory": (["memory", "--items", "200", "--users", "30"], {}),
    "recommend speed": (["speed", "--items", "200", "--users", "30"], {"ROUNDS": 1}),
    "scorers": (["{config}"], {}),
    "search": (["{config}", "{run}"], {}),
    "seeds": (["{config}", "--seeds", "7", "--set", "evaluate.k=[10]", "--set", "evaluate.baselines=[popularity]"], {}),
    "serve": (["{config}", "--rate", "10", "--seconds", "1"], {}),
    "similar": (["{config}"], {}),
    "softmax_loss": ([], {"USERS": 30, "ITEMS": 40, "ROUNDS": 2}),
}
"""A script, its arguments, and its constants that are set to less."""
ELSEWHERE = {"preprocess_data", "preprocess_in_pandas", "preprocess_in_polars", "rivals", "spark"}


def test_every_script_is_here():
    assert {name.split()[0] for name in TOY} | ELSEWHERE == {script.stem for script in FOLDER.glob("*.py")}


@pytest.mark.parametrize("name", TOY)
def test_a_benchmark_prints_figures(name, trained, tiny_bert, tmp_path, monkeypatch, capsys):
    script, (arguments, constants) = name.split()[0], TOY[name]
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(subprocess, "run", in_this_process)
    module = importlib.import_module(script)
    for constant, value in constants.items():
        monkeypatch.setattr(module, constant, value)
    for made in ("preprocess", "growth"):
        if script == made:
            monkeypatch.setattr(module, "apart", lambda function, *given: function(*given))
    if script == "growth":
        monkeypatch.setitem(module.SMALL, "encoder", {"model": str(tiny_bert)})
    if script == "kills":
        monkeypatch.setattr(module, "start", lambda *given: never_killed(module.command(*given)))
        monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    if script == "gate":  # nothing of preprocess depends on the seed
        for run in ("full-1", "full-2", "text-1"):
            shutil.copytree(trained.run_dir / "preprocess", tmp_path / "gate" / run / "preprocess", symlinks=True)
    if script == "serve":
        monkeypatch.setattr(module.subprocess, "Popen", lambda *_, **__: Server(trained.path))
    if script == "seeds":  # all but evaluate is there for this seed
        trained.run_dir.rename(f"{trained.run_dir}-7")
    texts = {"config": trained.path, "run": trained.run_dir, "folder": tmp_path, "bert": tiny_bert}
    monkeypatch.setattr(sys, "argv", [script, *(argument.format_map(texts) for argument in arguments)])
    module.main()
    printed = capsys.readouterr().out
    assert re.search(r"\d", printed)
    assert "nan" not in printed


@pytest.mark.spark
@pytest.mark.skipif(shutil.which("java") is None, reason="there is no Java for Spark")
def test_both_engines_are_measured_and_their_tables_compared(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pyspark")
    monkeypatch.syspath_prepend(FOLDER)
    script = importlib.import_module("spark")
    monkeypatch.setattr(script, "apart", lambda function, *given: function(*given))
    few_rows = ("shuffle.partitions=1", "codegen.wholeStage=false", "codegen.factoryMode=NO_CODEGEN")
    settings = [f"--conf spark.sql.{setting}" for setting in (*few_rows, "adaptive.enabled=false")]
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", " ".join([*settings, "pyspark-shell"]))
    arguments = ["spark", "--rows", "2e3", "--memory-limit", "1GB", "--folder", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    script.main()
    *_, line = capsys.readouterr().out.splitlines()
    *_, slower, larger = line.strip("| ").split(" | ")
    assert float(slower) > 1 < float(larger)  # so few rows that Java alone costs more

    ours, theirs = (tmp_path / "2000" / engine / "preprocess/current" for engine in ("duckdb", "spark"))
    cases = pq.read_table(theirs / "cases.parquet")
    for damaged in (cases.slice(1), cases.take(np.arange(len(cases))[::-1]), cases.drop(["split"])):
        pq.write_table(damaged, theirs / "cases.parquet")
        with pytest.raises(SystemExit, match=r"cases\.parquet"):
            script.check(2000, ours, theirs)


def in_this_process(command, check=False, text=False, **_):
    """``subprocess.run`` of Python: crossrec, or a program given as text."""
    _, option, program, *arguments = map(str, command)
    if option == "-m":
        done = CliRunner().invoke(app, arguments)
        code, out, error = done.exit_code, done.stdout, done.stderr
    else:
        code, out, error = 0, "", ""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["-c", *arguments])
            exec(compile(program, "-c", "exec"), {"__name__": "__main__"})
    assert not (check and code), f"{command}\n{out}\n{error}"
    return subprocess.CompletedProcess(command, code, out if text else out.encode(), error if text else error.encode())


class Server:
    """Stands in for the process of ``crossrec serve``."""

    def __init__(self, config: Path) -> None:
        service = Service(load_config(config), None, Silent(), Events(1000))
        listening = socket.create_server(("127.0.0.1", 0))
        self.server = uvicorn.Server(uvicorn.Config(create_app(service, None), log_level="error"))
        self.thread = threading.Thread(target=self.server.run, args=([listening],))
        self.thread.start()
        self.stderr = [f"http://127.0.0.1:{listening.getsockname()[1]}/docs\n"]

    def terminate(self) -> None:
        self.server.should_exit = True

    def wait(self) -> None:
        self.thread.join(10)


def never_killed(command):
    in_this_process(command, check=True)
    return SimpleNamespace(kill=lambda: None, wait=lambda: 0)


def test_rivals_reads_a_run(trained, crossrec, monkeypatch):
    """Its models come from packages that this environment does not have."""
    for name in ("pytorch_lightning", "rectools", "rectools.dataset", "rectools.models"):
        monkeypatch.setitem(sys.modules, name, stub(name))
    for name in ("rectools.fast_transformers", "rectools.fast_transformers.unisrec"):
        monkeypatch.setitem(sys.modules, name, stub(name))
    script = SimpleNamespace(**runpy.run_path(str(FOLDER / "rivals.py")))
    crossrec("evaluate", trained.path, "--set", "evaluate.k=[10]", "--set", "evaluate.baselines=[]")
    split, ours = script.Split.of(trained.run_dir), script.of_run(trained.run_dir)
    users = split.truth["test"]["user_index"]
    assert 0 < len(users) == len(ours)
    assert set(users) == set(ours["user_index"])
    assert len(split.texts) == 1 + 36  # the books, after the padding
    assert split.train["item"].between(1, 36).all()
    first = split.truth["test"].assign(rank=1)
    assert np.allclose(script.scores(first, split.truth["test"])["ndcg@10"], 1)


def stub(name: str) -> ModuleType:
    module = ModuleType(name)
    module.__getattr__ = lambda attribute: object
    return module
