"""What an export's folder holds, and how it is opened. Opening one does not import torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Final

from crossrec_cli.artifacts.store import MANIFEST, Artifact, checked, read_manifest
from crossrec_cli.config.load import load_config
from crossrec_cli.config.schema import Config
from crossrec_cli.errors import ArtifactError, ConfigError

EXPORT: Final = "export"
VERSION = 3
"""Raised when this crossrec cannot serve the exports of earlier versions."""
CONFIG_FILE = "config.yaml"
CARD = "README.md"
GRAPH = "scorer.onnx"
NAMED_FILES = ("events", *(f"rules.{name}" for name in ("in_stock", "allow", "block", "boosts")))
"""Fields of ``recommend`` that name a file, which is copied into the folder."""
SETTABLE = {"run_dir", "recommend", "serve", "runtime"}
"""The parts of the config that serving uses; the rest is about how the model was made."""


def open_export(folder: Path, overrides: Sequence[str] = ()) -> tuple[Config, Artifact]:
    """The config of an export and its checked files; lists made from it are written into the folder itself.

    Args:
        folder: as ``crossrec export`` wrote it.
        overrides: as for ``load_config``; ``run_dir`` may be another directory.

    Raises:
        ArtifactError: if it is no export, or a file is damaged.
        ConfigError: if an override is wrong, or of a field that cannot be set for an export.
    """
    if not (folder / MANIFEST).is_file():
        raise ArtifactError(f"--from: {folder}: not a crossrec export; 'crossrec export CONFIG {folder}' writes one")
    made = checked(folder)
    if (made.manifest.stage, made.manifest.stage_version) != (EXPORT, VERSION):
        raise ArtifactError(f"--from: {folder}: an export of another version of crossrec; export it again")
    run_dir = f"run_dir={json.dumps(str(folder))}"
    unresolved = load_config(made.file(CONFIG_FILE), [run_dir])
    copied = {field: path for field, path in named_files(unresolved).items() if path in made.manifest.files}
    absolute = [f"recommend.{field}={json.dumps(str(folder / path))}" for field, path in copied.items()]
    as_made = load_config(made.file(CONFIG_FILE), [run_dir, *absolute])
    config = load_config(made.file(CONFIG_FILE), [run_dir, *absolute, *overrides])
    for name in Config.model_fields:
        if name not in SETTABLE and getattr(config, name) != getattr(as_made, name):
            settable = ", ".join(sorted(SETTABLE))
            raise ConfigError([f"--set: {name} cannot be set for an export; only {settable} can"])
    return config, made


def named_files(config: Config) -> dict[str, str]:
    """The files that the config names in ``NAMED_FILES``, by field; fields without a file are missing."""
    named = {field: attrgetter(field)(config.recommend) for field in NAMED_FILES}
    return {field: path for field, path in named.items() if path}


def is_export(folder: Path) -> bool:
    """Whether a folder holds an export, even a damaged one or one of another version."""
    try:
        return read_manifest(folder / MANIFEST).stage == EXPORT
    except ArtifactError:
        return False
