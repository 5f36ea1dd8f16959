"""``crossrec serve``: lists, search and reasons over HTTP."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crossrec_cli.artifacts.files import SERVED_EVENTS
from crossrec_cli.commands.shared import EXIT_CODES, Exported, Overrides, Quiet, config_and_export, ending
from crossrec_cli.console.terminal import Console
from crossrec_cli.errors import ConfigError, UnavailableError
from crossrec_cli.runtime.interrupts import INTERRUPTED, defer_interrupts

if TYPE_CHECKING:
    from crossrec_cli.artifacts.store import Artifact
    from crossrec_cli.config.schema import Config
    from crossrec_cli.serving.event_store import Events

app = typer.Typer()
MAX_EVENTS = 1_000_000


@app.command(epilog=EXIT_CODES)
def serve(
    config: Annotated[Path | None, typer.Argument(metavar="CONFIG", help="The YAML config file.")] = None,
    exported: Exported = None,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0: any free port.")] = 8000,
    events: Annotated[
        Path | None,
        typer.Option(
            "--events",
            metavar="FILE",
            help="Where events are kept; servers may share it. Default: in the run directory, with --from in memory.",
        ),
    ] = None,
    overrides: Overrides = None,
    quiet: Quiet = False,
) -> None:
    """Serve lists, similar items, searches, reasons and events over HTTP; clients send CROSSREC_TOKEN if it is set."""
    console = Console(quiet)
    with ending(console):
        for package in ("fastapi", "fastapi_offline", "uvicorn", "prometheus_client"):
            if not find_spec(package):
                raise UnavailableError.without(package, "serve", "serve")
        settings, export = config_and_export(config, exported, overrides or ())
        console.begin("serve")
        with _listening(host, port) as listening:
            _serve(console, settings, export, host, listening, events)


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """Bind the port before anything is loaded; connections wait until the server has started."""
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ConfigError([f"--host {host} --port {port}: {error.strerror or error}"]) from None
    with listening:
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else a small answer waits up to 40 ms
        yield listening


def _serve(
    console: Console,
    config: Config,
    export: Artifact | None,
    host: str,
    listening: socket.socket,
    events: Path | None,
) -> None:
    """Load the model, and serve until a signal ends it."""
    with defer_interrupts():
        import uvicorn  # noqa: PLC0415  an extra

        from crossrec_cli.serving.app import create_app  # noqa: PLC0415  torch takes a moment to import
        from crossrec_cli.serving.impression_log import ImpressionLog  # noqa: PLC0415
        from crossrec_cli.serving.live import Service  # noqa: PLC0415

    in_run = config.run_path / SERVED_EVENTS if not export and config.run_path.is_dir() else None
    impressions = ImpressionLog(Path(config.serve.log)) if config.serve.log else None
    service = Service(config, export, console, _kept_events(console, events, in_run), impressions)
    token = os.environ.get("CROSSREC_TOKEN") or None
    if not token and not _is_local(host):
        console.warn(f"anyone who can reach {host} can send requests; set CROSSREC_TOKEN to require a token")
    live = service.live
    port = listening.getsockname()[1]
    console.say(f"{len(live.users):,} users, {len(live.recommender.pool.items):,} items at http://{host}:{port}/docs")
    config_of_server = uvicorn.Config(
        create_app(service, token), log_level="warning", access_log=False, timeout_graceful_shutdown=5
    )
    try:
        uvicorn.Server(config_of_server).run([listening])
    except KeyboardInterrupt:  # the usual end of a server
        INTERRUPTED.clear()


def _kept_events(console: Console, chosen: Path | None, in_run: Path | None) -> Events:
    """The events in the file that was chosen, else in the run directory, or in memory where that cannot be written."""
    from crossrec_cli.serving.event_store import Events  # noqa: PLC0415

    try:
        return Events(MAX_EVENTS, chosen or in_run)
    except UnavailableError as error:
        if chosen:
            raise
        console.warn(f"{error}; they are in memory, and lost when the server ends")
        return Events(MAX_EVENTS)


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
