"""Forgetting people: all that a run directory and its exports have of them is looked up, then removed.

Every file is replaced by a copy without their rows, and its manifest keeps the hash that the stage gave it
(``FileEntry.made_as``): what was made from it is still up to date. So each artifact is replaced by itself, at whatever
moment the process is killed, and in any order. The current artifact of preprocess comes last: as long as anything is
left, the people are known, and the same command finishes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import (
    EXAMPLES,
    FINETUNE,
    IMPRESSION_LOG,
    INTERACTIONS,
    PREPROCESS,
    PRETRAIN_ADAPT,
    SERVED_EVENTS,
    USERS,
)
from crossrec_cli.artifacts.store import Store, checked
from crossrec_cli.config.schema import Config
from crossrec_cli.errors import ArtifactError, ConfigError, InputError
from crossrec_cli.export.folder import is_export
from crossrec_cli.export.replacement import replacing
from crossrec_cli.pipeline.evaluated import read_facts
from crossrec_cli.pipeline.table import STAGES
from crossrec_cli.privacy import copies
from crossrec_cli.privacy.loose_files import loose_rows, remove_loose
from crossrec_cli.privacy.people import People, PlatformId
from crossrec_cli.privacy.person_rows import PersonRows
from crossrec_cli.privacy.raw_rows import RawRows
from crossrec_cli.privacy.stored_events import delete_events, events_in
from crossrec_cli.ranking.list_database import count_rows_of, delete_rows_of
from crossrec_cli.report.page_files import PAGE, write_page

MODELS = (PRETRAIN_ADAPT, FINETUNE)


class Learned(NamedTuple):
    """What the models have learned from the people, which stays until they are trained again."""

    interactions: int
    """Of theirs."""
    of: int
    """Of all."""
    started: Mapping[str, str]
    """When each of the stages was started that learned from them."""


@dataclass(frozen=True)
class Traces:
    """All that there is of some people."""

    people: People
    files: Sequence[PersonRows]
    """What is removed from files."""
    artifacts: Sequence[Path]
    """Directories of the run's artifacts to replace, in this order."""
    exports: Sequence[Path]
    events: Sequence[Path]
    in_database: int
    """Rows in the table of ``recommend.to``."""
    learned: Learned
    raw: RawRows
    """Where they are still afterwards."""


def look_up(config: Config, ids: pa.Array, exports: Sequence[Path], events: Sequence[Path]) -> Traces:
    """Look for people in a run directory, its exports, and the files of servers' events. Nothing is changed.

    Args:
        config: the whole config.
        ids: as lists have them.
        exports: folders of ``crossrec export``.
        events: files of ``crossrec serve --events``; the one in the run directory need not be named.

    Raises:
        InputError: if there is nothing of one of them, nobody is named, or a file of events is missing.
        ConfigError: if ``recommend.users`` names one of them.
        ArtifactError: if there is no run directory or no such export, or a file is damaged.
        UnavailableError: if the events or the database of ``recommend.to`` cannot be read.
    """
    people = People.of(ids, config.data)
    _check(config, people, exports, events)
    store = Store(config.run_path)
    artifacts = [path for stage in reversed(STAGES) for path in store.artifacts(stage.name)]
    event_files = [config.run_path / SERVED_EVENTS, *(folder / IMPRESSION_LOG for folder in _logs(config)), *events]
    of_artifact = {path: list(copies.rows_of_artifact(path, people)) for path in artifacts}
    of_export = {folder: list(_rows_of_export(folder, people)) for folder in exports}
    of_events = {path: rows for path in event_files if (rows := events_in(path, people))}
    in_database = count_rows_of(people.ids, config.recommend.to) if config.recommend.to else {}
    loose = [rows for folder in (config.run_path, *_logs(config)) for rows in loose_rows(folder, people)]
    known = set(in_database).union(
        *(rows.ids for rows in chain(*of_artifact.values(), *of_export.values(), of_events.values(), loose))
    )
    if unknown := [one for one in people.ids if one not in known]:
        more = f" and {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
        raise InputError(f"{config.run_path}: no user '{unknown[0]}'{more}; nothing is changed")
    tables = [path for path in artifacts if path.parent.name == PREPROCESS]
    people = people.with_platform_ids({own for path in (*tables, *exports) for own in _platform_ids(path, people)})
    raw = RawRows.of(config, people)
    people = people.with_raw_rows(raw.rows, raw.hashes)
    for path in tables:
        of_artifact[path] = list(copies.rows_of_artifact(path, people))
    concerned = [path for path, rows in of_artifact.items() if rows]
    for path in concerned:
        checked(path)
    files = [*loose, *of_events.values()]
    files += [rows for of_each in (of_export, of_artifact) for some in of_each.values() for rows in some]
    learned = _learned(store, of_artifact)
    return Traces(people, files, concerned, [*exports], [*of_events], sum(in_database.values()), learned, raw)


