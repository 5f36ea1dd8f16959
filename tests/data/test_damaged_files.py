"""Files that are damaged, through the real command: what its one line must tell besides the file."""

from __future__ import annotations

import errno
import gzip
import io
import os
import random
from pathlib import Path

import pandas as pd
import pytest
import small
from conftest import Shop
from facts import check_failed, lacking

from crossrec_cli.errors import ExitCode

ROWS = small.table("user item time", small.BASE)
CSV = ROWS.to_csv(index=False).encode()
LONG_CSV = CSV + b"u,r0,2024-01-01\n" * 100_000
"""Longer than the part that tells its columns."""
LINE = b'{"user": "u", "item": "r0", "time": "2024-01-01"}\n'
LONG_JSON = LINE * 12_000
RUBBISH = random.Random(0).randbytes(5000)


def parquet_bytes(rows: pd.DataFrame) -> bytes:
    written = io.BytesIO()
    rows.to_parquet(written)
    return written.getvalue()


PARQUET = parquet_bytes(pd.concat([ROWS] * 1000))
DAMAGED: dict[str, tuple] = {
    "cut-off.parquet": (PARQUET[: len(PARQUET) // 2],),
    "torn.parquet": (PARQUET[:20] + RUBBISH[:200] + PARQUET[220:],),
    "footer.parquet": (PARQUET[:-8] + b"\xff\xff\xff\x7fPAR1",),
    "rubbish.parquet": (RUBBISH,),
    "csv-in.parquet": (CSV,),
    "no-rows.parquet": (parquet_bytes(ROWS.head(0)),),
    "nulls.parquet": (
        parquet_bytes(ROWS.assign(user=None)),
        "row 1",
        "3 of 3",
        "missing user id 3",
        "data.clean.max_rejected",
        "0.05",
    ),
    "parquet-in.csv": (PARQUET, "utf-8", "csv.encoding"),
    "parquet-in.jsonl": (PARQUET,),
    "parquet-in.csv.gz": (PARQUET,),
    "rubbish.csv": (RUBBISH, "utf-8", "csv.encoding"),
    "rubbish.csv.zst": (RUBBISH,),
    "rubbish.jsonl": (RUBBISH,),
    "cut-off-early.csv.gz": (gzip.compress(LONG_CSV)[:50],),
    "cut-off.csv.gz": (gzip.compress(LONG_CSV)[:-9],),
    "cut-off.jsonl.gz": (gzip.compress(LONG_JSON)[:-9],),
    "cut-off.csv.zst": (small.zstd(LONG_CSV)[:-9],),
    "latin.csv": (CSV + b"\xe9,r0,2024-01-01\n", "csv.encoding", "windows-1252"),
    "latin-far-down.csv": (LONG_CSV + b"\xe9,r0,2024-01-01\n", "csv.encoding", "windows-1252"),
    "semicolons.csv": (CSV.replace(b",", b";"), "';'", "csv.delimiter"),
    "latin-far-down.jsonl": (LONG_JSON + LINE.replace(b"u", b"\xe9"), "line 12002", "UTF-8"),
    "one-long-line.csv": (b"x" * 10_000_000, "line 1"),
    "a-long-line.csv": (CSV + b"x" * 10_000_000, "line 5", 3, 1),
    "one-long-line.jsonl": (b'{"user": "' + b"x" * 10_000_000, "line 1", "JSON"),
    "nul.csv": (b"\0" * 1000, "line 1", "NUL"),
    "nul-behind.csv": (CSV + b"\0" * 1000, "line 5", 3, 1),
    "nul-in-ids.csv": (
        CSV.replace(b"base", b"ba\0se"),
        "row 1",
        "3 of 3",
        "missing user id 3",
        "data.clean.max_rejected",
        "0.05",
    ),
    "nul-far-down.jsonl": (LONG_JSON + b"\0" * 100 + b"\n", "line 12002"),
    "twice.csv": (b"user,item,user,time\n1,2,3,4\n", "'user'"),
    "header.csv": (b"user,item,time",),
    "line-ends.csv": (b"\n\n\n", "line 1"),
    "nulls.csv": (b"user,item,time\n" + b",,\n" * 9, "row 1", "9 of 9"),
    "line-ends.jsonl": (b"\n\n\n", "10,000"),
    "nulls.jsonl": (b'{"user": null, "item": null, "time": null}\n', "row 1", "1 of 1"),
    "broken-far-down.jsonl": (LONG_JSON + b'{"user":\n' + LINE, "line 12002"),
    "list-far-down.jsonl": (LONG_JSON + b"[1]\n" + LINE, "line 12001", "[1]"),
    "list.json": (b"[" + LINE + b"]", "line 1", "JSON"),
    "deep.jsonl": (b'{"user": ' + b"[" * 100_000,),
    "long-number.jsonl": (
        b'{"user": ' + b"1" * 6000 + b"}",
        "'item'",
        "data.platforms[0].interactions.columns.item_id",
    ),
    "few.csv": (LONG_CSV + b"u,r0\n", "line 100005", 3, 2),
    "many.csv": (CSV + b"u,r0,2024-01-01,x\n", "line 5", 3, 4),
    "quote.csv": (CSV + b'"u,r0,2024-01-01\n' + LONG_CSV, "line 5", "csv.quote"),
    "mixed-line-ends.csv": (CSV.replace(b"\n", b"\r\n") + CSV,),
}


@pytest.fixture
def broken(tmp_path, crossrec):
    """Runs preprocess on a shop whose interactions are in that file, and gives the one line that it ends with."""
    shop = small.write(tmp_path, shop=(ROWS, small.kinds("r0", "b0", "b1")))
    shop.config["data"]["clean"]["max_rejected"] = 0.05

    def ran(path: Path, part: str = "interactions") -> str:
        shop.config["data"]["platforms"][0][part]["path"] = str(path)
        done = crossrec("preprocess", shop.path)
        assert done.exit_code == ExitCode.INPUT, done.output
        assert done.stdout == ""
        check_nothing_is_left(shop)
        [line] = done.stderr.splitlines()
        assert len(line) < 500
        return line

    return ran


def check_nothing_is_left(shop: Shop) -> None:
    """Neither an artifact nor a draft or scratch."""
    assert {path.name for path in shop.run_dir.rglob("*")} <= {".lock", "run.log", "events.jsonl"}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_ends_in_one_line_and_leaves_nothing(broken, tmp_path, name):
    content, *facts = DAMAGED[name]
    (tmp_path / name).write_bytes(content)
    line = broken(tmp_path / name)
    assert not lacking(line, tmp_path / name, *facts)


@pytest.mark.parametrize("name", ["torn.parquet", "few.csv", "cut-off.csv.zst", "broken-far-down.jsonl", "nulls.csv"])
def test_damaged_items_end_in_one_line_too(broken, tmp_path, name):
    content = DAMAGED[name][0]
    columns = b"item,kind,title"
    (tmp_path / name).write_bytes(content.replace(b"user,item,time", columns))
    assert str(tmp_path / name) in broken(tmp_path / name, "items")


def test_a_folder_without_files_is_told(broken, tmp_path):
    (tmp_path / "rows").mkdir()
    assert not lacking(broken(tmp_path / "rows"), tmp_path / "rows", "Parquet")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", ["x.parquet", "x.csv", "x.jsonl.gz"])
def test_a_file_that_may_not_be_read_is_told(broken, tmp_path, name):
    (tmp_path / name).write_bytes(CSV)
    (tmp_path / name).chmod(0)
    assert not lacking(broken(tmp_path / name), tmp_path / name, os.strerror(errno.EACCES))
    (tmp_path / "rows").mkdir(mode=0)
    assert os.strerror(errno.EACCES) in broken(tmp_path / "rows" / name)


def test_data_check_ends_on_a_damaged_file_likewise(tmp_path, crossrec):
    shop = small.write(tmp_path, shop=(ROWS, small.kinds("r0", "b0", "b1")))
    (tmp_path / "torn.parquet").write_bytes(DAMAGED["torn.parquet"][0])
    shop.config["data"]["platforms"][0]["interactions"]["path"] = str(tmp_path / "torn.parquet")
    done = crossrec("data", "check", shop.path)
    check_failed(done, ExitCode.INPUT, tmp_path / "torn.parquet")
    assert len(done.stderr.splitlines()) == 1
