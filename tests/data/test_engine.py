"""Raw files in every form, as DuckDB reads them."""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from facts import lacking
from small import zstd

from crossrec_cli.config.schema import Runtime
from crossrec_cli.config.source_fields import Csv, Source
from crossrec_cli.data import engine
from crossrec_cli.data.engine import Engine, file_and_row
from crossrec_cli.data.raw_files import SOURCE_ROW
from crossrec_cli.errors import InputError

PACK = {"": bytes, ".gz": gzip.compress, ".zst": zstd}


@dataclass
class Reader:
    """An engine, and a folder for what it shall read."""

    tables: Engine
    folder: Path

    def __call__(self, path: object, csv: Csv | None = None, limit: int | None = None) -> tuple[list, list]:
        """The rows, and of each its file's name and its number."""
        raw = self.tables.read(Source(path=str(path), csv=csv), limit)
        kept = self.tables.fetch(self.tables.keep(raw, str(path)).order_by(SOURCE_ROW))
        where = file_and_row(self.tables, kept[SOURCE_ROW].to_pylist())
        return kept.drop([SOURCE_ROW]).to_pylist(), [(Path(file).name, row) for file, row in where]

    def write(self, name: str, content: str | bytes, encoding: str = "utf-8") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    def parquet(self, name: str, **columns: list) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path)
        return path

    def error(self, path: object, csv: Csv | None = None) -> str:
        with pytest.raises(InputError) as caught:
            self(path, csv)
        assert len(str(caught.value).splitlines()) == 1
        return str(caught.value)


@pytest.fixture(scope="module")
def connected(tmp_path_factory):
    with engine.connect("duckdb", tmp_path_factory.mktemp("scratch") / "tables", Runtime()) as tables:
        yield tables


@pytest.fixture
def read(connected, tmp_path):
    return Reader(connected, tmp_path)


def test_a_parquet_file_keeps_its_types(read):
    when = datetime(2024, 5, 1)
    path = read.parquet("x.parquet", id=[7, None], tags=[["a", "b"], []], time=[when, when])
    rows, where = read(path)
    assert rows == [{"id": 7, "tags": ["a", "b"], "time": when}, {"id": None, "tags": [], "time": when}]
    assert where == [("x.parquet", 1), ("x.parquet", 2)]


def test_rows_of_many_row_groups_and_files_are_counted_in_each_file(read):
    for name in ("a", "b"):
        pq.write_table(pa.table({"n": range(1, 4001)}), read.folder / f"{name}.parquet", row_group_size=700)
    rows, where = read(read.folder / "*.parquet")
    assert [row["n"] for row in rows] == [number for _, number in where] == [*range(1, 4001)] * 2
    assert [name for name, _ in where] == ["a.parquet"] * 4000 + ["b.parquet"] * 4000


def test_parts_in_folders_have_the_folders_names_as_columns(read):
    read.parquet("rows/year=2024/town=00123/part-0.parquet", id=["a"])
    read.parquet("rows/year=2025/town=Bad%20Ems/part-0.parquet", id=["b"])
    read.write("rows/_SUCCESS", b"")
    expected = [{"id": "a", "town": "00123", "year": 2024}, {"id": "b", "town": "Bad Ems", "year": 2025}]
    for path in ("rows", "rows/", "rows/**/*.parquet", "rows/year=*/town=*/part-0.parquet"):
        assert read(f"{read.folder}/{path}")[0] == expected


def test_what_a_failed_job_left_in_a_folder_is_no_part_of_it(read):
    for name in ("part-0.parquet", "_temporary/0/part-0.parquet", ".part-0.parquet", "_part.parquet"):
        read.parquet(f"rows/{name}", id=[name])
    assert read(read.folder / "rows")[0] == [{"id": "part-0.parquet"}]


def test_parquet_parts_are_joined_by_the_names_of_their_columns(read):
    read.parquet("1.parquet", a=[1], b=[2])
    read.parquet("2.parquet", b=[3], c=[4])
    rows, _ = read(read.folder / "*.parquet")
    assert rows == [{"a": 1, "b": 2, "c": None}, {"a": None, "b": 3, "c": 4}]


