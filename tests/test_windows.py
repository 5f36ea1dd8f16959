"""What Windows lacks, taken away here: Python's ``resource``, ``sysconf``, and a disk that flushes directories."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace

import pytest
from facts import fails

from crossrec_cli.artifacts import store as disk
from crossrec_cli.artifacts.checkpoint import Checkpoint
from crossrec_cli.artifacts.store import Store
from crossrec_cli.runtime import launch, machine
from crossrec_cli.runtime.progress import peak_memory
from crossrec_cli.text import find


def test_without_resource_memory_is_unknown_and_every_stage_runs(trained, crossrec, monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    assert peak_memory() is None
    trained.config["finetune"]["epochs"] = 1
    done = crossrec("run", trained.path, "--from", "finetune", "--force", "--json")
    assert done.exit_code == 0, done.output
    assert [stage["ran"] for stage in json.loads(done.stdout)["stages"]] == [True] * 3
    manifest = json.loads((trained.run_dir / "finetune/current/manifest.json").read_text())
    assert manifest["peak_memory_bytes"] is None
    assert trained.table("finetune", "learning_curve")["peak_memory_bytes"].isna().all()
    assert (trained.run_dir / "report.html").exists()


def test_without_sysconf_memory_is_unknown(monkeypatch):
    monkeypatch.delattr(os, "sysconf")
    assert machine.memory() == (None, None)


@pytest.fixture
def windows(monkeypatch):
    """A disk on which directories cannot be opened, what is read alone is not flushed, and links are in the way."""
    opened, open_file, replace = {}, os.open, Path.replace

    def opening(path, flags, *more):
        if Path(path).is_dir():
            raise PermissionError(13, "Permission denied", str(path))
        descriptor = open_file(path, flags, *more)
        opened[descriptor] = flags
        return descriptor

    def flushing(descriptor):
        if not opened[descriptor] & os.O_RDWR:
            raise OSError(9, "Bad file descriptor")

    def replacing(self, target):
        if Path(target).is_symlink():
            raise PermissionError(13, "Access is denied", str(target))
        return replace(self, target)

    monkeypatch.setattr(disk, "WINDOWS", True)
    monkeypatch.setattr(os, "open", opening)
    monkeypatch.setattr(os, "fsync", flushing)
    monkeypatch.setattr(Path, "replace", replacing)


def test_artifacts_and_checkpoints_are_kept_on_such_a_disk(windows, tmp_path):
    store = Store(tmp_path)
    for text in ("old", "new"):
        with store.draft("stage") as draft:
            (draft / "data.txt").write_text(text)
            disk.sync(draft / "data.txt")
            disk.sync(draft)
            store.commit(draft, SimpleNamespace(id=text, files={}, model_dump_json=lambda indent: "{}"))
        assert (tmp_path / "stage/current/data.txt").read_text() == text
    kept = Checkpoint(tmp_path / "state.safetensors", "1 steps")
    kept.save({}, {"epoch": 1})
    assert kept.load() == ({}, {"epoch": 1})


def test_a_disk_without_links_is_found_before_the_work(tmp_path, monkeypatch):
    def refuse(self, target, target_is_directory=False):
        raise OSError(1314, "A required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with fails(disk.ArtifactError, tmp_path, "privilege"), Store(tmp_path).draft("stage"):
        pytest.fail("the work had begun")
    assert not list(tmp_path.iterdir())


def test_names_of_a_models_files_are_the_same_on_every_system(monkeypatch, tiny_bert):
    monkeypatch.setattr(Path, "relative_to", lambda self, other: PureWindowsPath("onnx") / self.name)
    monkeypatch.setattr(find, "hash_file", lambda path: "")
    assert "onnx/config.json" in find.fingerprint(tiny_bert)


def test_ctrl_c_ends_no_leader_on_windows(monkeypatch):
    ended = []
    leader = SimpleNamespace(terminate=lambda: ended.append(signal.SIGTERM))
    launch._interrupt(leader)
    monkeypatch.setattr(launch, "os", SimpleNamespace(name="nt"))
    launch._interrupt(leader)
    assert ended == [signal.SIGTERM]
