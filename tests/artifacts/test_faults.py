"""Whatever goes wrong while files are written: the artifact of before is whole, and the next run brings the new one."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import pytest
from versions import commit, content

from crossrec_cli.artifacts.files import EVALUATE, FINETUNE, PREPROCESS, PRETRAIN_ADAPT, RECOMMEND
from crossrec_cli.artifacts.store import CURRENT, MANIFEST, Store
from crossrec_cli.errors import ExitCode

CHANGES = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate"}
FORK = multiprocessing.get_context("fork")
NEXT = {PREPROCESS: PRETRAIN_ADAPT, PRETRAIN_ADAPT: FINETUNE, FINETUNE: EVALUATE}
"""A stage that reads what another left."""


def commit_until(store: Store, text: str, last: int, made: multiprocessing.Queue | None = None) -> None:
    """In a process of its own: commit, and be killed after so many changes to the disk; tell how many there are."""
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        if count > last:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        reads = event == "open" and not any(letter in str(arguments[1]) for letter in "wax+")
        if event in CHANGES and not reads and str(arguments[0]).startswith(str(store.run_dir)):
            step()

    fsync = os.fsync
    os.fsync = lambda descriptor: (step(), fsync(descriptor))[1]
    sys.addaudithook(hook)
    commit(store, text)
    if made is not None:
        made.put(count)


def killed(store: Store, last: int) -> None:
    process = FORK.Process(target=commit_until, args=(store, "new", last))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_killed_after_each_change_to_the_disk_the_next_commit_ends_as_if_nothing_had_been(tmp_path):
    made = FORK.Queue()
    undisturbed = Store(tmp_path / "undisturbed")
    commit(undisturbed, "old")
    process = FORK.Process(target=commit_until, args=(undisturbed, "new", 10**6, made))
    process.start()
    process.join()
    changes = made.get()
    assert changes >= 10  # a draft, two files, four syncs, two renames, a link
    seen = set()
    for last in range(changes):
        store = Store(tmp_path / f"run{last}")
        commit(store, "old")
        killed(store, last)
        seen.add(content(store))
        with store.lock():
            commit(store, "new")
        assert content(store) == "new"
        assert not list((store.run_dir / "stage").glob(".draft*"))
        whole = [path for path in (store.run_dir / "stage").iterdir() if path.name != CURRENT and path.is_dir()]
        assert all((path / MANIFEST).exists() for path in whole)
        assert len(whole) == 2
    assert seen == {"old", "new"}


@pytest.mark.parametrize(
    ("stage", "where", "code"),
    [
        (PREPROCESS, "os.fsync", errno.ENOSPC),
        (RECOMMEND, "os.fsync", errno.EIO),
        (RECOMMEND, "pathlib.Path.rename", errno.EXDEV),
        (RECOMMEND, "pathlib.Path.replace", errno.EACCES),
        (RECOMMEND, "pathlib.Path.symlink_to", errno.EROFS),
        (PREPROCESS, "pathlib.Path.mkdir", errno.EACCES),
        (RECOMMEND, "pathlib.Path.write_text", errno.ENOSPC),
    ],
)
def test_a_disk_that_refuses_leaves_the_old_artifacts_and_one_line(trained, crossrec, monkeypatch, stage, where, code):
    store = Store(trained.run_dir)
    before, config = {name: store.current(name).path for name in (stage, FINETUNE)}, trained.path

    def refuse(*arguments: object, **_: object) -> None:
        raise OSError(code, os.strerror(code), str(arguments[0]))

    with monkeypatch.context() as broken:
        broken.setattr(where, refuse)
        done = crossrec(stage, config, "--force")
    assert done.exit_code == ExitCode.ARTIFACT, done.output
    assert done.stderr.rstrip().splitlines()[-1].endswith(os.strerror(code))
    assert {name: store.current(name).path for name in before} == before
    assert not list(trained.run_dir.glob("*/.draft*"))
    assert crossrec(stage, trained.path, "--force").exit_code == 0
    assert store.current(stage).path != before[stage]


def damages(path: Path) -> dict[str, bytes]:
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    return {"truncated": whole[:-1], "empty": b"", "flipped": flipped}


@pytest.mark.parametrize("stage", [PREPROCESS, PRETRAIN_ADAPT, FINETUNE])
def test_every_damaged_file_is_refused_by_its_name(trained, crossrec, stage):
    folder = trained.run_dir / stage / CURRENT
    files = [path for path in folder.iterdir() if path.name != MANIFEST]
    assert len(files) > 1
    for path in files:
        whole = path.read_bytes()
        for how, damaged in damages(path).items():
            path.write_bytes(damaged)
            done = crossrec(NEXT[stage], trained.path)
            assert done.exit_code == ExitCode.ARTIFACT, (path, how)
            assert path.name in done.stderr
        path.unlink()
        done = crossrec(NEXT[stage], trained.path)
        assert (done.exit_code, path.name in done.stderr) == (ExitCode.ARTIFACT, True)
        path.write_bytes(whole)
    assert crossrec(NEXT[stage], trained.path).exit_code == 0


@pytest.mark.parametrize("stage", [PREPROCESS, PRETRAIN_ADAPT, FINETUNE, EVALUATE, RECOMMEND])
def test_a_damaged_file_is_made_anew_by_its_own_stage(trained, crossrec, stage):
    folder = trained.run_dir / stage / CURRENT
    path = min((path for path in folder.iterdir() if path.name not in (MANIFEST, "learning_curve.parquet")), key=str)
    whole = path.read_bytes()
    path.write_bytes(damages(path)["flipped"])
    assert crossrec(stage, trained.path).exit_code == 0
    if path.suffix == ".parquet" and stage != EVALUATE:
        assert (folder / path.name).read_bytes() == whole
    Store(trained.run_dir).current(stage)
