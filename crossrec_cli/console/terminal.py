"""Results on stdout; messages and progress on stderr and in the run's log file."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from rich.console import Console as RichConsole
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

from crossrec_cli.config.secrets import mask
from crossrec_cli.runtime.json_text import json_text
from crossrec_cli.runtime.progress import Advance

LOG_FILE = "run.log"
FULL_BAR_WIDTH = 100
"""Terminal width, in columns, from which the progress bar has its full size."""
EVENTS_FILE = "events.jsonl"
UNLIMITED_WIDTH = 100_000
"""Wider than any line of a table: without a terminal, nothing is wrapped or cut."""
PLAIN_SECONDS = 5.0
"""Without a terminal, seconds between two lines of progress, so that a log of cron stays readable."""


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def visible(text: str) -> str:
    """Text from data or config with control characters escaped: they must not control a terminal or break a line."""
    return _CONTROL.sub(lambda match: repr(match[0])[1:-1], text)


class Format(StrEnum):
    """How lists are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class Console:
    """Implements ``Reporter``, and prints results."""

    def __init__(self, quiet: bool = False, as_json: bool = False) -> None:
        self.quiet = quiet
        self.as_json = as_json
        self.err = RichConsole(stderr=True, highlight=False, soft_wrap=True)
        self.out = _Out(highlight=False)
        self.stage = ""
        self.log_file = "no log file"
        self.events: IO[str] | None = None
        self.logger = logging.getLogger("crossrec")
        self.logger.setLevel(logging.INFO)
        self.logger.propagate = False
        self.logger.handlers = [logging.NullHandler()]

    def open_log(self, run_dir: Path) -> None:
        """Start to write the log file and the events file in the run directory."""
        self.log_file = str(run_dir / LOG_FILE)
        handler = logging.FileHandler(run_dir / LOG_FILE, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        for old in self.logger.handlers:
            old.close()
        self.logger.handlers = [handler]
        if self.events:
            self.events.close()
        self.events = (run_dir / EVENTS_FILE).open("a", encoding="utf-8", buffering=1)  # a line at a time

    def event(self, name: str, **facts: str | int | float | None) -> None:
        """Write to the events file only."""
        if self.events:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            self.events.write(json_text({"time": now, "stage": self.stage, "event": name} | facts) + "\n")

    def begin(self, stage: str) -> None:
        """A stage begins; later messages start with its name."""
        self.stage = stage

    def log(self, message: str) -> None:
        """Write to the log file and the events file only."""
        self._write(logging.INFO, message)

    def _write(self, level: int, message: str) -> str:
        """Write to both files; returns the message without passwords and control characters."""
        shown = visible(mask(message))
        self.logger.log(level, "%s: %s", self.stage, shown)
        self.event("message", level=logging.getLevelName(level).lower(), message=shown)
        return shown

    def say(self, message: str) -> None:
        """A line on stderr, not with ``--quiet``."""
        shown = self._write(logging.INFO, message)
        if not self.quiet:
            self.err.print(Text.assemble((f"{self.stage}: ", "bold cyan"), shown))

    def warn(self, message: str) -> None:
        """A line on stderr, also with ``--quiet``."""
        shown = self._write(logging.WARNING, message)
        self.err.print(Text.assemble((f"{self.stage}: ", "bold cyan"), ("warning: ", "yellow"), shown))

    def error(self, problems: Sequence[str]) -> None:
        """The problems that ended the command, one line each, on stderr."""
        for problem in problems:
            shown = self._write(logging.ERROR, problem)
            self.err.print(Text.assemble(("error: ", "bold red"), shown))

    @contextmanager
    def progress(self, name: str, total: int, unit: str) -> Iterator[Advance]:
        """On a terminal a bar with rate and time left; elsewhere a plain line every few seconds."""
        if self.quiet:
            yield _ignore
        elif self.err.is_terminal:
            with self._bar(unit) as bar:
                task = bar.add_task(f"{self.stage}: {name}", total=total, detail="")

                def advance(done: int, detail: str = "") -> None:
                    bar.advance(task, done)
                    if detail:
                        bar.update(task, detail=detail)

                yield advance
        else:
            yield _PlainProgress(self, name, total, unit)

    def _bar(self, unit: str) -> Progress:
        columns = (
            TextColumn("[bold cyan]{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=20 if self.err.width >= FULL_BAR_WIDTH else 5),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            _RateColumn(unit),
            TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[detail]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
        )
        return Progress(*columns, console=self.err, transient=True, expand=True)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], always: bool = False) -> None:
        """A table on stdout: the first column is text, the others are figures. ``always``: also with ``--quiet``."""
        if self.as_json or (self.quiet and not always):
            return
        if title:
            self.out.print(Text(title, style="bold"), soft_wrap=True)
        table = Table(box=None, pad_edge=False)
        for index, column in enumerate(columns):
            table.add_column(column, justify="left" if index == 0 else "right", style="" if index else "cyan")
        for row in rows:
            table.add_row(*map(Text, row))  # brackets in a shop's texts are no markup
        self.out.print(table)
        self.out.print(Text())

    def result(self, line: Text, always: bool) -> None:
        """A line of a result on stdout. ``always``: also with ``--quiet``."""
        if not self.as_json and (always or not self.quiet):
            self.out.print(line, soft_wrap=True)

    def fit(self, line: Text) -> Text:
        """A line cut to the terminal's width, with … at its end; unchanged in a pipe or a file."""
        if self.out.is_terminal:
            line.truncate(self.out.width, overflow="ellipsis")
        return line

    def remark(self, line: str) -> None:
        """A line between results on stdout, not with ``--quiet``."""
        self.result(Text(line, style="dim"), always=False)

    def text(self, text: str) -> None:
        """Lines for another program on stdout, unchanged."""
        try:
            self.out.file.write(text)
        except BrokenPipeError:
            self.out.on_broken_pipe()

    def document(self, document: dict[str, Any]) -> None:
        """With ``--json``: the document on stdout."""
        if self.as_json:
            self.out.print(Text(json_text(document, indent=2)), soft_wrap=True)


