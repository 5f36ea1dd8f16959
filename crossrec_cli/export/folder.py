"""What an export's folder holds, and how it is opened. No torch is needed to look into one."""

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
VERSION = 2
"""Goes up when this crossrec cannot serve what an earlier one exported."""
CONFIG_FILE = "config.yaml"
CARD = "README.md"
GRAPH = "scorer.onnx"
NAMED_FILES = ("events", *(f"rules.{name}" for name in ("in_stock", "allow", "block", "boosts")))
"""Fields of ``recommend`` that name a file, which goes into the folder too."""
SETTABLE = {"run_dir", "recommend", "runtime"}
"""What of the config bears on serving; the rest says how the model was made."""


def open_export(folder: Path, overrides: Sequence[str] = ()) -> tuple[Config, Artifact]:
    """The config of an export and its files, checked; what is made of them goes into the folder itself.

    Args:
        folder: as ``crossrec export`` wrote it.
        overrides: as ``load_config`` takes them; ``run_dir`` may be elsewhere.

    Raises:
        ArtifactError: if it is no export, or a file is damaged.
        ConfigError: if an override is wrong, or of something that an export cannot change any more.
    """
    if not (folder / MANIFEST).is_file():
        raise ArtifactError(f"--from: {folder}: no crossrec export; 'crossrec export CONFIG {folder}' writes one")
    made = checked(folder)
    if (made.manifest.stage, made.manifest.stage_version) != (EXPORT, VERSION):
        raise ArtifactError(f"--from: {folder}: no export of this version of crossrec; export it again")
    here = f"run_dir={json.dumps(str(folder))}"
    plain = load_config(made.file(CONFIG_FILE), [here])
    own = {field: path for field, path in named_files(plain).items() if path in made.manifest.files}
    here_too = [f"recommend.{field}={json.dumps(str(folder / path))}" for field, path in own.items()]
    as_made = load_config(made.file(CONFIG_FILE), [here, *here_too])
    config = load_config(made.file(CONFIG_FILE), [here, *here_too, *overrides])
    for name in Config.model_fields:
        if name not in SETTABLE and getattr(config, name) != getattr(as_made, name):
            can = ", ".join(sorted(SETTABLE))
            raise ConfigError([f"--set: {name} is how the export was made; only {can} can be set when it serves"])
    return config, made


def named_files(config: Config) -> dict[str, str]:
    """The files that ``NAMED_FILES`` name, by their field, where they name one."""
    named = {field: attrgetter(field)(config.recommend) for field in NAMED_FILES}
    return {field: path for field, path in named.items() if path}


def is_export(folder: Path) -> bool:
    """Whether a folder holds an export, be it damaged or of another version."""
    try:
        return read_manifest(folder / MANIFEST).stage == EXPORT
    except ArtifactError:
        return False
