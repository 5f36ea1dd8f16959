"""What stands on stdout: as wide as a terminal is, and whole where there is none."""

from __future__ import annotations

import io
import sys

import pytest
from rich.text import Text

from crossrec_cli.console.terminal import Console

LONG = "x" * 300


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def printed(monkeypatch):
    """The lines of a table and of a line that is fitted, on such a stdout."""

    def lines(stream: io.StringIO) -> list[str]:
        monkeypatch.setattr("sys.stdout", stream)
        console = Console()
        console.table(LONG, ["name", "figure"], [[LONG, "0.5"]])
        console.result(console.fit(Text(LONG)), always=True)
        return [Text.from_ansi(line).plain.rstrip() for line in stream.getvalue().splitlines()]

    return lines


def test_nothing_is_wrapped_or_cut_where_stdout_is_no_terminal(printed, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    title, _, row, _, line = printed(io.StringIO())
    assert title == line == LONG
    assert row.split() == [LONG, "0.5"]


def test_a_terminal_is_as_wide_as_columns_says(printed, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "50")
    title, *table, line = printed(Terminal())
    assert title == LONG
    assert max(map(len, table)) == 50
    assert line == "x" * 49 + "…"


@pytest.mark.parametrize("width", [80, 120])
def test_a_progress_bar_is_one_line_however_long_its_detail_is(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stderr", Terminal())
    console = Console()
    console.stage = "evaluate"
    with console.progress("making what it is compared with", 6, "models") as advance:
        advance(2, LONG)
    shown = Text.from_ansi(sys.stderr.getvalue()).plain
    assert "2/6" in shown
    assert max(len(line) for line in shown.replace("\r", "\n").splitlines()) <= width
