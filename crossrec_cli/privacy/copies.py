"""Copies of artifacts and exports without some people."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import RUN_CONFIG, USERS
from crossrec_cli.artifacts.store import MANIFEST, Manifest, Store, describe_file, read_manifest, seal
from crossrec_cli.export.card import with_example
from crossrec_cli.export.folder import CARD
from crossrec_cli.pipeline.table import BY_NAME
from crossrec_cli.privacy.loose_files import remove_from_config, remove_loose, replace_text
from crossrec_cli.privacy.people import People
from crossrec_cli.privacy.person_rows import EVENTS_COPY, PersonRows, rows_in, write_without

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


def copy_export(folder: Path, people: People, draft: Path) -> None:
    """Fill an empty directory with an export and the lists that were made from it, without people."""
    locks = shutil.ignore_patterns(".lock", ".holder")
    shutil.copytree(folder, draft, symlinks=True, dirs_exist_ok=True, ignore=locks, copy_function=link_or_copy)
    remove_loose(draft, people)
    new_hashes = copy_artifact(folder, people, draft)
    for artifact in (path for stage in BY_NAME for path in Store(folder).artifacts(stage)):
        copy_artifact(artifact, people, draft / artifact.relative_to(folder), new_hashes)
    card, users = draft / CARD, parquet.read_table(draft / Path(USERS).name, [c.USER_ID])
    before = card.read_text(encoding="utf-8") if card.is_file() else ""
    if (after := with_example(before, people.ids, users)) != before:
        replace_text(card, after)


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Give a file a second name, or copy it where the disk has no such names."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
