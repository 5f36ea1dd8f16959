"""How text files are written, and the format of their dates."""

from __future__ import annotations

import gzip

import pytest
from facts import fails

from crossrec_cli.config.source_fields import Csv
from crossrec_cli.data.sniff import layout, time_formats
from crossrec_cli.errors import InputError

GERMAN = "Kunde;Größe;Preis\n1;Ä – 10 €;1,50\n2;B, C;2,50\n"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", b"user,item\n1,a\n2,b\n", None),
        ("a.tsv", b"user\titem\n1\ta\n2\tb\n", None),
        ("a.csv", "user,item\n1,\u5546\u54c1\n".encode(), None),
        ("a.CSV", b"user,item\n1,a\n2,b\n", Csv()),
        ("a.csv", b"user;item\n1;a, b\n2;b\n", Csv(delimiter=";")),
        ("a.txt", b"user|item\n1|a\n2|b\n", Csv(delimiter="|")),
        ("a.csv", b"user\titem\n1\ta\n2\tb\n", Csv(delimiter="\t")),
        ("a.csv.gz", gzip.compress(b"user;item\n1;a\n2;b\n", mtime=0), Csv(delimiter=";")),
        ("a.csv", GERMAN.encode("cp1252"), Csv(delimiter=";", encoding="windows-1252")),
        ("a.csv", GERMAN.encode("utf-8-sig"), Csv(delimiter=";")),
        ("a.csv", GERMAN.encode("utf-16"), Csv(delimiter=";", encoding="utf-16")),
        (
            "a.csv",
            b"196\t242\t881250949\n186\t302\t891717742\n",
            Csv(delimiter="\t", names=("column1", "column2", "column3")),
        ),
        ("a.csv", b"user\n1\n2\n", None),
        ("a.txt", b"Read me first.\nThen me.\n", None),
    ],
)
def test_layout_by_contents(tmp_path, name, content, expected):
    file = tmp_path / name
    file.write_bytes(content)
    assert layout(str(file)) == expected


def test_an_encoding_that_is_not_read_is_named_and_not_taken_for_another(tmp_path):
    file = tmp_path / "a.csv"
    file.write_bytes("用户,商品\n1,牛奶巧克力\n".encode("gb18030"))
    with fails(InputError, file, "UTF-8", "UTF-16", "Windows-1252"):
        layout(str(file))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["01.12.2009", "31.12.2009"], ["%d.%m.%Y"]),
        (["01.12.2009 10:06"], ["%d.%m.%Y %H:%M"]),
        (["01.12.09"], ["%d.%m.%y"]),
        (["13/01/2009 08:26"], ["%d/%m/%Y %H:%M"]),
        (["12/1/2010 8:26", "12/13/2010 8:26"], ["%m/%d/%Y %H:%M"]),
        (["12/13/2009 10:06:00 AM"], ["%m/%d/%Y %I:%M:%S %p"]),
        (["2009/12/01"], ["%Y/%m/%d"]),
        (["1 Dec 2009", "2 May 2009"], ["%d %b %Y"]),
        (["2024年1月2日 10:00"], ["%Y年%m月%d日 %H:%M"]),
        (["2024-01-02 10:00:00 +0100"], ["%Y-%m-%d %H:%M:%S %z"]),
        (["01/02/2009", "03/04/2009"], ["%d/%m/%Y", "%m/%d/%Y"]),
        (["01/01/2009", "02/02/2009"], ["%d/%m/%Y"]),  # the same either way
        (["13/01/2009"] * 19 + ["unknown"], ["%d/%m/%Y"]),
        (["40148.42"], []),
        (["01.12.1899"], []),
        (["red", "blue"], []),
        ([], []),
    ],
)
def test_time_formats(values, expected):
    assert [*time_formats(values)] == expected


def test_readings_that_differ_are_shown():
    readings = time_formats(["01/01/2009", "01/02/2009"])
    assert readings == {
        "%d/%m/%Y": "01/02/2009 is 2009-02-01 00:00:00",
        "%m/%d/%Y": "01/02/2009 is 2009-01-02 00:00:00",
    }
