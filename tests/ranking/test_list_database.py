"""Lists in a database: a real Postgres where Debian's package is installed, and SQLite; vectors, and the docs' SQL."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pandas as pd
import pytest
from conftest import Shop
from facts import check_failed
from pages import ROOT, blocks
from servers import debian, execute, packaged, rows_in, running

from crossrec_cli.config.list_fields import Database
from crossrec_cli.config.load import load_config
from crossrec_cli.errors import ExitCode
from crossrec_cli.pipeline.current import inputs_of
from crossrec_cli.ranking.list_database import count_rows_of, delete_rows_of
from crossrec_cli.ranking.recommender import Recommender
from crossrec_cli.ranking.vector_tables import VectorTables
from crossrec_cli.runtime.progress import Silent

PAGE = (ROOT / "docs" / "how-to" / "database.md").read_text(encoding="utf-8")
WITH_PGVECTOR, WITH_ARRAYS = (block.text for block in blocks(PAGE) if block.language == "sql")
SOME = ("jazz0", "metal3", "blues-reader1", "new")


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of its own."""
    with running(debian(), tmp_path_factory.getbasetemp().parent / f"postgres-{os.getpid()}") as uri:
        yield uri


@pytest.fixture(scope="module")
def pgvector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same of one that has pgvector."""
    with running(packaged(), tmp_path_factory.getbasetemp().parent / f"pgvector-{os.getpid()}") as uri:
        execute(uri, "CREATE EXTENSION vector")
        yield uri


def to(uri: str, table: str = "recommendations", vectors: str = "null") -> list[str]:
    return ["--set", f"recommend.to={{uri: '{uri}', table: {table}, vectors: {vectors}}}"]


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


def check_ranks(uri: str, query: str, lists: pd.DataFrame) -> None:
    """The documentation's SQL gives some users' lists; items of equal scores may stand in another order."""
    for user in SOME:
        wanted = lists[lists["user_id"] == user]
        assert len(wanted) == 5
        ranked = rows_in(uri, query.replace("'1003'", f"'{user}'").replace("LIMIT 10", "LIMIT 5"))
        np.testing.assert_allclose(ranked["score"], wanted["score"], atol=1e-6)
        above = ranked[ranked["score"] > wanted["score"].min() + 1e-6]
        assert set(above["item_id"]) <= set(wanted["item_id"])


@pytest.mark.parametrize(("server", "query"), [("postgres", WITH_ARRAYS), ("pgvector", WITH_PGVECTOR)])
def test_sql_ranks_as_crossrec_does_after_each_training(server, query, trained, crossrec, request):
    uri = request.getfixturevalue(server)
    done = crossrec("recommend", trained.path, *to(uri, vectors="crossrec"))
    assert done.exit_code == 0, done.output
    check_ranks(uri, query, trained.table("recommend", "recommendations"))
    execute(uri, "CREATE ROLE ranking", "GRANT SELECT ON crossrec_items, crossrec_users TO ranking")
    if server == "pgvector":
        execute(uri, "CREATE INDEX near ON crossrec_items USING hnsw (dense vector_ip_ops)")
    trained.config["interest"]["scorers"] = ["words", "attributes", "popularity"]  # another width, other words
    trained.config["recommend"]["rules"] = {"block": str(trained.folder / "blocked.csv")}
    (trained.folder / "blocked.csv").write_text("item_id\njazz-book-1\n")
    done = crossrec(
        "run",
        trained.path,
        *to(uri, vectors="crossrec"),
        "--set",
        "recommend.users=[jazz0, metal3, blues-reader1, new]",
    )
    assert done.exit_code == 0, done.output
    check_ranks(uri, query, trained.table("recommend", "recommendations"))
    assert sorted(rows_in(uri, "SELECT user_id FROM crossrec_users")["user_id"]) == sorted(SOME)
    items = rows_in(uri, "SELECT item_id FROM crossrec_items")["item_id"]
    assert len(items) == 35
    assert "jazz-book-1" not in set(items)
    rights = "SELECT count(*) AS n FROM information_schema.role_table_grants WHERE grantee = 'ranking'"
    assert rows_in(uri, rights)["n"][0] == 2
    if server == "pgvector":
        assert rows_in(uri, "SELECT count(*) AS n FROM pg_indexes WHERE indexname = 'near'")["n"][0] == 1


def test_where_one_table_refuses_none_of_them_changes(trained, crossrec, postgres):
    execute(postgres, "DROP TABLE IF EXISTS other_users", "CREATE TABLE other_users (user_id text, dense integer)")
    assert crossrec("recommend", trained.path, *to(postgres, "lists")).exit_code == 0
    before = rows_in(postgres, "SELECT * FROM lists")
    trained.config["recommend"]["k"] = 2
    done = crossrec("recommend", trained.path, *to(postgres, "lists", "other"))
    check_failed(done, ExitCode.UNAVAILABLE, "recommend.to")
    pd.testing.assert_frame_equal(rows_in(postgres, "SELECT * FROM lists"), before)
    assert rows_in(postgres, "SELECT to_regclass('other_items') IS NULL AS gone")["gone"][0]


def test_vectors_need_postgres(trained, crossrec):
    done = crossrec("recommend", trained.path, *to("sqlite:///lists.db", vectors="crossrec"))
    check_failed(done, ExitCode.CONFIG, "recommend.to", "postgresql://")


@pytest.fixture(scope="module")
def recommender(quick: Shop) -> Recommender:
    config = load_config(quick.run_dir / "config.yaml")
    return Recommender(config, inputs_of(config, "recommend", Silent()), Silent())


def test_a_sparse_vector_that_is_too_long_keeps_its_largest_weights(recommender):
    tables = VectorTables(recommender, np.arange(8))
    whole, cut = (pd.concat(part.to_pandas() for part in tables.of_users(most)) for most in (None, 3))
    assert tables.cut == sum(whole["weights"].str.len() > 3) > 5
    for long, short in zip(whole.itertuples(), cut.itertuples(), strict=True):
        assert list(short.terms) == sorted(short.terms)
        assert sorted(short.weights) == sorted(sorted(long.weights, key=abs)[-3:])
        assert set(short.terms) <= set(long.terms)


def test_a_model_with_one_kind_of_vectors_has_an_empty_column_for_the_other(recommender):
    for names in (["words"], ["popularity"]):
        scorers = [one for one in recommender.fused.scorers if one.name in names]
        alone = VectorTables(recommender, np.arange(3))
        fused = type(recommender.fused)(scorers, recommender.fused.fusion, recommender.fused.is_target, None)
        alone.recommender = recommender.with_pool(recommender.pool)
        alone.recommender.fused, alone.recommender.scorer = fused, fused.candidate_scorer(recommender.pool.items)
        dense, sparse = alone.widths
        assert (dense == 1) == (names == ["words"])
        assert (sparse == 1) == (names == ["popularity"])
        assert len(next(iter(alone.items(None)))["dense"][0]) == dense
