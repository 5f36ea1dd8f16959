"""What crossrec finds here, as people read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from crossrec_cli.console.terminal import Console
from crossrec_cli.runtime.machine import Device, Extra
from crossrec_cli.text.installed import LanguageModel

NAME_WIDTH = 30
"""Longer names of devices are cut: the table fits a screen."""


@dataclass(frozen=True)
class MachineFacts:
    """What crossrec finds here."""

    versions: Mapping[str, str | None]
    devices: Sequence[Device]
    problem: str | None
    """Why nothing can be computed here."""
    memory: tuple[int | None, int | None]
    """Bytes, all and free."""
    folder: Path
    disk: tuple[int, int]
    """Bytes of the disk that the folder is on, all and free."""
    hub_cache: Path
    models: Sequence[LanguageModel]
    extras: Sequence[Extra]


def found(console: Console, here: MachineFacts) -> dict[str, Any]:
    """Show everything.

    Returns:
        The same for ``--json``; sizes in bytes.
    """
    rows = [[name, what or "not installed"] for name, what in here.versions.items()]
    console.table("Versions", ["of", "version"], rows)
    _devices(console, here)
    (total, free), (disk, left) = here.memory, here.disk
    room = [["memory", size(total), size(free)], ["disk of this directory", size(disk), size(left)]]
    console.table("Room", ["where", "in all", "free"], room)
    rows = [[model.name, model.where, size(model.bytes)] for model in here.models]
    console.table("Language models that are here", ["name", "where", "size"], rows or [["none", "", ""]])
    console.remark(f"The hub's cache: {here.hub_cache}")
    console.result(Text(), wanted=True)
    told = [[extra.name, "installed" if extra.installed else extra.install] for extra in here.extras]
    console.table("Extras", ["name", "installed, or how to"], told)
    return {
        "versions": dict(here.versions),
        "devices": [asdict(device) for device in here.devices],
        "devices_problem": here.problem,
        "memory": {"total_bytes": total, "free_bytes": free},
        "disk": {"folder": str(here.folder), "total_bytes": disk, "free_bytes": left},
        "models": {"hub_cache": str(here.hub_cache), "found": [asdict(model) for model in here.models]},
        "extras": [asdict(extra) for extra in here.extras],
    }


def _devices(console: Console, here: MachineFacts) -> None:
    """Show where models can be computed, or why nothing can."""
    if here.problem:
        console.result(Text(here.problem, "bold red"), wanted=True)
        return
    rows = [
        [
            device.device,
            device.name[:NAME_WIDTH],
            f"{device.cores} cores" if device.cores else size(device.memory_bytes),
            "" if device.free_bytes is None else size(device.free_bytes),
            "yes" if device.bf16 else "no",
            device.precision,
        ]
        for device in here.devices
    ]
    console.table("Devices", ["device", "name", "size", "free", "bf16", "auto is"], rows)


def size(count: int | None) -> str:
    """Bytes for people; empty if not known."""
    if count is None:
        return ""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
