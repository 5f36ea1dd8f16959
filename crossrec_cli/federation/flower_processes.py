"""Starts a federation: simulated on this machine, sent to a SuperLink, or as one of its platforms."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crossrec_cli.config.load import dump_config
from crossrec_cli.config.schema import Config
from crossrec_cli.errors import ConfigError, CrossrecError, UnavailableError
from crossrec_cli.federation.coordinator import Coordinator
from crossrec_cli.federation.member import Member, folder_of
from crossrec_cli.federation.steps import FederationTerms
from crossrec_cli.runtime.progress import Reporter

QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else Ray warns of what it will do some day
}
"""Nothing is sent to the makers of these packages."""
CONNECTION = "crossrec"
APP = Path(__file__).parent / "app"


@dataclass(frozen=True)
class Certificates:
    """How a SuperLink is trusted."""

    root: Path | None = None
    """PEM file of the certificate authority; None: those of the system."""
    key: Path | None = None
    """A platform's private key, where the SuperLink wants to know its platforms."""
    insecure: bool = False
    """Without TLS, for one machine."""


def simulate(config: Config, platforms: Sequence[Config], report: Reporter) -> Coordinator:
    """A federation of platforms that are all on this machine.

    Args:
        config: the coordinator's; its run directory gets the state.
        platforms: with what preprocess left of each.
        report: gets messages.

    Returns:
        The coordinator, which is done.

    Raises:
        UnavailableError: if Flower is not installed, or too few platforms answer.
        ConfigError: if two platforms have one run directory, or there are fewer than two.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
    try:
        from flwr.simulation import run_simulation  # noqa: PLC0415  an extra

        from crossrec_cli.federation import flower  # noqa: PLC0415  it imports the extra
    except ImportError as error:
        raise UnavailableError(f"federate needs flwr; pip install 'crossrec[federated]' ({error})") from None
    if len(platforms) < 2 or len({platform.run_path.resolve() for platform in platforms}) < len(platforms):
        raise ConfigError(["--simulate: name the configs of at least two platforms, each with a run_dir of its own"])
    for platform in platforms:
        Member(platform, report)  # what is missing is said before anything starts
    terms = replace(FederationTerms.of(config), platforms=len(platforms))
    coordinator = Coordinator.of(terms, folder_of(config) / "coordinator", report)
    failures: list[CrossrecError] = []
    server = flower.simulated_server(coordinator, failures)
    resources = {"num_cpus": min(os.cpu_count() or 1, len(platforms)), "include_dashboard": False}
    for name in ("flwr", "ray"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what fails is said once, by the coordinator
    run_simulation(
        server_app=server,
        client_app=flower.simulated_client(platforms),
        num_supernodes=len(platforms),
        backend_config={"client_resources": {"num_cpus": 1}, "init_args": {**resources, "log_to_driver": False}},
    )
    if failures:
        raise failures[0]
    return coordinator


def submit(config: Config, superlink: str, certificates: Certificates, report: Reporter) -> None:
    """Have a SuperLink coordinate a federation with the platforms that join it; returns when it is done.

    Raises:
        UnavailableError: if Flower is not installed, or the federation did not end well.
    """
    flwr = _program("flwr")
    with tempfile.TemporaryDirectory() as home:
        app = Path(shutil.copytree(APP, Path(home) / "app", ignore=shutil.ignore_patterns("__pycache__")))
        (Path(home) / "config.toml").write_text(_connection(superlink, certificates), encoding="utf-8")
        terms = Path(home) / "terms.toml"
        terms.write_text(f"terms = {json.dumps(FederationTerms.of(config).json)}\n", encoding="utf-8")
        environment = {**_environment(), "FLWR_HOME": home}

        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            command = [flwr, *arguments]
            return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

        started = run("run", str(app), CONNECTION, "--run-config", str(terms), "--format", "json")
        run_id = _answer(started, superlink).get("run-id")
        report.say(f"the federation {config.federate.name} runs on {superlink} as {run_id}")
        run("log", str(run_id), CONNECTION, "--stream")
        listed = _answer(run("list", CONNECTION, "--run-id", str(run_id), "--format", "json"), superlink)
    (row,) = listed["runs"]
    status = row["status"]
    if status != "finished:completed":
        raise UnavailableError(f"--superlink {superlink}: run {run_id} ended as {status}; its log says why")


def _answer(ended: subprocess.CompletedProcess[str], superlink: str) -> dict[str, Any]:
    """What a command of Flower printed as JSON."""
    try:
        answer: dict[str, Any] = json.loads(ended.stdout[ended.stdout.index("{") :])
    except ValueError:
        answer = {}
    if not answer.get("success"):
        output = (ended.stderr or ended.stdout).strip().splitlines() or ["no answer"]
        reason = str(answer.get("error-message") or output[-1]).strip().splitlines()[0]
        raise UnavailableError(f"--superlink {superlink}: {reason}")
    return answer


def _connection(superlink: str, certificates: Certificates) -> str:
    trust = "insecure = true" if certificates.insecure else ""
    if certificates.root:
        trust = f"root-certificates = {json.dumps(str(certificates.root.resolve()))}"
    lines = ["[superlink]", f'default = "{CONNECTION}"', f"[superlink.{CONNECTION}]"]
    return "\n".join([*lines, f"address = {json.dumps(superlink)}", trust, ""])


def join(config: Config, superlink: str, certificates: Certificates, report: Reporter) -> None:
    """Take part in the federations of a SuperLink until interrupted; this process becomes Flower's SuperNode.

    Raises:
        UnavailableError: if Flower is not installed.
        ArtifactError: if preprocess did not run yet.
    """
    supernode = _program("flower-supernode")
    member = Member(config, report)
    member.folder.mkdir(parents=True, exist_ok=True)
    own = (member.folder / "config.yaml").resolve()
    own.write_text(dump_config(config), encoding="utf-8")
    trust = ["--insecure"] if certificates.insecure else []
    trust += ["--root-certificates", str(certificates.root)] if certificates.root else []
    trust += ["--auth-supernode-private-key", str(certificates.key)] if certificates.key else []
    report.say(f"joining {superlink}; what leaves is written to {member.folder}")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])  # on which its own processes reach it
    command = [supernode, "--superlink", superlink, "--node-config", f"config={json.dumps(str(own))}", "--port", port]
    os.execve(supernode, [*command, *trust], _environment())


def _environment() -> dict[str, str]:
    """That of Flower's processes, which start each other by name."""
    programs = str(Path(sys.executable).parent)
    return {**QUIET, **os.environ, "PATH": os.pathsep.join([programs, os.environ.get("PATH", "")])}


def _program(name: str) -> str:
    """The path of one of Flower's programs, next to this Python or on the PATH."""
    near = Path(sys.executable).with_name(name)
    path = str(near) if near.is_file() else shutil.which(name)
    if path is None:
        raise UnavailableError.without("flwr", "federated", "federate")
    return path
