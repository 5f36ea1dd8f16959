"""Shared fixtures: a tiny random BERT, a planted shop, and a way to run the real command."""

from __future__ import annotations

import _strptime
import contextlib
import functools
import gc
import json
import os
import shutil
import subprocess
import tempfile
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

gc.disable()  # until all is imported, of which nothing goes away

# Two workers on two cores: threads of their own would only wait for each other. Read when NumPy and torch are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from compiled_once import install
from transformers import BertConfig, BertModel, BertTokenizer
from typer import testing
from typer.testing import CliRunner

from crossrec_cli.artifacts.job import Job
from crossrec_cli.cli import app
from crossrec_cli.config.load import load_config
from crossrec_cli.runtime.progress import Silent
from crossrec_cli.stages import preprocess as stage
from crossrec_cli.text import static

testing._get_command = functools.cache(testing._get_command)  # built once, not for each call of the command
install()
_strptime._CACHE_MAX_SIZE = 1000  # each format that a column of times is tried with is compiled once, not once a column

STAGE_RUNS = {"preprocess", "shop", "crossrec", "pristine", "trained", "quick"}
"""What tests use that run stages or whole commands."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as ``browser`` what opens a page, as ``slow`` what needs a traced graph.

    As ``unit`` what runs no stage and starts no process: single modules.
    """
    tests = Path(__file__).parent
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if "browser" in fixtures:
            item.add_marker("browser")
        if "of_the_shop" in fixtures:
            item.add_marker("slow")
        whole = STAGE_RUNS & (fixtures | set(vars(item.module))) or item.path.parent == tests
        whole = whole or {"stage", "subprocess", "FORK"} & set(item.function.__code__.co_names)
        if not whole and not any(item.get_closest_marker(other) for other in ("docs", "spark", "browser", "slow")):
            item.add_marker("unit")


def pytest_collection_finish() -> None:
    """What was made by imports need not be looked through again and again, nor so often what Ibis makes."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    gc.enable()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Of the files next to this one none is a unit, so that for units alone they need not be imported."""
    return True if config.option.markexpr == "unit" and collection_path.match("tests/test_*.py") else None


STAGES = ["preprocess", "pretrain-adapt", "finetune", "evaluate", "recommend"]
ONE_EPOCH = ("--set", "adapt.epochs=1", "--set", "finetune.epochs=1")
"""For tests that are not about what is learned."""


def stages_that_ran(output: str) -> list[str]:
    """Of what ``crossrec run --json`` printed."""
    return [stage["stage"] for stage in json.loads(output)["stages"] if stage["ran"]]


@pytest.fixture(autouse=True, scope="session")
def _no_cache_of_the_user(tmp_path_factory: pytest.TempPathFactory):
    """What is distilled in the tests does not take the place of what the user has distilled."""
    folder = tmp_path_factory.mktemp("user-cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(static, "user_cache_path", lambda name: folder / name)
        yield


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture
def fill_gpu():
    """Let torch take no more than a share of the GPU's memory from here on, and to the brim: nothing at all."""
    held = []

    def fill(share: float, to_the_brim: bool = False) -> None:
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(share)
        for size in (2**20, 2**16, 2**9) if to_the_brim else ():  # 512 bytes are the least that torch hands out
            with contextlib.suppress(torch.OutOfMemoryError):
                while True:
                    held.append(torch.empty(size, dtype=torch.uint8, device="cuda"))

    yield fill
    held.clear()
    torch.cuda.set_per_process_memory_fraction(1.0)


WORDS = ["jazz", "metal", "blues", "record", "book", "red", "blue", "green", "old", "new", "rare", "live", "studio"]


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with random weights: texts that share words lie close, nothing else is in it."""
    return random_bert(tmp_path_factory.mktemp("tiny-bert"), WORDS)


def random_bert(folder: Path, words: list[str]) -> Path:
    """Write a BERT with random weights that reads these words and the numbers below 100."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *map(str, range(100))]
    BertTokenizer(vocab={word: number for number, word in enumerate(words)}).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(words), **sizes)).save_pretrained(folder)
    return folder


@dataclass
class Shop:
    """A shop's tables and a config that reads them."""

    folder: Path
    config: dict

    @property
    def path(self) -> Path:
        """The config file, as it stands now."""
        path = self.folder / "config.yaml"
        path.write_text(yaml.safe_dump(self.config, sort_keys=False))
        return path

    @property
    def run_dir(self) -> Path:
        return Path(self.config["run_dir"])

    def table(self, stage: str, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.run_dir / stage / "current" / f"{name}.parquet")


@pytest.fixture
def shop(tmp_path: Path, tiny_bert: Path) -> Shop:
    """Three tastes over records (the source) and books (the target)."""
    return make_shop(tmp_path, tiny_bert)


