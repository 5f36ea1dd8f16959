"""Artifacts on disk: complete or not there, and checked against their manifest.

``<run_dir>/<stage>/<id>/`` has a stage's files and ``manifest.json``; the symlink ``current`` next to it points to
the newest. A draft is written into a hidden folder next to it and synced, its manifest last; then it is renamed and
the symlink is replaced. Whenever a process dies, ``current`` points to a complete artifact or to none.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from crossrec_cli.artifacts.file_hashes import sha256_of
from crossrec_cli.errors import ArtifactError, LockedError
from crossrec_cli.runtime.progress import Reporter

WINDOWS = os.name == "nt"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
CURRENT = "current"
CHECKPOINT = ".checkpoint-"
KEEP = 2
"""Artifacts of a stage that are kept."""
_ID = re.compile(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{8}")


class FileEntry(BaseModel):
    """One file of an artifact."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    sha256: str
    bytes: int
    rows: int | None = None


class Manifest(BaseModel):
    """What an artifact is, its sources, and what it cost."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format_version: int
    stage: str
    stage_version: int
    id: str
    config: dict[str, Any]
    """Each config field that the stage declares, dotted, with its value."""
    inputs: dict[str, str]
    """Each input file and earlier stage, with the hash of its content."""
    files: dict[str, FileEntry]
    summary: dict[str, Any]
    """The stage's figures."""
    versions: dict[str, str]
    seed: int
    started: str
    wall_seconds: float
    cpu_seconds: float
    peak_memory_bytes: int | None
    """None if the system does not report it."""


@dataclass(frozen=True)
class Artifact:
    """A committed artifact with all its files, as the manifest describes them."""

    path: Path
    manifest: Manifest

    def holds(self, file: str) -> bool:
        """Whether it has a file, given as stage/name."""
        return Path(file).name in self.manifest.files

    def file(self, file: str) -> Path:
        """The path of one of its files, given as stage/name.

        Raises:
            ArtifactError: if it has no such file.
        """
        return self.path / self._entry(file)[0]

    def sha256(self, file: str) -> str:
        """The hash of one of its files, given as stage/name."""
        return self._entry(file)[1].sha256

    def _entry(self, file: str) -> tuple[str, FileEntry]:
        name = Path(file).name
        if name not in self.manifest.files:
            raise ArtifactError(f"{self.path}: has no {name}; run the stage again with --force")
        return name, self.manifest.files[name]


class Store:
    """The artifacts of one run directory."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir

    def current(self, stage: str) -> Artifact | None:
        """The newest artifact of a stage, checked; None if there is none yet.

        Raises:
            ArtifactError: if it is damaged.
        """
        link = self.run_dir / stage / CURRENT
        if not link.is_symlink():
            return None
        return checked(link.parent / link.readlink().name)

    def previous(self, stage: str) -> Artifact | None:
        """The artifact before the newest one, checked; None if there is none.

        Raises:
            ArtifactError: if it is damaged.
        """
        link = self.run_dir / stage / CURRENT
        if not link.is_symlink():
            return None
        newest = link.readlink().name
        earlier = [path for path in link.parent.iterdir() if _ID.fullmatch(path.name) and path.name < newest]
        return checked(max(earlier)) if earlier else None  # ids sort by time

    @contextmanager
    def draft(self, stage: str) -> Iterator[Path]:
        """A hidden directory for a stage's files; deleted afterwards unless it was committed."""
        directory = self.run_dir / stage
        link = directory / CURRENT
        if link.exists() and not link.is_symlink():
            raise ArtifactError(f"{link}: is not crossrec's symlink; move it to another folder")
        try:
            directory.mkdir(parents=True, exist_ok=True)
            draft = directory / f".draft-{os.getpid()}"
            draft.mkdir()
        except OSError as error:
            raise ArtifactError(f"{error.filename or directory}: cannot write: {error.strerror}") from None
        try:
            _check_links(draft)
            yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)
            with suppress(OSError):  # it has artifacts
                directory.rmdir()

    def checkpoint(self, stage: str, digest: str) -> Path:
        """The path of the stage's checkpoint. Those of other configs and inputs are deleted."""
        path = self.run_dir / stage / f"{CHECKPOINT}{digest[:16]}.safetensors"
        for other in path.parent.glob(f"{CHECKPOINT}*"):
            if not other.name.startswith(path.stem):
                other.unlink()
        return path

    def commit(self, draft: Path, manifest: Manifest) -> Artifact:
        """Make a draft the stage's current artifact, and delete all but the newest ``KEEP``."""
        stage_dir = draft.parent
        final = stage_dir / manifest.id
        seal(draft, manifest)
        draft.rename(final)
        link = stage_dir / f".{CURRENT}"
        link.unlink(missing_ok=True)
        link.symlink_to(final.name, target_is_directory=True)
        if WINDOWS:  # which cannot replace a link to a directory
            (stage_dir / CURRENT).unlink(missing_ok=True)
        link.replace(stage_dir / CURRENT)
        sync(stage_dir)
        for checkpoint in stage_dir.glob(f"{CHECKPOINT}*"):
            checkpoint.unlink()
        others = sorted(path for path in stage_dir.iterdir() if _ID.fullmatch(path.name) and path != final)
        for old in others[: 1 - KEEP]:
            shutil.rmtree(old, ignore_errors=True)
        return Artifact(final, manifest)

    @contextmanager
    def lock(self, timeout: float = 0.0, report: Reporter | None = None) -> Iterator[None]:
        """Lock the run directory for writing. The operating system frees it when the process dies.

        Args:
            timeout: seconds to wait for another process that has it.
            report: gets a message if it waits.

        Raises:
            LockedError: if another process still has it.
        """
        lock = FileLock(self.run_dir / ".lock", timeout=0)
        try:
            self.run_dir.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
            except Timeout:
                if timeout and report:
                    report.say(f"waiting for {_holder(self.run_dir)}")
                lock.acquire(timeout=timeout)
        except Timeout:
            advice = f"waited {timeout:g} s" if timeout else "wait for it to end, or give --lock-timeout"
            raise LockedError(f"{self.run_dir}: {_holder(self.run_dir)} is using it; {advice}") from None
        except OSError as error:
            raise ArtifactError(f"{error.filename or self.run_dir}: cannot write: {error.strerror}") from None
        try:
            since = datetime.now(UTC).isoformat(timespec="seconds")
            (self.run_dir / ".holder").write_text(f"{os.getpid()} {since}")
            for stale in self.run_dir.glob("*/.draft-*"):  # of a killed run: no other process can be writing there
                shutil.rmtree(stale, ignore_errors=True)
            yield
        finally:
            (self.run_dir / ".holder").unlink(missing_ok=True)
            lock.release()


