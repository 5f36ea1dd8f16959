"""The result of ``crossrec doctor`` on the terminal."""

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
"""Characters of a device's name; longer names are cut to fit the screen."""


@dataclass(frozen=True)
class MachineFacts:
    """What this machine has."""

    versions: Mapping[str, str | None]
    devices: Sequence[Device]
    problem: str | None
    """Why no device can be used; None if one can."""
    memory: tuple[int | None, int | None]
    """Bytes, total and free."""
    folder: Path
    disk: tuple[int, int]
    """Bytes of the folder's disk, total and free."""
    hub_cache: Path
    models: Sequence[LanguageModel]
    extras: Sequence[Extra]


def machine(console: Console, facts: MachineFacts) -> dict[str, Any]:
    """Print all facts.

    Returns:
        The same for ``--json``; sizes in bytes.
    """
    rows = [[name, version or "not installed"] for name, version in facts.versions.items()]
    console.table("Versions", ["software", "version"], rows)
    _devices(console, facts)
    (total, free), (disk_total, disk_free) = facts.memory, facts.disk
    rows = [["memory", size(total), size(free)], ["disk of this directory", size(disk_total), size(disk_free)]]
    console.table("Memory and disk", ["", "total", "free"], rows)
    rows = [[model.name, model.where, size(model.bytes), str(model.languages or "")] for model in facts.models]
    console.table(
        "Language models on this machine", ["name", "where", "size", "languages"], rows or [["none", "", "", ""]]
    )
    console.remark(f"Hub cache: {facts.hub_cache}")
    console.result(Text(), always=True)
    rows = [[extra.name, "installed" if extra.installed else extra.install] for extra in facts.extras]
    console.table("Extras", ["name", "installed, or how to install it"], rows)
    return {
        "versions": dict(facts.versions),
        "devices": [asdict(device) for device in facts.devices],
        "devices_problem": facts.problem,
        "memory": {"total_bytes": total, "free_bytes": free},
        "disk": {"folder": str(facts.folder), "total_bytes": disk_total, "free_bytes": disk_free},
        "models": {"hub_cache": str(facts.hub_cache), "found": [asdict(model) for model in facts.models]},
        "extras": [asdict(extra) for extra in facts.extras],
    }


def _devices(console: Console, facts: MachineFacts) -> None:
    """Print the devices, or why none can be used."""
    if facts.problem:
        console.result(Text(facts.problem, "bold red"), always=True)
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
        for device in facts.devices
    ]
    console.table("Devices", ["device", "name", "size", "free", "bf16", "auto precision"], rows)


def size(count: int | None) -> str:
    """Bytes as MB or GB; empty if not known."""
    if count is None:
        return ""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