def make_shop(folder: Path, model: Path, text: str = "{title}") -> Shop:
    """Write a planted shop.

    Jazz people buy jazz records and jazz books. Metal people buy metal records, and only in the test a metal book:
    no metal book is in training with a metal record. It is bought there by people who buy nothing else. What
    links metal records to metal books is the word in their titles. Blues people are to blues what metal people are
    to metal, so that metal books cannot be found by leaving out the jazz.
    """
    items, rows = planted_tables()
    pd.DataFrame(items).to_parquet(folder / "items.parquet")
    pd.DataFrame(rows).to_parquet(folder / "interactions.parquet")
    tags = pd.DataFrame({"user": [f"jazz{i}" for i in range(40)] + ["new"], "club": ["a"] * 40 + ["a"]})
    tags.to_parquet(folder / "users.parquet")
    platform = {
        "name": "shop",
        "interactions": {
            "path": str(folder / "interactions.parquet"),
            "columns": {"user_id": "user", "item_id": "item", "timestamp": "time"},
        },
        "items": {
            "path": str(folder / "items.parquet"),
            "columns": {"item_id": "item", "category": "kind"},
            "text": text,
        },
        "users": {"path": str(folder / "users.parquet"), "columns": {"user_id": "user"}, "tags": ["club"]},
    }
    config = {
        "run_dir": str(folder / "run"),
        "data": {"platforms": [platform], "min_interactions": {"user": 1, "item": 0}},
        "domains": {"target": {"category": "book"}},
        "encoder": {"model": str(model), "kind": "transformer"},  # auto would distil its few words
        "adapt": {"epochs": 10, "lr": 0.01, "batch_size": 32},
        "finetune": {"epochs": 5, "lr": 0.01, "batch_size": 32},
        "interest": {"dim": 16, "user_encoder": "bag", "id_dropout": 0.3},
        "evaluate": {"k": [5], "baselines": ["popularity", "text"]},
        "recommend": {"k": 5, "reasons": 3},
        "runtime": {"device": "cpu", "num_threads": 1},
    }
    return Shop(folder, config)


def planted_tables() -> tuple[list[dict], list[dict]]:
    """Items (item, kind, title) and purchases (user, item, time) of the planted shop."""
    adjectives = WORDS[5:]
    items = [
        {
            "item": f"{taste}-{kind}-{number}",
            "kind": kind,
            "title": f"{taste} {kind} {adjectives[number % len(adjectives)]} {number}",
        }
        for kind, count in (("record", 40), ("book", 12))
        for taste in ("jazz", "metal", "blues")
        for number in range(count)
    ]
    rng = np.random.default_rng(0)
    rows = []

    def buy(user: str, kind: str, count: int, of: int, first_day: int = 0) -> None:
        for day, number in enumerate(rng.choice(of, count, replace=False)):
            time = pd.Timestamp("2024-01-01") + pd.Timedelta(days=first_day + day)
            rows.append({"user": user, "item": f"{kind}-{number}", "time": time})

    for taste, books in (("jazz", 4), ("metal", 1), ("blues", 1)):
        for person in range(40):
            buy(f"{taste}{person}", f"{taste}-record", count=12, of=40)
            buy(f"{taste}{person}", f"{taste}-book", count=books, of=12, first_day=20)
        for person in range(0 if taste == "jazz" else 30):  # they buy books of a taste and nothing else
            buy(f"{taste}-reader{person}", f"{taste}-book", count=4, of=12)
    return items, rows


def books_found(shop: Shop) -> float:
    """Of the test's metal and blues people, who have no book until then: how many find theirs among five?

    Of the 12 books of their taste 5 hit .42 by chance, of the 24 that are not jazz .21, of all 36 .14.
    """
    per_user = shop.table("evaluate", "per_user").query("model == 'crossrec'")
    mine = per_user[per_user["user_id"].str.fullmatch(r"(metal|blues)\d+")]
    assert len(mine) == 80
    return mine["hr@5"].mean()


def preprocess(shop: Shop) -> dict[str, pd.DataFrame]:
    """The stage's tables by name; interactions and cases with the platforms' ids and the domain."""
    out = Path(tempfile.mkdtemp(dir=shop.folder))
    stage.run(Job(load_config(shop.path), {}, out, Silent(), None))
    found = {file.stem: pd.read_parquet(file) for file in out.glob("*.parquet")}
    items, users = found["items"][["item_index", "item_id", "domain"]], found["users"][["user_index", "user_id"]]
    for name in ("interactions", "cases"):
        found[name] = found[name].merge(items, how="left").merge(users, how="left")
    return found


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> tuple[Shop, Path]:
    """The planted shop after all five stages, and a copy of its folder."""
    shop = make_shop(tmp_path_factory.mktemp("shop"), tiny_bert)
    done = CliRunner().invoke(app, ["run", str(shop.path)])
    assert done.exit_code == 0, done.output
    copy = tmp_path_factory.mktemp("pristine")
    shutil.copytree(shop.folder, copy, symlinks=True, dirs_exist_ok=True)
    return shop, copy


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Shop:
    """The planted shop after ``run --quick``: to look at, not to change."""
    shop = make_shop(tmp_path_factory.mktemp("quick"), tiny_bert)
    done = CliRunner().invoke(app, ["run", str(shop.path), "--quick"])
    assert done.exit_code == 0, done.output
    return shop


@pytest.fixture
def trained(pristine: tuple[Shop, Path]) -> Shop:
    """The planted shop after all five stages, as if nobody had touched it."""
    shop, copy = pristine
    shutil.rmtree(shop.folder)
    shutil.copytree(copy, shop.folder, symlinks=True)
    return Shop(shop.folder, deepcopy(shop.config))


@pytest.fixture
def crossrec():
    """Run the command in this process: ``crossrec("run", path, "--json")``; ``typed`` is what comes from stdin."""

    def run(*arguments: object, typed: str | None = None):
        return CliRunner().invoke(app, [str(argument) for argument in arguments], input=typed)

    return run


CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--virtual-time-budget=5000",
    "--dump-dom",
]


@pytest.fixture
def browser(tmp_path):
    """Open a page: ``browser(html)`` gives its elements after its scripts ran, and what these wrote to the console."""
    if not (chromium := shutil.which("chromium")):
        pytest.skip("chromium is not installed")
    file = tmp_path / "page.html"

    def opened(html: str, width: int = 1280) -> tuple[str, str]:
        file.write_text(html, encoding="utf-8")
        own = [f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},1000"]
        command = [chromium, *CHROMIUM_FLAGS, *own, file.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)

    return opened
