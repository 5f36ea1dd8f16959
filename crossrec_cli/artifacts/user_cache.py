"""Files in the user's cache, where they save time and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def keep(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file whole or not at all; a cache that cannot be written is no reason to fail.

    Args:
        path: in the user's cache; its folder is made.
        write: writes the file under the name that it is given.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(draft)
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
