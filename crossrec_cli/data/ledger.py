"""Removed rows, counted by reason and written to rejected.parquet."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import schemas
from crossrec_cli.config.data_fields import Clean
from crossrec_cli.data.engine import FILE, Engine
from crossrec_cli.data.raw_files import SOURCE_ROW
from crossrec_cli.errors import InputError

FILE_BITS = FILE.bit_length() - 1


TABLES = ["interactions", "items", "users"]
COLUMNS = "look at the columns that the config names"
LARGE = 0.1
"""A reason with at least this share of a file's unusable rows gets a hint."""


class Reason(StrEnum):
    """Why a row is removed. Tables hold its ``code``: a byte a row instead of sixteen."""

    NO_USER = "missing user id"
    NO_ITEM = "missing item id"
    NO_TIME = "unreadable time"
    NO_QUANTITY = "unreadable quantity"
    NO_RATING = "unreadable rating"
    TOO_EARLY = "too early"
    FUTURE = "in the future"
    UNKNOWN_EVENT = "unknown event"
    UNKNOWN_ITEM = "unknown item"
    EXCLUDED = "excluded item"
    LOW_RATING = "rating too low"
    ZERO_QUANTITY = "quantity zero"
    NO_TEXT = "item without text"
    OUTSIDE = "outside the domains"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near duplicate"
    RETURN = "a return"
    RETURNED = "returned"
    OVERRULED = "a later opinion differs"
    BOT = "by a bot"
    REPEAT = "repeat of user and item"
    FEW_OF_USER = "user with too few interactions"
    FEW_OF_ITEM = "item with too few interactions"
    NOT_IN_TRAINING = "item not in training"
    SAME_ID = "repeat of an id"

    @property
    def code(self) -> int:
        """Its number, from 1."""
        return REASONS.index(self) + 1

    @classmethod
    def first(cls, *tests: tuple[ir.BooleanValue, Reason]) -> ir.IntegerValue:
        """The code of the first test that is true; null if none is."""
        branches = ((test.fill_null(False), ibis.literal(reason.code, "int8")) for test, reason in tests)
        return ibis.cases(*branches, else_=ibis.null("int8"))


REASONS = list(Reason)
Hints = Mapping[Reason, Callable[[], str]]
"""For a reason, what to look at if too many rows have it; worked out only for the message."""
UNUSABLE = frozenset(
    {
        Reason.NO_USER,
        Reason.NO_ITEM,
        Reason.NO_TIME,
        Reason.NO_QUANTITY,
        Reason.NO_RATING,
        Reason.TOO_EARLY,
        Reason.FUTURE,
        Reason.UNKNOWN_EVENT,
        Reason.UNKNOWN_ITEM,
    }
)
"""The reasons that count towards ``clean.max_rejected``: faults of the file, not choices of the config."""


