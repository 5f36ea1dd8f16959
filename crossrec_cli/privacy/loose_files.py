"""What a run directory or an export has of some people outside of its artifacts: looked up, then removed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from crossrec_cli.artifacts.files import RUN_CONFIG
from crossrec_cli.artifacts.store import CHECKPOINT, MANIFEST, read_manifest
from crossrec_cli.config.load import dump_config, load_config
from crossrec_cli.errors import ConfigError
from crossrec_cli.pipeline.run_directories import LOGS
from crossrec_cli.pipeline.table import BY_NAME
from crossrec_cli.privacy.people import People
from crossrec_cli.privacy.person_rows import PersonRows, rows_in, write_without
from crossrec_cli.report.page_files import PAGE


def loose_rows(directory: Path, people: People) -> Iterator[PersonRows]:
    """What a run directory or an export has of people outside of its artifacts: results, logs, unfinished work."""
    for file in sorted([*_results(directory), *unfinished(directory)]):
        if rows := rows_in(file, people):
            yield rows
    if rows := names_in_config(directory / RUN_CONFIG, people):
        yield rows
    for name in LOGS:
        lines = _lines(directory / name)
        if count := sum(people.hidden(line) != line for line in lines):
            yield PersonRows(directory / name, count, frozenset())


def remove_loose(directory: Path, people: People) -> None:
    """Remove people from all of that. Unfinished work goes: it was begun with them."""
    for file in _results(directory):
        if rows_in(file, people):
            write_without(file, people, file)
    for file in unfinished(directory):
        file.unlink()
    if not (directory / MANIFEST).exists():  # else it is one of the export's files
        remove_from_config(directory / RUN_CONFIG, people)
    for name in LOGS:
        lines = _lines(directory / name)
        hidden = list(map(people.hidden, lines))
        if hidden != lines:
            replace_text(directory / name, "".join(hidden))


def _results(directory: Path) -> list[Path]:
    """The Parquet files that commands have written next to the stages, which no manifest describes."""
    manifest = directory / MANIFEST
    described = read_manifest(manifest).files if manifest.exists() else {}
    return [file for file in directory.glob("*.parquet") if file.name not in described]


def unfinished(directory: Path) -> list[Path]:
    """What killed commands have left: checkpoints of stages, and drafts."""
    checkpoints = (path for stage in BY_NAME for path in directory.glob(f"{stage}/{CHECKPOINT}*"))
    drafts = (directory / f".{name}" for name in (PAGE, RUN_CONFIG, *LOGS))
    return [*checkpoints, *directory.glob(".*.parquet.*"), *(path for path in drafts if path.is_file())]


def remove_from_config(file: Path, people: People) -> bool:
    """Take people out of ``recommend.users`` of a config that a command wrote; returns whether they were there."""
    if not names_in_config(file, people):
        return False
    config = load_config(file)
    rest = tuple(user for user in config.recommend.users if user not in people.ids)
    recommend = config.recommend.model_copy(update={"users": rest})
    replace_text(file, dump_config(config.model_copy(update={"recommend": recommend})))
    return True


def names_in_config(file: Path, people: People) -> PersonRows | None:
    """How many of the people are in ``recommend.users`` of a config that a command has written; None if nobody.

    Raises:
        ConfigError: if nobody else is there.
    """
    if not file.is_file():
        return None
    document = yaml.safe_load(file.read_text(encoding="utf-8"))  # it may be of an earlier version
    users = document["recommend"]["users"] if "recommend" in document else []
    theirs = {*users} & {*people.ids}
    if theirs and theirs == {*users}:
        advice = "run 'crossrec recommend' or 'crossrec export' for others first"
        raise ConfigError([f"{file}: recommend.users names nobody but the people to forget; {advice}"])
    return PersonRows(file, len(theirs), frozenset(theirs)) if theirs else None


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines(keepends=True) if file.is_file() else []


def replace_text(file: Path, text: str) -> None:
    """Write a text file anew; whenever the process dies, it has the old text or the new."""
    draft = file.with_name(f".{file.name}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(file)