def _check_links(folder: Path) -> None:
    """Check that symlinks can be made: before a long training, and not after it.

    Raises:
        ArtifactError: if not, as on some disks, and on Windows without its developer mode.
    """
    link = folder / CURRENT
    try:
        link.symlink_to(folder.name, target_is_directory=True)
    except OSError as error:
        reason = "a run directory needs symbolic links (on Windows, Developer Mode allows them)"
        raise ArtifactError(f"{folder.parent}: {reason}: {error.strerror}") from None
    link.unlink()


def _holder(run_dir: Path) -> str:
    try:
        process, since = (run_dir / ".holder").read_text().split()
    except (OSError, ValueError):
        return "another crossrec"
    return f"process {process}, since {since},"


def new_id(digest: str) -> str:
    """A name that sorts by time. Artifacts with the same sources have the same last 8 characters."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{digest[:8]}"


def describe_files(directory: Path) -> dict[str, FileEntry]:
    """Hash, size and (for Parquet) rows of every file in a directory."""
    import pyarrow.parquet as pq  # noqa: PLC0415  takes a moment to import

    return {
        path.name: FileEntry(
            sha256=sha256_of(path),
            bytes=path.stat().st_size,
            rows=pq.read_metadata(path).num_rows if path.suffix == ".parquet" else None,
        )
        for path in sorted(directory.iterdir())
        if path.is_file() and path.name != MANIFEST
    }


def checked(path: Path) -> Artifact:
    """The artifact in a directory.

    Raises:
        ArtifactError: if there is none, or it is damaged.
    """
    manifest = read_manifest(path / MANIFEST)
    for name, entry in manifest.files.items():
        _check_file(path / name, entry)
    return Artifact(path, manifest)


def seal(draft: Path, manifest: Manifest) -> None:
    """Write a draft's files to the disk, and its manifest last."""
    for name in manifest.files:
        sync(draft / name)
    (draft / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    sync(draft / MANIFEST)
    sync(draft)


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        ArtifactError: if this crossrec cannot read it, or it names a file outside its directory.
    """
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ArtifactError(f"{path}: {error.strerror or error}") from None
    except ValidationError:
        raise ArtifactError(f"{path}: damaged, or written by another version of crossrec") from None
    if manifest.format_version != FORMAT_VERSION:
        raise ArtifactError(f"{path}: format {manifest.format_version}, this crossrec reads {FORMAT_VERSION}")
    if any(Path(name).name != name for name in manifest.files):
        raise ArtifactError(f"{path}: names a file outside its own directory")
    return manifest


def _check_file(path: Path, entry: FileEntry) -> None:
    try:
        damaged = path.stat().st_size != entry.bytes or sha256_of(path) != entry.sha256
    except OSError as error:
        raise ArtifactError(f"{path}: {error.strerror or error}") from None
    if damaged:
        raise ArtifactError(f"{path}: damaged, its content is not what the manifest says")


def sync(path: Path) -> None:
    """Write a file, or the entries of a directory, to the disk before anything later.

    Windows flushes only files that are open for writing, and opens no directories.
    """
    if WINDOWS and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if WINDOWS else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