class Ledger:
    """Counts and keeps the rows that each rule removes, and stops if the config does not allow them.

    Raises:
        InputError: from ``remove_flagged`` and ``record_rejected``, if a row breaks a rule that is set to fail, or too
            many rows of a file are unusable.
    """

    def __init__(self, engine: Engine, clean: Clean) -> None:
        self.engine = engine
        self.measures: list[tuple[str, str, str | None, float]] = []
        self.described: list[dict[str, Any]] = []
        """Items with more than one description: platform, item_id, column, and its values with their rows."""
        self.readings: list[tuple[str, str, str]] = []
        """How columns were read if there was a choice: table, our name, what was chosen."""
        self.warnings: list[str] = []
        """What the user should check; it does not stop the stage."""
        self._cells: list[tuple[ir.Table, Mapping[Reason, tuple[str, str]]]] = []
        self._clean = clean
        self._fails = _fails(clean)
        self._rejected: list[ir.Table] = []
        self._rows: Counter[int] = Counter()
        self._unusable: Counter[int] = Counter()

    def note(self, measure: str, label: str, value: float, other: str | None = None) -> None:
        """Add a row to quality.parquet."""
        self.measures.append((measure, label, other, float(value)))

    def trace(self, rows: ir.Table, columns: Mapping[Reason, tuple[str, str]]) -> None:
        """Let messages show a cell and what to do, for some reasons: the file's column and the advice for each."""
        self._cells.append((rows, columns))

    def note_left(self, step: str, rows: ir.Table, if_none: str) -> None:
        """Note how many interactions, users and items are left.

        Raises:
            InputError: with the message ``if_none``, if nothing is left.
        """
        sizes = rows.aggregate(
            interactions_left=rows.count(),
            users_left=rows[c.USER_KEY].nunique(),
            items_left=rows[c.ITEM_KEY].nunique(),
        )
        for measure, value in self.engine.fetch(sizes).to_pylist()[0].items():
            self.note(measure, step, value)
            if not value:
                raise InputError(if_none)

    def remove_flagged(
        self,
        table: ir.Table,
        rules: Sequence[Reason],
        of: str,
        first: bool = False,
        hints: Hints | None = None,
    ) -> ir.Table:
        """Remove the rows that have a reason.

        Args:
            table: with ``REASON`` and ``SOURCE_ROW``; kept, and deleted here unless all its rows stay.
            rules: the reasons that rows may have, for the count.
            of: interactions, items or users.
            first: whether these are all rows of their files.
            hints: for a reason, what to look at if too many rows have it, instead of the columns.

        Returns:
            The rows without a reason. Kept, since DuckDB underestimates how many rows pass such a filter, and would
            then join them badly; if all rows stay, it is ``table``.
        """
        if not self.record_rejected(table, rules, of, first, hints):
            return table.drop(c.REASON)
        rest = self.engine.keep(table.filter(table[c.REASON].isnull()).drop(c.REASON), of)
        self.engine.drop(table)
        return rest

    def record_rejected(
        self,
        table: ir.Table,
        rules: Sequence[Reason],
        of: str,
        first: bool = False,
        hints: Hints | None = None,
    ) -> bool:
        """Count and keep the rows that have a reason, without removing them; arguments as in ``remove_flagged``.

        Returns:
            Whether there are any.
        """
        by_file = table.group_by(c.REASON, file=table[SOURCE_ROW] >> FILE_BITS)
        counted = self.engine.fetch(by_file.aggregate(n=table.count(), row=table[SOURCE_ROW].min())).to_pylist()
        for row in counted:
            row[c.REASON] = row[c.REASON] and REASONS[row[c.REASON] - 1]
        for rule in rules:
            flagged = [row for row in counted if row[c.REASON] == rule]
            self.note("removed", rule, sum(row["n"] for row in flagged), of)
            if flagged and rule in self._fails:
                first_row = min(row["row"] for row in flagged)
                raise InputError(
                    f"{self._position(first_row)}: {rule}, and data.clean.{self._fails[rule]} is 'fail'"
                    f"{self._cell(rule, first_row)}"
                )
        for row in counted:
            self._rows[row["file"]] += row["n"] if first else 0
            self._unusable[row["file"]] += row["n"] if row[c.REASON] in UNUSABLE else 0
        self._check_share(counted, of, hints or {})
        has_any = any(row[c.REASON] for row in counted)
        if self._rejected and not has_any:  # the first is kept even if it is empty, for its columns
            return False
        out = table.filter(table[c.REASON].notnull())
        out = out.select(
            SOURCE_ROW,
            # Ibis would drop a cast to int8, but the engine's literals are wider.
            out[c.REASON].cast("int16").name(c.REASON),
            **{c.TABLE: ibis.literal(TABLES.index(of), "int8")},
        )
        self._rejected.append(self.engine.keep(out, of))
        return has_any

    def write(self, path: Path) -> None:
        """rejected.parquet, by file and row."""
        rejected = ibis.union(*self._rejected) if len(self._rejected) > 1 else self._rejected[0]
        rejected = rejected.order_by(SOURCE_ROW).view()  # sorted as numbers, then written as words
        values = {
            c.TABLE: (rejected[c.TABLE], TABLES),
            c.REASON: (rejected[c.REASON] - 1, [reason.value for reason in REASONS]),
            c.FILE: (rejected[SOURCE_ROW] >> FILE_BITS, self.engine.read_files),
        }
        named = {
            name: ibis.literal(words, "array<string>")[index.cast("int32")] for name, (index, words) in values.items()
        }
        named[c.ROW] = rejected[SOURCE_ROW] & (FILE - 1)
        self.engine.write(rejected.select(**named), path, schemas.REJECTED)

    def _check_share(self, counted: Sequence[dict[str, Any]], of: str, hints: Hints) -> None:
        for file in {row["file"] for row in counted}:
            unusable, rows = self._unusable[file], self._rows[file]
            if unusable <= self._clean.max_rejected * rows:
                continue
            flagged = [row for row in counted if row["file"] == file and row[c.REASON] in UNUSABLE]
            flagged.sort(key=lambda row: (-row["n"], row["row"]))
            reasons = Counter({row[c.REASON]: row["n"] for row in flagged})
            most, where = flagged[0][c.REASON], flagged[0]["row"]
            if of == "interactions" and reasons[Reason.NO_USER] < rows:
                enough = math.ceil(100 * reasons[Reason.NO_USER] / rows) / 100
                guests = f"orders without an account are normal: data.clean.max_rejected: {enough:g} removes them"
                hints = {Reason.NO_USER: partial(str, guests), **hints}
            listed = ", ".join(f"{reason} {n:,}" for reason, n in reasons.items())
            large = [reason for reason, n in reasons.items() if n >= LARGE * unusable]
            advice = "; ".join(dict.fromkeys(hints[reason]() if reason in hints else COLUMNS for reason in large))
            raise InputError(
                f"{self._position(where)}: {unusable:,} of {rows:,} rows are unusable ({listed}), more than "
                f"data.clean.max_rejected ({self._clean.max_rejected}){self._cell(most, where) or f'; {advice}'}"
            )

    def _cell(self, reason: Reason, source_row: int) -> str:
        """The cell that is the reason, and what to do; empty if ``trace`` has nothing for it."""
        for rows, columns in self._cells:
            if reason not in columns:
                continue
            name, advice = columns[reason]
            cell = self.engine.fetch(rows.filter(rows[SOURCE_ROW] == source_row).select(rows[name].cast("string")))
            if cell.num_rows:
                return f"; column '{name}' holds '{cell[0][0].as_py() or ''}' there: {advice}"
        return ""

    def _position(self, source_row: int) -> str:
        return f"{self.engine.read_files[source_row >> FILE_BITS]}: row {source_row & (FILE - 1)}"


def _fails(clean: Clean) -> dict[Reason, str]:
    """The reasons at which the config stops, with the field that sets it."""
    fields = {
        Reason.NO_USER: "missing_ids",
        Reason.NO_ITEM: "missing_ids",
        Reason.NO_TIME: "unreadable",
        Reason.TOO_EARLY: "unreadable",
        Reason.NO_QUANTITY: "unreadable",
        Reason.NO_RATING: "unreadable",
        Reason.FUTURE: "future",
        Reason.UNKNOWN_EVENT: "unknown_events",
        Reason.UNKNOWN_ITEM: "unknown_items",
    }
    return {reason: name for reason, name in fields.items() if getattr(clean, name) == "fail"}
