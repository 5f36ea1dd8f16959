"""Hashes of files. Those of large input files are remembered in the user's cache, as long as the file stays the same.

A file counts as the same if its size, its times and its inode are. One that changed in the last seconds is not
remembered: it may change again within the resolution of its times.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from platformdirs import user_cache_path

from crossrec_cli.errors import InputError

LARGE = 2**24
"""Bytes; smaller files are hashed each time, which takes 10 ms at most."""
SETTLED = 5.0
"""Seconds since the last change of a file that is remembered."""
KEPT = 1000
"""How many files are remembered, the latest."""
Known = dict[str, list[int | str]]
"""By path: size, time of the last change, of content and of the inode, inode; and the hash."""


def hash_file(path: Path) -> str:
    """The sha256 of an input file's bytes.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        found = path.stat()
        if found.st_size < LARGE:
            return sha256_of(path)
        name, now = str(path.resolve()), [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
        *same, sha256 = _known().get(name, [""])
        if same == now:
            return str(sha256)
        sha256 = sha256_of(path)
        if _settled(found) and path.stat().st_mtime_ns == found.st_mtime_ns:
            _remember(name, [*now, sha256])
        return sha256
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, read now."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _settled(found: os.stat_result) -> bool:
    return time.time() - max(found.st_mtime, found.st_ctime) > SETTLED


def _cache() -> Path:
    return user_cache_path("crossrec") / "file-hashes.json"


def _known() -> Known:
    """What is remembered; nothing if it cannot be read."""
    try:
        known: Known = json.loads(_cache().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _remember(name: str, facts: list[int | str]) -> None:
    """Remember a file. What another process remembers at the same time may be lost: it is hashed again."""
    known = {other: value for other, value in _known().items() if other != name} | {name: facts}
    path = _cache()
    with suppress(OSError):  # a cache that cannot be written is no reason to fail
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
            json.dump(dict(list(known.items())[-KEPT:]), file)
        Path(file.name).replace(path)
