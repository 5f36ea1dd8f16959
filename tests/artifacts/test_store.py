import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from facts import fails, lacking
from versions import commit, content

from crossrec_cli.artifacts.store import Store
from crossrec_cli.errors import ArtifactError, LockedError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "run")


def test_nothing_is_current_before_the_first_commit(store):
    assert store.current("stage") is None


def test_the_newest_is_current_and_two_are_kept(store):
    for text in "abc":
        commit(store, text)
    assert content(store) == "c"
    kept = [path for path in (store.run_dir / "stage").iterdir() if path.is_dir() and not path.is_symlink()]
    assert len(kept) == 2


def test_only_artifacts_are_swept_and_never_the_new_one(store):
    commit(store, "a")
    for name in ("mine", "zzz"):
        (store.run_dir / "stage" / name).mkdir()
    ahead = store.run_dir / "stage" / "20990101T000000.000000Z-00000000"
    (store.run_dir / "stage" / "current").resolve().rename(ahead)
    for text in "bc":
        commit(store, text)
        assert content(store) == text
    assert (store.run_dir / "stage" / "mine").is_dir()
    assert (store.run_dir / "stage" / "zzz").is_dir()


def test_a_draft_that_fails_leaves_nothing(store):
    commit(store, "old")
    with pytest.raises(RuntimeError), store.draft("stage") as draft:
        (draft / "data.txt").write_text("half")
        raise RuntimeError
    assert content(store) == "old"
    assert not list((store.run_dir / "stage").glob(".draft*"))


def test_a_draft_of_a_killed_process_is_swept_away(store):
    stale = store.run_dir / "stage" / ".draft-1"
    stale.mkdir(parents=True)
    (stale / "data.txt").write_text("half")
    with store.lock():
        assert not stale.exists()


@pytest.mark.parametrize("call", range(1, 12))
def test_a_crash_at_any_sync_or_rename_leaves_a_whole_artifact(store, monkeypatch, call):
    commit(store, "old")
    calls = 0

    def crash_at(function):
        def wrapper(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == call:
                raise KeyboardInterrupt
            return function(*args, **kwargs)

        return wrapper

    monkeypatch.setattr(os, "fsync", crash_at(os.fsync))
    for name in ("rename", "symlink_to", "replace", "unlink"):
        monkeypatch.setattr(Path, name, crash_at(getattr(Path, name)))
    try:
        commit(store, "new")
    except KeyboardInterrupt:
        pass
    else:
        assert call > 8, "the commit makes fewer calls than it should"
    monkeypatch.undo()
    assert content(store) in {"old", "new"}
    commit(store, "newer")
    assert content(store) == "newer"


def test_damage_is_told_with_the_file(store):
    artifact = commit(store, "hello")
    (artifact.path / "data.txt").write_text("jello")
    with fails(ArtifactError, artifact.path / "data.txt"):
        store.current("stage")
    (artifact.path / "data.txt").unlink()
    with fails(ArtifactError, artifact.path / "data.txt", os.strerror(errno.ENOENT)):
        store.current("stage")


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", "null"])
def test_a_broken_manifest_is_told_with_the_file(store, text):
    artifact = commit(store, "hello")
    (artifact.path / "manifest.json").write_text(text)
    with fails(ArtifactError, artifact.path / "manifest.json"):
        store.current("stage")


def test_a_manifest_cannot_name_files_elsewhere(store):
    artifact = commit(store, "hello")
    path = artifact.path / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"] = {"../../secret": manifest["files"]["data.txt"]}
    path.write_text(json.dumps(manifest))
    with fails(ArtifactError, path):
        store.current("stage")


def test_a_file_that_is_not_there_is_an_artifact_error(store):
    artifact = commit(store, "hello")
    assert artifact.sha256("stage/data.txt") == hashlib.sha256(b"hello").hexdigest()
    with fails(ArtifactError, artifact.path, "other.txt", "--force"):
        artifact.file("stage/other.txt")


def test_a_second_process_is_locked_out_and_told_by_whom(store):
    with store.lock():
        code = (
            "import sys; from pathlib import Path; from crossrec_cli.artifacts.store import Store\n"
            "with Store(Path(sys.argv[1])).lock(): pass"
        )
        done = subprocess.run([sys.executable, "-c", code, store.run_dir], capture_output=True, text=True, check=False)
        assert not lacking(done.stderr.splitlines()[-1], store.run_dir, os.getpid(), "--lock-timeout")
    with store.lock():
        pass


def test_a_lock_is_held_against_the_same_process_too(store):
    with store.lock(), pytest.raises(LockedError), store.lock():
        pass
