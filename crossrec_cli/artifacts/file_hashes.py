"""Hashes of files. Those of large input files are remembered in the user's cache, as long as the file stays the same.

A file counts as the same if its size, its times and its inode are. One that changed in the last seconds is not
remembered: it may change again within the resolution of its times.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Annotated

from platformdirs import user_cache_path
from pydantic import StringConstraints, TypeAdapter

from crossrec_cli.artifacts import user_cache
from crossrec_cli.errors import InputError

LARGE = 2**24
"""Bytes; smaller files are hashed each time, which takes 10 ms at most."""
SETTLED = 5.0
"""Seconds since the last change of a file that is remembered."""
KEPT = 10_000
"""How many files are remembered, the latest; 2 MB."""
Stamp = tuple[int, int, int, int]
"""Size, time of the last change of the content and of the inode, number of the inode."""
Known = dict[str, tuple[Stamp, str]]
"""Stamp and hash by path, the latest last."""
_CONTENT: TypeAdapter[Known] = TypeAdapter(
    dict[str, tuple[Stamp, Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]]]
)


def hash_file(path: Path) -> str:
    """The sha256 of an input file's bytes.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        stat = path.stat()
        if stat.st_size < LARGE:
            return sha256_of(path)
        name, stamp, known = str(path.resolve()), _stamp(stat), _known()
        remembered = known.get(name)
        if remembered and remembered[0] == stamp:
            return remembered[1]
        sha256 = sha256_of(path)
        settled = time.time() - max(stat.st_mtime, stat.st_ctime) > SETTLED
        if settled and _stamp(path.stat()) == stamp:
            known.pop(name, None)
            _remember(known | {name: (stamp, sha256)})
        return sha256
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, read now."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stamp(stat: os.stat_result) -> Stamp:
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _cache() -> Path:
    return user_cache_path("crossrec") / "file-hashes.json"


def _known() -> Known:
    """What is remembered; nothing if it cannot be read or is of another form."""
    try:
        return _CONTENT.validate_json(_cache().read_bytes())
    except (OSError, ValueError):
        return {}


def _remember(known: Known) -> None:
    """Write the cache. What another process remembers at the same time may be lost: it is hashed again."""
    content = _CONTENT.dump_json(dict(list(known.items())[-KEPT:]))
    user_cache.keep(_cache(), lambda draft: draft.write_bytes(content))
