"""Versions, devices, memory, disk and extras of this machine, without importing large libraries."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path

from packaging.requirements import Requirement

from crossrec_cli import __version__

ROOT = Path(__file__).parents[2]
LIBRARIES = ("torch", "transformers", "duckdb", "ibis-framework", "pyarrow", "numpy", "pydantic", "typer")
FOR_DEVELOPERS = "dev"
GIT_SECONDS = 2.0


def full_version() -> str:
    """The version, and in a git checkout the commit and whether files are changed: ``0.1.0 (b8652f9, modified)``."""
    if not (ROOT / ".git").exists():  # git would search the parent folders, which may be another project
        return __version__
    command = ["git", f"--git-dir={ROOT / '.git'}", f"--work-tree={ROOT}"]
    command += ["describe", "--always", "--dirty=, modified", "--exclude=*", "--abbrev=7"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=GIT_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return __version__
    return f"{__version__} ({done.stdout.strip()})"


def versions() -> dict[str, str | None]:
    """Of crossrec, Python, the system and the main libraries; None: not installed."""
    result: dict[str, str | None] = {"crossrec": full_version(), "python": platform.python_version()}
    return (
        result
        | {"system": f"{platform.system()} {platform.machine()}"}
        | {name: _installed(name) for name in LIBRARIES}
    )


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Device:
    """A device that can compute models."""

    device: str
    """As the config names it."""
    name: str
    cores: int | None
    memory_bytes: int | None
    """Its own; None if it shares the memory of the machine."""
    free_bytes: int | None
    bf16: bool
    """Whether it is fast in bf16."""
    precision: str
    """What ``runtime.precision: auto`` means there."""


def devices() -> list[Device]:
    """All devices of this machine.

    Raises:
        ImportError: if torch cannot be loaded.
        OSError: the same, if a library of the system is missing.
    """
    import torch  # noqa: PLC0415  takes seconds

    from crossrec_cli.runtime.device import best_precision, cores  # noqa: PLC0415

    def device(
        name: str, what: str, cores: int | None = None, free: int | None = None, all_: int | None = None
    ) -> Device:
        precision = best_precision(torch.device(name))
        return Device(name, what, cores, all_, free, precision == "bf16", precision)

    available = [device("cpu", _processor(), cores())]
    for index in range(torch.cuda.device_count()):
        with torch.cuda.device(index):
            available.append(
                device(f"cuda:{index}", torch.cuda.get_device_name(index), None, *torch.cuda.mem_get_info(index))
            )
    if torch.backends.mps.is_available():
        available.append(device("mps", platform.processor()))
    return available


def _processor() -> str:
    """The processor's name, if the system has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def memory() -> tuple[int | None, int | None]:
    """Bytes that this process may use, by the container's limit if there is one, and free bytes; None: unknown."""
    if not hasattr(os, "sysconf"):  # Windows
        return None, None
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit, used = (_number(Path("/sys/fs/cgroup") / name) for name in ("memory.max", "memory.current"))
    if limit is not None and used is not None and limit < total:
        return limit, max(limit - used, 0)
    return total, _available()


def _number(path: Path) -> int | None:
    """The integer in a file; None if it has none, such as ``max``, or does not exist."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    kib = {name: rest.split()[0] for name, _, rest in (line.partition(":") for line in lines)}
    return int(kib["MemAvailable"]) * 1024 if "MemAvailable" in kib else None


def disk(folder: Path) -> tuple[int, int]:
    """Bytes of the disk of a folder, total and free."""
    usage = shutil.disk_usage(folder)
    return usage.total, usage.free


@dataclass(frozen=True)
class Extra:
    """An optional part of crossrec."""

    name: str
    installed: bool
    missing: tuple[str, ...]
    """Its packages that are not installed, or have another version."""
    install: str
    """The command that installs it."""


def extras() -> Iterator[Extra]:
    """All optional parts, except the one for developers."""
    about = metadata("crossrec")
    requirements = [Requirement(text) for text in about.get_all("Requires-Dist") or []]
    for name in about.get_all("Provides-Extra") or []:
        if name == FOR_DEVELOPERS:
            continue
        own = [need for need in requirements if need.marker and need.marker.evaluate({"extra": name})]
        missing = tuple(need.name for need in own if not _satisfied(need))
        yield Extra(name, not missing, missing, f"pip install 'crossrec[{name}]'")


def _satisfied(need: Requirement) -> bool:
    installed = _installed(need.name)
    return installed is not None and need.specifier.contains(installed, prereleases=True)
