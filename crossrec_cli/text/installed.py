"""Language models that are here. Nothing is imported to look."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from crossrec_cli.text.find import PACKAGES


@dataclass(frozen=True)
class LanguageModel:
    """A language model that is here, and needs no hub."""

    name: str
    """As ``encoder.model`` takes it."""
    where: str
    """``package``, or ``hub cache``."""
    bytes: int | None


def hub_cache() -> Path:
    """Where models from the hub are kept."""
    from huggingface_hub.constants import HF_HUB_CACHE  # noqa: PLC0415  takes a moment

    return Path(HF_HUB_CACHE)


def language_models() -> list[LanguageModel]:
    """Those that are installed as packages or lie in the hub's cache."""
    from huggingface_hub import scan_cache_dir  # noqa: PLC0415  takes a moment

    found = [LanguageModel(name, "package", None) for name, package in PACKAGES.items() if find_spec(package.module)]
    if not (cache := hub_cache()).is_dir():
        return found
    repositories = sorted(scan_cache_dir(cache).repos, key=lambda kept: kept.repo_id)
    return found + [
        LanguageModel(kept.repo_id, "hub cache", kept.size_on_disk)
        for kept in repositories
        if kept.repo_type == "model"
    ]
