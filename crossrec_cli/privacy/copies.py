"""Copies of artifacts, exports and loose files without some people."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import RUN_CONFIG, USERS
from crossrec_cli.artifacts.store import CHECKPOINT, MANIFEST, Manifest, Store, describe_file, read_manifest, seal
from crossrec_cli.config.load import dump_config, load_config
from crossrec_cli.errors import ConfigError
from crossrec_cli.export.card import with_example
from crossrec_cli.export.folder import CARD
from crossrec_cli.pipeline.run_directories import LOGS
from crossrec_cli.pipeline.table import BY_NAME
from crossrec_cli.privacy.people import People
from crossrec_cli.privacy.person_rows import EVENTS_COPY, PersonRows, rows_in, write_without
from crossrec_cli.report.page_files import PAGE

EXAMPLES, CHOSEN = "examples", "recommend.users"
"""Where manifests name users: in recommend's summary, and in its config."""


def rows_of_artifact(artifact: Path, people: People) -> Iterator[PersonRows]:
    """The files of an artifact's directory that have rows of people, its manifest among them.

    Raises:
        ArtifactError: if it cannot be read.
    """
    manifest = read_manifest(artifact / MANIFEST)
    for name in manifest.files:
        if rows := rows_in(artifact / name, people):
            yield rows
    named = [*manifest.summary.get(EXAMPLES, {}).values(), *manifest.config.get(CHOSEN, ())]
    if theirs := [one for one in named if one in people.ids]:
        yield PersonRows(artifact / MANIFEST, len(theirs), frozenset(theirs))


def copy_artifact(
    artifact: Path, people: People, target: Path, new_hashes: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Copy an artifact without people into a directory that nobody reads yet, and seal it.

    What the directory has already are names of the same files; all that changes gets a file of its own.

    Args:
        artifact: its directory.
        people: whom to forget.
        target: the other directory.
        new_hashes: of files outside of artifacts that changed likewise, by their hashes before.

    Returns:
        The same for those of its files that count by their content.
    """
    manifest = read_manifest(artifact / MANIFEST)
    files, changed = dict(manifest.files), []
    for name in files:
        if rows_in(artifact / name, people):
            write_without(artifact / name, people, target / name)
            changed.append(name)
        elif not (target / name).exists():
            link_or_copy(artifact / name, target / name)
    if RUN_CONFIG in files and remove_from_config(target / RUN_CONFIG, people):
        changed.append(RUN_CONFIG)
    for name in changed:
        before = files[name]
        files[name] = describe_file(target / name).model_copy(update={"made_as": before.made_as or before.sha256})
    (target / MANIFEST).unlink(missing_ok=True)
    inputs = {name: (new_hashes or {}).get(sha, sha) for name, sha in manifest.inputs.items()}
    seal(target, manifest.model_copy(update={"files": files, "inputs": inputs} | _unnamed(manifest, people)))
    return {manifest.files[name].sha256: files[name].sha256 for name in changed if name.startswith(EVENTS_COPY)}


def _unnamed(manifest: Manifest, people: People) -> dict[str, Any]:
    """What of a manifest names people, without them."""
    summary, config = dict(manifest.summary), dict(manifest.config)
    if EXAMPLES in summary:
        summary[EXAMPLES] = {kind: user for kind, user in summary[EXAMPLES].items() if user not in people.ids}
    if CHOSEN in config:
        config[CHOSEN] = [user for user in config[CHOSEN] if user not in people.ids]
    return {"summary": summary, "config": config}


def remove_from_config(file: Path, people: People) -> bool:
    """Take people out of ``recommend.users`` of a config that a command wrote; returns whether they were there."""
    if not names_in_config(file, people):
        return False
    config = load_config(file)
    rest = tuple(user for user in config.recommend.users if user not in people.ids)
    recommend = config.recommend.model_copy(update={"users": rest})
    _replace(file, dump_config(config.model_copy(update={"recommend": recommend})))
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
            _replace(directory / name, "".join(hidden))


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


def copy_export(folder: Path, people: People, draft: Path) -> None:
    """Fill an empty directory with an export and the lists that were made from it, without people."""
    shutil.copytree(
        folder,
        draft,
        symlinks=True,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns(".lock", ".holder"),
        copy_function=link_or_copy,
    )
    remove_loose(draft, people)
    new_hashes = copy_artifact(folder, people, draft)
    for artifact in (path for stage in BY_NAME for path in Store(folder).artifacts(stage)):
        copy_artifact(artifact, people, draft / artifact.relative_to(folder), new_hashes)
    card, users = draft / CARD, parquet.read_table(draft / Path(USERS).name, [c.USER_ID])
    before = card.read_text(encoding="utf-8") if card.is_file() else ""
    if (after := with_example(before, people.ids, users)) != before:
        _replace(card, after)


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Give a file a second name, or copy it where the disk has no such names."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines(keepends=True) if file.is_file() else []


def _replace(file: Path, text: str) -> None:
    draft = file.with_name(f".{file.name}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(file)
