"""A folder that a new export replaces, completely or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from crossrec_cli.artifacts.files import RECOMMEND
from crossrec_cli.artifacts.store import MANIFEST, Store, read_manifest, sync
from crossrec_cli.errors import ConfigError
from crossrec_cli.export.folder import CARD, is_export

SERVING_FILES = {RECOMMEND, "run.log", "events.jsonl", ".lock", ".holder"}
"""What ``crossrec recommend --from`` adds to an export."""


@contextmanager
def replacing(folder: Path, locked: bool = False) -> Iterator[Path]:
    """A hidden directory next to a folder, which replaces the folder if nothing goes wrong.

    Two renames replace an earlier export. A process that is killed between them leaves it complete under a hidden name,
    and the next export, or ``restore``, puts it back.

    Args:
        folder: absolute.
        locked: whether the caller has locked it.
    """
    draft, before = folder.with_name(f".{folder.name}.draft"), _before(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    restore(folder)
    shutil.rmtree(draft, ignore_errors=True)  # of a killed export
    draft.mkdir()
    try:
        yield draft
        if is_export(folder):
            with nullcontext() if locked else Store(folder).lock():  # no 'recommend --from' writes into it now
                folder.rename(before)
        draft.rename(folder)
        sync(folder.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        restore(folder)


def _before(folder: Path) -> Path:
    """Where an earlier export is while a new one takes its place."""
    return folder.with_name(f".{folder.name}.before")


def restore(folder: Path) -> None:
    """Move an earlier export back, unless a new one has replaced it."""
    before = _before(folder)
    if before.exists() and not folder.exists():
        before.rename(folder)
    shutil.rmtree(before, ignore_errors=True)


def check_replaceable(folder: Path) -> None:
    """Replacing a folder deletes it, so it may hold only an export and what ``recommend --from`` wrote there.

    Raises:
        ConfigError: if it holds anything else.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError([f"{folder}: is a file; name a folder"])
    names = {path.name for path in folder.iterdir()}
    if names and not is_export(folder):
        raise ConfigError([f"{folder}: is not a crossrec export and not empty; name another folder"])
    own = {MANIFEST, CARD, *read_manifest(folder / MANIFEST).files} if names else set()
    if others := sorted(names - own - SERVING_FILES):
        raise ConfigError([f"{folder}: {others[0]} is not part of the export; move it away first"])