@pytest.mark.parametrize("name", ["a[1]*?.parquet", "it's.parquet", "日本 é.parquet"])
def test_a_name_may_hold_anything(read, name):
    assert read(read.parquet(name, a=[1])) == ([{"a": 1}], [(name, 1)])


QUOTED = 'a,b\n"x,1","y\n2"\n"q""q",z\n,\n'
READ = [{"a": "x,1", "b": "y\n2"}, {"a": 'q"q', "b": "z"}, {"a": None, "b": None}]


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_with_delimiters_line_ends_and_quotes_in_quotes(read, packing, mark):
    path = read.write(f"x.csv{packing}", PACK[packing]((mark + QUOTED).encode()))
    assert read(path) == (READ, [(path.name, 1), (path.name, 2), (path.name, 3)])


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_csv_with_other_line_ends(read, end):
    rows, _ = read(read.write("x.csv", f"a,b{end}1,2{end}3,4{end}"))
    assert rows == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def test_line_ends_within_quotes_may_differ_from_those_of_the_lines(read):
    rows, _ = read(read.write("x.csv", 'a,b\r\n"x\ny",2\r\n3,4\r\n'))
    assert rows == [{"a": "x\ny", "b": "2"}, {"a": "3", "b": "4"}]


def test_windows_1252_has_the_signs_that_latin_1_lacks(read):
    for ending, pack in PACK.items():
        path = read.write(f"w.csv{ending}", pack("id,name\n1,Käse €5 – “gut”\n2,plain\n".encode("cp1252")))
        rows, where = read(path, Csv(encoding="windows-1252"))
        assert [row["name"] for row in rows] == ["Käse €5 – “gut”", "plain"]
        assert where == [(path.name, 1), (path.name, 2)]
    wrong = read.write("x.csv", b"id\n\x81\n")
    assert not lacking(read.error(wrong, Csv(encoding="windows-1252")), wrong, "windows-1252", "csv.encoding")


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le"])
def test_csv_in_other_encodings(read, encoding, packing):
    path = read.write(f"x.csv{packing}", PACK[packing]("é,b\nü,ß\n".encode(encoding)))
    rows, _ = read(path, Csv(encoding="latin-1" if encoding == "latin-1" else "utf-16"))
    assert rows == [{"é": "ü", "b": "ß"}]


@pytest.mark.parametrize("names", [(), ("a",)], ids=["header", "no header"])
def test_an_encoding_that_the_file_is_not_in_is_told(read, names):
    utf_16 = read.write("x.csv", "a\né\n".encode("utf-16"))
    assert not lacking(read.error(utf_16, Csv(names=names)), utf_16, "utf-8", "csv.encoding")
    unmarked = read.write("y.csv", "a\nb\n".encode("utf-16-le"))
    assert not lacking(read.error(unmarked, Csv(names=names)), unmarked, "line 1", "csv.encoding", "utf-16")
    swapped = read.write("z.csv", b"\xfe\xff" + "a\né\n".encode("utf-16-be"))
    assert not lacking(read.error(swapped, Csv(encoding="utf-16", names=names)), swapped, "UTF-16", "big-endian")


@pytest.mark.parametrize(
    ("text", "layout", "expected"),
    [
        ("a;b\n1,5;2\n", Csv(delimiter=";"), [{"a": "1,5", "b": "2"}]),
        ("a|b\n1|2\n", Csv(delimiter="|"), [{"a": "1", "b": "2"}]),
        ("a,b\n'x,y',2\n", Csv(quote="'"), [{"a": "x,y", "b": "2"}]),
        ('a,b\n"x,5" tall\n', Csv(quote=""), [{"a": '"x', "b": '5" tall'}]),
        ("1,2\n3,4\n", Csv(names=("a", "b")), [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]),
        ('1::B:C::"x\n', Csv(delimiter="::", quote="", names=("a", "b", "c")), [{"a": "1", "b": "B:C", "c": '"x'}]),
        ("a::b\n1::2\n", Csv(delimiter="::"), [{"a": "1", "b": "2"}]),
        ("a\tb\n1\t2\n", Csv(delimiter="\t"), [{"a": "1", "b": "2"}]),
    ],
)
def test_csv_as_the_config_describes_it(read, text, layout, expected):
    assert read(read.write("x.txt", text), layout)[0] == expected


