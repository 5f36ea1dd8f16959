"""``crossrec federate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossrec_cli.commands.shared import EXIT_CODES, AsJson, ConfigPath, LockTimeout, Overrides, Quiet, ending, loaded
from crossrec_cli.console.terminal import Console
from crossrec_cli.errors import ConfigError
from crossrec_cli.runtime.interrupts import defer_interrupts

app = typer.Typer()
OWN = ("federate.weights", "federate.epsilon", "federate.delta")
"""Fields that each platform sets for itself."""


@app.command(epilog=EXIT_CODES)
def federate(
    config: ConfigPath,
    platforms: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PLATFORM]...", help="With --simulate: the platforms' configs.", show_default=False),
    ] = None,
    simulated: Annotated[bool, typer.Option("--simulate", help="All platforms are on this machine.")] = False,
    superlink: Annotated[
        str | None, typer.Option("--superlink", metavar="HOST:PORT", help="Have this SuperLink of Flower coordinate.")
    ] = None,
    joined: Annotated[
        str | None, typer.Option("--join", metavar="HOST:PORT", help="Take part as CONFIG's platform until stopped.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write what would leave this platform, and send nothing.")
    ] = False,
    root: Annotated[
        Path | None,
        typer.Option("--root-certificates", metavar="FILE", help="PEM file by which the SuperLink is trusted."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--private-key", metavar="FILE", help="With --join: this platform's own key.")
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Without TLS; for one machine only.")] = False,
    overrides: Overrides = None,
    lock_timeout: LockTimeout = 0.0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Learn together with other platforms whose purchases stay with them. Each has run preprocess before."""
    console = Console(quiet, as_json)
    with ending(console):
        if [simulated, bool(superlink), bool(joined), dry_run].count(True) != 1:
            raise ConfigError(["give one of --simulate, --superlink, --join and --dry-run"])
        if bool(platforms) != simulated:
            raise ConfigError(["configs of platforms go with --simulate, which needs them"])
        own = [one for one in overrides or () if one.startswith(OWN)]
        if simulated and own:
            raise ConfigError([f"--set {own[0]}: with --simulate it belongs into the platforms' configs"])
        if missing := [str(file) for file in (root, key) if file and not file.is_file()]:
            raise ConfigError([f"{missing[0]}: no such file"])
        with defer_interrupts():
            from crossrec_cli.artifacts.store import Store  # noqa: PLC0415
            from crossrec_cli.console import show_federation  # noqa: PLC0415
            from crossrec_cli.federation import flower_processes  # noqa: PLC0415
            from crossrec_cli.federation.dry_run import would_leave  # noqa: PLC0415

        settings = loaded(config, overrides)
        console.begin("federate")
        certificates = flower_processes.Certificates(root, key, insecure)
        if joined:
            flower_processes.join(settings, joined, certificates, console)
        with Store(settings.run_path).lock(lock_timeout, console):
            console.open_log(settings.run_path)
            if superlink:
                flower_processes.submit(settings, superlink, certificates, console)
                document = show_federation.submitted(console, settings, superlink)
            elif dry_run:
                document = show_federation.leaving(console, would_leave(settings, console))
            else:
                members = [loaded(path) for path in platforms or ()]
                coordinator = flower_processes.simulate(settings, members, console)
                document = show_federation.simulated(console, coordinator, members)
        console.document({"run_dir": settings.run_dir} | document)
