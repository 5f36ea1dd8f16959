"""Artifacts on disk: complete or not there, and checked against their manifest.

``<run_dir>/<stage>/<id>/`` has a stage's files and ``manifest.json``; the symlink ``current`` next to it points to
the newest. A draft is written into a hidden folder next to it and synced, its manifest last; then it is renamed and
the symlink is replaced. Whenever a process dies, ``current`` points to a complete artifact or to none.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from crossrec_cli.artifacts.file_hashes import sha256_of
from crossrec_cli.artifacts.run_lock import locked
from crossrec_cli.errors import ArtifactError
from crossrec_cli.runtime.progress import Reporter

WINDOWS = os.name == "nt"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
CURRENT = "current"
CHECKPOINT = ".checkpoint-"
KEEP = 2
"""Artifacts of a stage that are kept."""
_NAME = re.compile(r"(\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{8})(?:\.(\d{3}))?")
"""Of an artifact's directory: its id, and how many copies took the place of the first. Names sort by time."""


class FileEntry(BaseModel):
    """One file of an artifact."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    sha256: str
    bytes: int
    rows: int | None = None
    made_as: str | None = None
    """Its hash as the stage wrote it, where people were removed from it since. What reads it goes by this one."""


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
        """The hash of one of its files as the stage wrote it, given as stage/name."""
        entry = self._entry(file)[1]
        return entry.made_as or entry.sha256

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
        earlier = [path for path in self.artifacts(stage) if path.name < newest]
        return checked(earlier[-1]) if earlier else None

    def artifacts(self, stage: str) -> list[Path]:
        """The directories of a stage's artifacts, the oldest first; those of a killed command may be among them."""
        directory = self.run_dir / stage
        paths = directory.iterdir() if directory.is_dir() else ()
        return sorted(path for path in paths if _NAME.fullmatch(path.name))

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
        _point_to(final)
        for checkpoint in stage_dir.glob(f"{CHECKPOINT}*"):
            checkpoint.unlink()
        others = [path for path in self.artifacts(stage_dir.name) if path != final]
        for old in others[: 1 - KEEP]:
            shutil.rmtree(old, ignore_errors=True)
        return Artifact(final, manifest)

    def replace(self, old: Path, fill: Callable[[Path], object]) -> None:
        """Put a changed copy in the place of an artifact. Whenever the process dies, one of the two is there, whole.

        Args:
            old: the artifact's directory.
            fill: fills an empty directory with the copy, and seals it. It is not called where a killed process has
                left the copy already.
        """
        new = _next_copy(old)
        if not new.exists():
            with self.draft(old.parent.name) as draft:
                fill(draft)
                draft.rename(new)
        link = old.parent / CURRENT
        if link.is_symlink() and link.readlink().name == old.name:
            _point_to(new)
        old.rename(gone := old.with_name(f".draft-{old.name}"))  # what is left of it, the next lock deletes
        shutil.rmtree(gone)

    @contextmanager
    def lock(self, timeout: float = 0.0, report: Reporter | None = None) -> Iterator[None]:
        """Lock the run directory for writing; ``run_lock.locked`` says what its arguments mean and what it raises."""
        with locked(self.run_dir, timeout, report):
            for stale in self.run_dir.glob("*/.draft-*"):  # of a killed run: no other process can be writing there
                shutil.rmtree(stale, ignore_errors=True)
            yield


def _point_to(artifact: Path) -> None:
    """Make an artifact its stage's current one."""
    stage_dir = artifact.parent
    link = stage_dir / f".{CURRENT}"
    link.unlink(missing_ok=True)
    link.symlink_to(artifact.name, target_is_directory=True)
    if WINDOWS:  # which cannot replace a link to a directory
        (stage_dir / CURRENT).unlink(missing_ok=True)
    link.replace(stage_dir / CURRENT)
    sync(stage_dir)


def _next_copy(artifact: Path) -> Path:
    """The directory of the copy that takes an artifact's place; it sorts right after it."""
    match = _NAME.fullmatch(artifact.name)
    if match is None:
        raise ValueError(f"{artifact} is not the directory of an artifact")
    return artifact.with_name(f"{match[1]}.{int(match[2] or 0) + 1:03}")


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


def new_id(digest: str) -> str:
    """A name that sorts by time. Artifacts with the same sources have the same last 8 characters."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{digest[:8]}"


def describe_files(directory: Path) -> dict[str, FileEntry]:
    """``describe_file`` of every file in a directory."""
    return {
        path.name: describe_file(path)
        for path in sorted(directory.iterdir())
        if path.is_file() and path.name != MANIFEST
    }


def describe_file(path: Path) -> FileEntry:
    """Hash, size and (for Parquet) rows of a file."""
    import pyarrow.parquet as pq  # noqa: PLC0415  takes a moment to import

    rows = pq.read_metadata(path).num_rows if path.suffix == ".parquet" else None
    return FileEntry(sha256=sha256_of(path), bytes=path.stat().st_size, rows=rows)


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
