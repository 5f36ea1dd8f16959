"""What a federation exchanged, and what it left, on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from crossrec_cli.config.schema import Config
from crossrec_cli.console.terminal import Console
from crossrec_cli.federation.coordinator import Coordinator
from crossrec_cli.federation.member import SHARED_FILE, folder_of
from crossrec_cli.federation.outgoing import Outgoing

MOST_NAMED = 2
"""More arrays are counted, not named."""


def simulated(console: Console, coordinator: Coordinator, platforms: Sequence[Config]) -> dict[str, Any]:
    """Print what each platform sent, and how its config uses what was learned.

    Returns:
        The same for ``--json``.
    """
    outgoing = [Outgoing(folder_of(platform), platform.federate) for platform in platforms]
    facts = [_facts(platform, sent) for platform, sent in zip(platforms, outgoing, strict=True)]
    columns = ["platform", "users", "bytes sent", "epsilon"]
    rows = [
        (one["run_dir"], f"{one['users']:,}", f"{one['bytes'] / 1e6:.1f} MB", _number(one["epsilon"])) for one in facts
    ]
    rounds = f", with {coordinator.number} rounds of weights" if coordinator.number else ""
    console.table(f"What each platform sent{rounds}", columns, rows)
    console.result(Text("Each platform goes on with what was learned:"), always=False)
    for one in facts:
        console.result(Text(f"  adapt: {{shared: {one['shared']}}}"), always=False)
    return {"rounds": coordinator.number, "encoder": coordinator.encoder, "platforms": facts}


def _facts(platform: Config, outgoing: Outgoing) -> dict[str, Any]:
    lines = outgoing.lines()
    latest = max((number for number, line in enumerate(lines) if line["step"] == "join"), default=0)
    joined = lines[latest]["facts"] if lines else {"users": 0}
    return {
        "run_dir": platform.run_dir,
        "users": joined["users"],
        "bytes": sum(line["bytes"] for line in lines[latest:]),
        "epsilon": platform.federate.epsilon,
        "shared": str(folder_of(platform) / SHARED_FILE),
        "outgoing": str(outgoing.folder),
    }


def leaving(console: Console, outgoing: Outgoing) -> dict[str, Any]:
    """Print what would leave a platform; returns the same for ``--json``."""
    lines = outgoing.lines()
    rows = [
        (line["step"], _arrays(line), f"{line['count']:,}", f"{line['bytes']:,}", _number(line.get("epsilon")))
        for line in lines
    ]
    console.table("Would leave this platform", ["step", "arrays", "weight", "bytes", "epsilon"], rows)
    console.result(Text(f"The arrays themselves are in {outgoing.folder}; nothing was sent."), always=False)
    return {"folder": str(outgoing.folder), "answers": lines}


def _arrays(line: dict[str, Any]) -> str:
    if not line["arrays"]:
        facts = {name: line["facts"].get(name) for name in ("items", "users", "purchases")}
        return ", ".join(f"{number:,} {name}" for name, number in facts.items() if number)
    if len(line["arrays"]) > MOST_NAMED:
        return f"{len(line['arrays'])} arrays of weights"
    return ", ".join(f"{one['name']} {'×'.join(map(str, one['shape']))}" for one in line["arrays"])


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def submitted(console: Console, config: Config, superlink: str) -> dict[str, Any]:
    """Say that a federation is done; returns the same for ``--json``."""
    file = f"RUN_DIR/federation/{SHARED_FILE}"
    console.result(Text(f"The federation {config.federate.name} is done; each platform has {file}."), always=False)
    return {"federation": config.federate.name, "superlink": superlink}
