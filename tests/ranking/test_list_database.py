"""Lists in a database: a real Postgres where Debian's package is installed, and SQLite."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from facts import check_failed

from crossrec_cli.config.list_fields import Database
from crossrec_cli.errors import ExitCode
from crossrec_cli.ranking.list_database import count_rows_of, delete_rows_of

BINARIES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of its own; it does not run as root."""
    if BINARIES is None:
        pytest.skip("needs Debian's package postgresql")
    folder = tmp_path_factory.getbasetemp().parent / f"postgres-{os.getpid()}"
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
            [str(BINARIES / str(words[0])), *map(str, words[1:])], check=True, user=user, capture_output=True
        )

    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    control = ("pg_ctl", "-D", folder / "data", "-w", "-t", 300)
    run("initdb", "-D", folder / "data", "-U", "shop", "--auth=trust", "--no-sync")
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


def to(uri: str, table: str = "recommendations") -> list[str]:
    return ["--set", f"recommend.to={{uri: '{uri}', table: {table}}}"]


def test_postgres_has_the_lists_and_a_table_keeps_its_rights(trained, crossrec, postgres):
    done = crossrec("recommend", trained.path, *to(postgres))
    assert done.exit_code == 0, done.output
    lists = trained.table("recommend", "recommendations")
    wanted = lists.sort_values(["user_id", "rank"], ignore_index=True)
    query = 'SELECT user_id, rank, item_id, score, because FROM recommendations ORDER BY user_id COLLATE "C", rank'
    found = rows_in(postgres, query)
    pd.testing.assert_frame_equal(found, wanted[list(found)], check_dtype=False)
    execute(postgres, "CREATE ROLE page", "GRANT SELECT ON recommendations TO page")
    assert crossrec("recommend", trained.path, *to(postgres), "--set", "recommend.k=3").exit_code == 0
    assert rows_in(postgres, "SELECT max(rank) AS most FROM recommendations")["most"][0] == 3
    rights = "SELECT count(*) AS n FROM information_schema.role_table_grants WHERE grantee = 'page'"
    assert rows_in(postgres, rights)["n"][0] == 1


def test_the_rows_of_some_users_go_and_the_others_stay(trained, crossrec, postgres):
    table = Database(uri=postgres, table="people")
    assert count_rows_of(["jazz3"], table) == {}
    done = crossrec("recommend", trained.path, *to(postgres, "people"))
    assert done.exit_code == 0, done.output
    execute(postgres, "UPDATE people SET user_id = 'o''neil' WHERE user_id = 'jazz4'")
    assert count_rows_of(["jazz3", "o'neil", "nobody"], table) == {"jazz3": 5, "o'neil": 5}
    delete_rows_of(["jazz3", "o'neil"], table)
    users = rows_in(postgres, "SELECT DISTINCT user_id FROM people")["user_id"]
    others = set(trained.table("recommend", "recommendations")["user_id"]) - {"jazz3", "jazz4"}
    assert set(users) == others


def test_a_table_that_refuses_keeps_its_rows(trained, crossrec, postgres):
    execute(postgres, "CREATE TABLE full_shop (user_id text, rank int)", "INSERT INTO full_shop VALUES ('a', 1)")
    check_failed(crossrec("recommend", trained.path, *to(postgres, "full_shop")), ExitCode.UNAVAILABLE, "recommend.to")
    assert rows_in(postgres, "SELECT user_id FROM full_shop")["user_id"].tolist() == ["a"]


def test_sqlite_has_the_lists_of_the_latest_run_alone(trained, crossrec):
    file = trained.folder / "lists.db"
    for _ in range(2):
        assert crossrec("run", trained.path, *to(f"sqlite:///{file}", "shown")).exit_code == 0
    with closing(sqlite3.connect(file)) as database:
        (rows,) = database.execute("SELECT count(*) FROM shown").fetchone()
    assert rows == len(trained.table("recommend", "recommendations"))


def test_another_database_runs_no_stage_again(trained, crossrec):
    done = crossrec("recommend", trained.path, *to(f"sqlite:///{trained.folder / 'other.db'}"), "--json")
    assert '"ran": false' in done.stdout


@pytest.mark.parametrize(
    ("wrong", "code", "fact"),
    [
        ("{uri: 'postgresql://me:secret@127.0.0.1:1/x'}", ExitCode.UNAVAILABLE, "127.0.0.1"),
        ("{uri: 'oracle://x'}", ExitCode.UNAVAILABLE, "adbc-driver-oracle"),
        ("{uri: lists.db}", ExitCode.CONFIG, "recommend.to.uri"),
        ("{uri: 'sqlite:///x.db', table: 'a; b'}", ExitCode.CONFIG, "recommend.to.table"),
    ],
)
def test_what_cannot_be_reached_is_told_without_a_password(trained, crossrec, wrong, code, fact):
    done = crossrec("recommend", trained.path, "--set", f"recommend.to={wrong}")
    check_failed(done, code, fact)
    assert "secret" not in done.output
