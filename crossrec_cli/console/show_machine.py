"""What crossrec finds here, as people read it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.text import Text

from crossrec_cli.console.terminal import Console
from crossrec_cli.runtime import machine
from crossrec_cli.runtime.interrupts import whole
from crossrec_cli.text import installed

NAME_WIDTH = 30
"""Longer names of devices are cut: the table fits a screen."""


def found(console: Console) -> dict[str, Any]:
    """Show everything.

    Returns:
        The same for ``--json``; sizes in bytes.
    """
    versions = machine.versions()
    console.table("Versions", ["of", "version"], [[name, what or "not installed"] for name, what in versions.items()])
    devices, problem = _devices(console)
    here, (total, free), (disk, left) = Path.cwd(), machine.memory(), machine.disk(Path.cwd())
    room = [["memory", size(total), size(free)], ["disk of this directory", size(disk), size(left)]]
    console.table("Room", ["where", "in all", "free"], room)
    cache, models = installed.hub_cache(), installed.language_models()
    rows = [[model.name, model.where, size(model.bytes)] for model in models]
    console.table("Language models that are here", ["name", "where", "size"], rows or [["none", "", ""]])
    console.remark(f"The hub's cache: {cache}")
    console.result(Text(), wanted=True)
    extras = list(machine.extras())
    told = [[extra.name, "installed" if extra.installed else extra.install] for extra in extras]
    console.table("Extras", ["name", "installed, or how to"], told)
    return {
        "versions": versions,
        "devices": [asdict(device) for device in devices],
        "devices_problem": problem,
        "memory": {"total_bytes": total, "free_bytes": free},
        "disk": {"folder": str(here), "total_bytes": disk, "free_bytes": left},
        "models": {"hub_cache": str(cache), "found": [asdict(model) for model in models]},
        "extras": [asdict(extra) for extra in extras],
    }


def _devices(console: Console) -> tuple[list[machine.Device], str | None]:
    """Show where models can be computed, or why nothing can."""
    try:
        with whole():
            devices = machine.devices()
    except (ImportError, OSError, RuntimeError) as error:  # a doctor looks at what is broken, too
        problem = f"torch cannot be used: {str(error).splitlines()[0]}"
        console.result(Text(problem, "bold red"), wanted=True)
        return [], problem
    rows = [
        [
            device.device,
            device.name[:NAME_WIDTH],
            f"{device.cores} cores" if device.cores else size(device.memory_bytes),
            "" if device.free_bytes is None else size(device.free_bytes),
            "yes" if device.bf16 else "no",
            device.precision,
        ]
        for device in devices
    ]
    console.table("Devices", ["device", "name", "size", "free", "bf16", "auto is"], rows)
    return devices, None


def size(count: int | None) -> str:
    """Bytes for people; empty if not known."""
    if count is None:
        return ""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