def test_a_header_may_have_space_line_ends_and_cells_without_a_name(read):
    rows, _ = read(read.write("x.csv", ' a ,"b\nc",,d\n1,2,3,4\n'))
    assert rows == [{"a": "1", "b\nc": "2", "column3": "3", "d": "4"}]


@pytest.mark.parametrize("packing", PACK)
def test_tsv(read, packing):
    path = read.write(f"x.tsv{packing}", PACK[packing](b'a\tb\n"x\t1"\t2\nit"s\t3\n'))
    assert read(path)[0] == [{"a": "x\t1", "b": "2"}, {"a": 'it"s', "b": "3"}]


def test_cells_stay_as_they_are_written(read):
    cells = ["007", "1.50", "1e5", "NULL", "true", "2024-05-01", " x "]
    assert [row["a"] for row in read(read.write("x.csv", "\n".join(["a", *cells])))[0]] == cells


LINES = """
{"id": "007", "n": 1.5, "list": ["p", "q"], "inner": {"k": [1, null]}}

{"id": 12345678901234567890123, "n": null, "yes": true}
{"list": [], "id": "\\u00e9\\ud83d\\ude80", "n": "—"}
{}
""".lstrip()


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("suffix", ["jsonl", "ndjson", "json"])
def test_json_lines_with_lists_numbers_and_missing_keys(read, suffix, mark, packing):
    path = read.write(f"x.{suffix}{packing}", PACK[packing]((mark + LINES).encode()))
    rows, where = read(path)
    empty = dict.fromkeys(["id", "n", "list", "inner", "yes"])
    assert rows == [
        {**empty, "id": "007", "n": "1.5", "list": '["p","q"]', "inner": '{"k":[1,null]}'},
        {**empty, "id": "12345678901234567890123", "yes": "true"},
        {**empty, "id": "é🚀", "n": "—", "list": "[]"},
        empty,
    ]
    assert where == [(path.name, row) for row in (1, 2, 3, 4)]


@pytest.mark.parametrize("packing", PACK)
def test_recbole_atomic_files(read, packing):
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    path = read.write(f"x.inter{packing}", PACK[packing](f"{header}1\t02\t3.0\t881250949.0\n".encode()))
    assert read(path)[0] == [{"user_id": "1", "item_id": "02", "rating": "3.0", "timestamp": "881250949.0"}]
    path = read.write(f"x.item{packing}", PACK[packing](b'item_id:token\ttitle:token_seq\n1\t"A" b "c\n'))
    assert read(path)[0] == [{"item_id": "1", "title": '"A" b "c'}]
    path = read.write(f"x.user{packing}", PACK[packing](b"user_id:token\tage:float\n1\t24\n"))
    assert read(path)[0] == [{"user_id": "1", "age": "24"}]


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("csv", ["a\n1\n2\n", "a\n3\n"]),
        ("jsonl", ['{"a": 1}\n{"a": 2}\n', '{"a": 3}\n']),
        ("inter", ["a:token\n1\n2\n", "a:token\n3\n"]),
    ],
)
@pytest.mark.parametrize("address", ["", "file://"])
def test_text_files_of_a_glob_are_read_in_order_and_numbered_each(read, name, contents, address):
    for number, content in enumerate(contents):
        read.write(f"{number}.{name}", content)
    rows, where = read(f"{address}{read.folder}/*.{name}")
    assert [row["a"] for row in rows] == ["1", "2", "3"]
    assert where == [(f"0.{name}", 1), (f"0.{name}", 2), (f"1.{name}", 1)]
    assert read(f"{address}{read.folder}/*.{name}", limit=2)[1] == where[:2]


