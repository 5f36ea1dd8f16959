"""Language models on this machine, listed without importing them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from crossrec_cli.text.find import PACKAGES, Package


@dataclass(frozen=True)
class LanguageModel:
    """A language model on this machine, which needs no download."""

    name: str
    """The value for ``encoder.model``."""
    where: str
    """``package``, or ``hub cache``."""
    bytes: int | None
    languages: int | None
    """How many it reads; None: not known."""


def hub_cache() -> Path:
    """The folder of models from the hub."""
    from huggingface_hub.constants import HF_HUB_CACHE  # noqa: PLC0415  takes a moment

    return Path(HF_HUB_CACHE)


def multilingual() -> str | None:
    """A model of several languages that is installed as a package; None if there is none."""
    return next(
        (name for name, package in PACKAGES.items() if package.languages > 1 and find_spec(package.module)), None
    )


def _size(package: Package) -> int | None:
    """Bytes of a package's weights."""
    spec = find_spec(package.module)
    weights = Path(spec.origin).parent / package.folder / package.weights if spec and spec.origin else None
    return weights.stat().st_size if weights and weights.is_file() else None


def language_models() -> list[LanguageModel]:
    """All models that are installed as packages or are in the hub's cache."""
    from huggingface_hub import scan_cache_dir  # noqa: PLC0415  takes a moment

    packaged = [
        LanguageModel(name, "package", _size(package), package.languages)
        for name, package in PACKAGES.items()
        if find_spec(package.module)
    ]
    if not (cache := hub_cache()).is_dir():
        return packaged
    repositories = sorted(scan_cache_dir(cache).repos, key=lambda repository: repository.repo_id)
    return packaged + [
        LanguageModel(repository.repo_id, "hub cache", repository.size_on_disk, None)
        for repository in repositories
        if repository.repo_type == "model"
    ]