def forget(config: Config, traces: Traces) -> None:
    """Remove people. The caller holds the run directory's lock.

    Raises:
        LockedError: if another process uses an export.
        UnavailableError: if events or a database cannot be changed; the same command then finishes.
    """
    people, store, page = traces.people, Store(config.run_path), config.run_path / PAGE
    shows_them = page.exists() and any(rows.file.name == Path(EXAMPLES).name for rows in traces.files)
    if shows_them:
        page.unlink()
    for folder in (config.run_path, *_logs(config)):
        remove_loose(folder, people)
    for events in traces.events:
        delete_events(events, people)
    for folder in traces.exports:
        with Store(folder).lock(), replacing(folder.resolve(), locked=True) as draft:
            copies.copy_export(folder, people, draft)
    if config.recommend.to and traces.in_database:
        delete_rows_of(people.ids, config.recommend.to)
    for artifact in traces.artifacts:
        store.replace(artifact, partial(copies.copy_artifact, artifact, people))
    if shows_them and (facts := read_facts(store, config.report)):
        write_page(facts, config.run_path)


def _logs(config: Config) -> list[Path]:
    """The directory where servers log what they showed, if there is one."""
    return [Path(config.serve.log)] if config.serve.log else []


def check_run_directory(config: Config) -> None:
    """Check that there is a run directory: a lock would make one.

    Raises:
        ArtifactError: if there is none.
    """
    if not config.run_path.is_dir():
        raise ArtifactError(f"{config.run_path}: no run directory")


def _check(config: Config, people: People, exports: Sequence[Path], events: Sequence[Path]) -> None:
    """Check what can be checked before anything is read."""
    check_run_directory(config)
    if not people.ids:
        raise InputError("--users: names nobody")
    for folder in exports:
        if not is_export(folder):
            raise ArtifactError(f"--export {folder}: no folder of 'crossrec export'")
        checked(folder)
    if missing := next((file for file in events if not file.is_file()), None):
        raise InputError(f"--events {missing}: no such file")
    if named := next((user for user in config.recommend.users if user in people.ids), None):
        raise ConfigError([f"recommend.users: names '{named}'; take those to forget out of the config first"])


def _rows_of_export(folder: Path, people: People) -> Iterator[PersonRows]:
    """An export's own files, what was made from it, and loose files."""
    artifacts = [path for stage in STAGES for path in Store(folder).artifacts(stage.name)]
    for path in (folder, *artifacts):
        yield from copies.rows_of_artifact(path, people)
    yield from loose_rows(folder, people)


def _platform_ids(directory: Path, people: People) -> Iterator[PlatformId]:
    """The platforms' ids of people in the interactions of a directory; repeated."""
    users, interactions = (directory / Path(file).name for file in (USERS, INTERACTIONS))
    table = parquet.read_table(users, [c.USER_INDEX, c.USER_ID])
    indices = table.filter(pc.is_in(table[c.USER_ID], people.column))[c.USER_INDEX].combine_chunks()
    names = [c.USER_INDEX, c.PLATFORM, c.PLATFORM_USER_ID]
    with parquet.readable(interactions), pq.ParquetFile(interactions) as file:
        for batch in file.iter_batches(columns=names):
            rows = batch.filter(pc.is_in(batch[c.USER_INDEX], indices))
            yield from zip(rows[c.PLATFORM].to_pylist(), rows[c.PLATFORM_USER_ID].to_pylist(), strict=True)


def _learned(store: Store, of_artifact: Mapping[Path, Sequence[PersonRows]]) -> Learned:
    current = store.current(PREPROCESS)
    name = Path(INTERACTIONS).name
    theirs = [rows.rows for rows in of_artifact.get(current.path, ()) if rows.file.name == name] if current else []
    if not current or not theirs:
        return Learned(0, 0, {})
    made = [artifact for stage in MODELS if (artifact := store.current(stage))]
    started = {artifact.manifest.stage: artifact.manifest.started for artifact in made}
    return Learned(theirs[0], current.manifest.files[name].rows or 0, started)