class _Out(RichConsole):
    """stdout, as wide as the terminal or ``COLUMNS``, and without a limit elsewhere.

    If the reader closes it, as in ``crossrec run … | head -1``, the command still finishes its work.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if not self.is_terminal:
            self.width = UNLIMITED_WIDTH

    def on_broken_pipe(self) -> None:
        """Discard further output; Rich would end the process here."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _RateColumn(ProgressColumn):
    """Units per second."""

    def __init__(self, unit: str) -> None:
        super().__init__(Column(no_wrap=True))
        self.unit = unit

    def render(self, task: Task) -> Text:
        """The rate so far."""
        return Text(f"{task.speed or 0:,.0f} {self.unit}/s", style="dim")


class _PlainProgress:
    """Progress as plain lines."""

    def __init__(self, console: Console, name: str, total: int, unit: str) -> None:
        self.console, self.name, self.total, self.unit = console, name, total, unit
        self.started = self.shown = time.monotonic()
        self.done, self.detail = 0, ""

    def __call__(self, done: int, detail: str = "") -> None:
        """Count, and print a line if the last one is old enough."""
        self.done += done
        self.detail = detail or self.detail
        now = time.monotonic()
        if now - self.shown < PLAIN_SECONDS or not self.done:
            return
        self.shown = now
        rate = self.done / (now - self.started)
        seconds = (self.total - self.done) / rate
        text = f"{self.name}: {self.done:,}/{self.total:,} {self.unit}, {rate:,.0f} {self.unit}/s, {seconds:.0f} s left"
        self.console.say(f"{text}, {self.detail}" if self.detail else text)


def _ignore(done: int, detail: str = "") -> None:
    pass
