"""The rows of some people in the files that the config names. These files are read, and never changed."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ibis
import ibis.expr.types as ir

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts.file_hashes import hash_file
from crossrec_cli.config.data_fields import Data
from crossrec_cli.config.schema import Config
from crossrec_cli.config.source_fields import Source
from crossrec_cli.data import engine
from crossrec_cli.data.catalogue import file_column
from crossrec_cli.data.cells import identifier
from crossrec_cli.data.engine import Engine, file_and_row
from crossrec_cli.data.extra_files import opened
from crossrec_cli.data.raw_files import SOURCE_ROW, is_address
from crossrec_cli.errors import InputError
from crossrec_cli.privacy.people import People

NAMED_FILES = ("recommend.events", "evaluate.external", "evaluate.feedback", "evaluate.negatives", "search.queries")
"""Other files that have users, by the config key that names them."""


@dataclass(frozen=True)
class RawRows:
    """Where people still are after they were forgotten."""

    rows: Mapping[str, Sequence[int]]
    """By file, the rows of theirs, counted from 1, sorted."""
    hashes: Mapping[str, str]
    """The hash of each of these files."""
    unread: Sequence[str]
    """Why some files could not be read."""

    @classmethod
    def of(cls, config: Config, people: People) -> RawRows:
        """Look through the files of ``data`` and the others that the config names."""
        rows: defaultdict[str, set[int]] = defaultdict(set)
        unread: list[str] = []
        with (
            tempfile.TemporaryDirectory() as folder,
            engine.connect(config.data.engine, Path(folder) / "scratch", config.runtime) as tables,
        ):
            for source, columns in _sources(config.data):
                _collect(tables, source, columns, people, rows, unread)
        for key, path in _named(config):
            try:
                with opened(path, key) as (tables, _, raw):
                    if c.USER_ID in raw.columns:
                        _add(tables, raw.filter(identifier(raw[c.USER_ID]).isin(people.ids)), rows)
            except InputError as error:
                unread.append(str(error))
        files = {file: sorted(numbers) for file, numbers in rows.items()}
        return cls(files, {file: hash_file(Path(file)) for file in files if not is_address(file)}, unread)


def _sources(data: Data) -> Iterator[tuple[Source, dict[str, str]]]:
    """The sources that have users, each with the platforms' columns of ids: the platform by the column."""
    for platform in data.platforms:
        yield platform.interactions, {platform.interactions.columns.user_id: platform.name}
        if platform.users:
            yield platform.users, {platform.users.columns.user_id: platform.name}
    for links in data.identity.users:
        yield links, {links.left.id: links.left.platform, links.right.id: links.right.platform}


def _collect(
    tables: Engine,
    source: Source,
    columns: Mapping[str, str],
    people: People,
    rows: defaultdict[str, set[int]],
    unread: list[str],
) -> None:
    """Add the rows of a source, or why it cannot be read."""
    try:
        raw = tables.read(source)
        theirs = []
        for name, platform in columns.items():
            ids = [own for shop, own in people.platform_ids if shop == platform]
            theirs.append(identifier(file_column(raw, name, "the config", source.path)).isin(ids).fill_null(False))
        _add(tables, raw.filter(ibis.or_(*theirs)), rows)
    except InputError as error:
        unread.append(str(error))


def _add(tables: Engine, theirs: ir.Table, rows: defaultdict[str, set[int]]) -> None:
    numbers = tables.fetch(theirs.select(SOURCE_ROW))[SOURCE_ROW].to_pylist()
    for file, row in file_and_row(tables, numbers):
        rows[file].add(row)


def _named(config: Config) -> Iterator[tuple[str, Path]]:
    for key in NAMED_FILES:
        section, name = key.split(".")
        if path := getattr(getattr(config, section), name):
            yield key, Path(path)