@pytest.mark.parametrize("limit", [1, 3])
def test_a_limit_takes_the_first_rows(read, limit):
    read.parquet("1.parquet", a=[1, 2])
    read.parquet("2.parquet", a=[3, 4])
    rows, where = read(read.folder / "*.parquet", limit=limit)
    assert rows == [{"a": 1}, {"a": 2}, {"a": 3}][:limit]
    assert where == [("1.parquet", 1), ("1.parquet", 2), ("2.parquet", 1)][:limit]


def test_an_address_is_read_as_a_path_is(read):
    assert read(f"file://{read.write('x.csv', QUOTED)}")[0] == READ
    assert read(f"file://{read.write('y.csv', '1,2')}", Csv(names=("a", "b")))[0] == [{"a": "1", "b": "2"}]
    line = '{"day": "2024-05-01", "n": 1.50, "list": ["p"]}\n'
    assert read(f"file://{read.write('x.jsonl', line)}")[0] == [{"day": "2024-05-01", "n": "1.5", "list": '["p"]'}]
    for number in (1, 2):
        read.parquet(f"{number}.parquet", a=[number])
    assert read(f"file://{read.folder}/*.parquet") == ([{"a": 1}, {"a": 2}], [("1.parquet", 1), ("2.parquet", 1)])
    assert read.error("file:///nowhere/x.csv") == "file:///nowhere/x.csv: no such file"


@pytest.mark.parametrize("name", ["x.parquet", "x.csv", "x-*.jsonl"])
def test_an_address_without_its_extension_says_how_to_get_it(read, name, monkeypatch, tmp_path):
    read.tables.connection.raw_sql("SET autoinstall_known_extensions = false")
    read.tables.connection.raw_sql(f"SET extension_directory = '{tmp_path}'")
    assert not lacking(read.error(f"s3://bucket/{name}"), f"s3://bucket/{name}", "INSTALL httpfs")


@pytest.mark.parametrize("address", ["", "file://"])
def test_parts_with_other_columns_are_named(read, address):
    read.write("1.csv", "a,b\n1,2\n")
    read.write("2.csv", "b,a\n1,2\n")
    told = read.error(f"{address}{read.folder}/*.csv")
    assert told.startswith(f"{read.folder}/2.csv: ")
    assert f"{read.folder}/1.csv" in told


@pytest.mark.parametrize("name", ["1.csv", "1.jsonl", "1.parquet"])
def test_the_damaged_one_of_several_files_is_named(read, name):
    if name == "1.parquet":
        read.parquet("0.parquet", a=[1])
        read.write(name, b"PAR1 and nothing else PAR1")
    else:
        good, bad = ("a,b\n1,2\n", "a,b\n1\n") if name == "1.csv" else ('{"a": 1}\n', '{"a": 1}\n' * 20_000 + "{")
        read.write(f"0{Path(name).suffix}", good)
        read.write(name, bad)
    assert read.error(read.folder / f"*{Path(name).suffix}").startswith(f"{read.folder / name}: ")


def test_names_that_an_engine_cannot_tell_apart_are_errors(read):
    for path in (read.write("x.csv", "a,A\n1,2\n"), read.write("x.jsonl", '{"a": 1, "A": 2}\n')):
        assert not lacking(read.error(path), path, "'a'", "'A'")
    twice = read.write("y.csv", "1,2\n")
    assert not lacking(read.error(twice, Csv(names=("a", "a"))), twice, "'a'")
    for path in (read.write("z.csv", "Source_Row\n1\n"), read.parquet("z.parquet", source_row=[1])):
        assert re.search(r"'source_row'.*crossrec", read.error(path), re.IGNORECASE)
    assert not lacking(read.error(read.parquet("y.parquet", file_row_number=[1])), "'file_row_number'", "DuckDB")


def test_files_of_different_forms_and_of_none_are_errors(read):
    read.write("x.csv", "a\n1\n")
    read.write("x.tsv", "a\n1\n")
    assert str(read.folder / "x.*") in read.error(read.folder / "x.*")
    unknown = read.write("x.doc", "a\n1\n")
    assert not lacking(read.error(unknown), unknown, ".parquet", ".csv", ".gz", "'csv'")
