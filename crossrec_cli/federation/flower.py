"""A federation as two Flower apps: Flower does transport, TLS, authentication and secure aggregation."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
from flwr.app import ConfigRecord
from flwr.client import Client, NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.common import (
    Context,
    FitIns,
    FitRes,
    Message,
    NDArrays,
    Parameters,
    Scalar,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
from flwr.server import ServerConfig
from flwr.server.client_manager import ClientManager
from flwr.server.client_proxy import ClientProxy
from flwr.server.compat import LegacyContext
from flwr.server.strategy import FedAvg
from flwr.server.workflow import DefaultWorkflow, SecAggPlusWorkflow
from flwr.server.workflow.default_workflows import default_fit_workflow
from flwr.serverapp import Grid, ServerApp

from crossrec_cli.errors import ConfigError, CrossrecError
from crossrec_cli.federation.steps import (
    ATTEMPTS,
    LARGEST_VALUE,
    SECRET,
    FederationTerms,
    PlatformAnswer,
    Question,
    least_of,
)
from crossrec_cli.runtime.progress import Silent

if TYPE_CHECKING:  # torch takes seconds to import; secure aggregation starts processes that do without
    from crossrec_cli.config.federation_fields import Federate
    from crossrec_cli.config.schema import Config
    from crossrec_cli.federation.coordinator import Coordinator
    from crossrec_cli.federation.member import Member

LEVELS = 2**24
"""Integers that a value becomes for secure aggregation: 256 platforms fit into Flower's 2³²."""
TO_RECONSTRUCT = 2 / 3
"""So many of the platforms can make up for one that went away, and so many together could see its answer."""
JOIN_SECONDS = 3600
"""How long the coordinator waits for platforms to come."""


class _Home(NumPyClient):  # type: ignore[misc]  # Flower's class is not typed strictly
    """A platform, as Flower asks it."""

    def __init__(self, member: Member, tell: bool) -> None:
        self.member, self.tell = member, tell

    def fit(self, parameters: NDArrays, config: dict[str, Scalar]) -> tuple[NDArrays, int, dict[str, Scalar]]:
        """Answer a question.

        Raises:
            ConfigError: if the answer would go to the coordinator as it is, and this platform wants it to be hidden.
        """
        try:
            return self._answer(Question.from_facts(config, parameters))
        except CrossrecError as error:
            if self.tell:
                raise
            self.member.report.warn(str(error))  # which may name files of this machine
            raise CrossrecError(f"{type(error).__name__}; the platform's log says more") from None

    def _answer(self, question: Question) -> tuple[NDArrays, int, dict[str, Scalar]]:
        if self.member.config.federate.secure and question.step in SECRET and not _HIDDEN.get():
            raise ConfigError(["federate.secure: the coordinator asks without secure aggregation; nothing is sent"])
        answer = self.member.answer(question, _HIDDEN.get())
        return list(answer.arrays), answer.count, dict(answer.facts)


def client_app(config_of: Callable[[Context], Config], member_of: Callable[[Context], Member], tell: bool) -> ClientApp:
    """The app of a platform; ``tell``: whether the coordinator learns why it gives no answer."""

    def client(context: Context) -> Client:
        return _Home(member_of(context), tell).to_client()

    def secure_if_asked(message: Message, context: Context, next_app: Callable[[Message, Context], Message]) -> Message:
        """Flower's secure aggregation for messages that are part of it."""
        if RECORD_KEY_CONFIGS not in message.content.config_records:
            return next_app(message, context)
        settings = message.content.config_records[RECORD_KEY_CONFIGS]
        if settings[Key.STAGE] == Stage.SETUP:
            _check_company(settings, config_of(context).federate)
        return _hiding(message, context, next_app)

    return ClientApp(client_fn=client, mods=[secure_if_asked])


def _hiding(message: Message, context: Context, next_app: Callable[[Message, Context], Message]) -> Message:
    """Flower's secure aggregation, apart from what Ray copies: a ``ContextVar`` cannot be copied."""
    token = _HIDDEN.set(True)
    try:
        hidden: Message = secaggplus_mod(message, context, next_app)
    finally:
        _HIDDEN.reset(token)
    return hidden


def _check_company(settings: ConfigRecord, federate: Federate) -> None:
    """Refuse secure aggregation among so few, or with so few shares, that the sum would give an answer away."""
    sample, shares, threshold = (int(settings[name]) for name in (Key.SAMPLE_NUMBER, Key.SHARE_NUMBER, Key.THRESHOLD))
    least = least_of(federate.platforms)
    if federate.secure and (sample < least or shares < sample or threshold < max(2, round(TO_RECONSTRUCT * sample))):
        raise ConfigError([f"federate.secure: asked among {sample} of at least {least} platforms; nothing is sent"])


_HIDDEN = ContextVar("_HIDDEN", default=False)
"""Whether secure aggregation hides the answer that is being made."""


def coordinate(grid: Grid, context: Context, coordinator: Coordinator) -> None:
    """Ask until all is done.

    Raises:
        UnavailableError: if too few platforms answer.
    """
    strategy = _Strategy(coordinator)
    config = ServerConfig(num_rounds=ATTEMPTS * (coordinator.terms.rounds + 4))  # some steps may be repeated

    def ask(grid: Grid, context: LegacyContext) -> None:
        if coordinator.step is None:
            return
        strategy.answers = {}
        _workflow(coordinator)(grid, context)
        coordinator.accept(strategy.answers)  # none where secure aggregation was given up

    DefaultWorkflow(fit_workflow=ask)(grid, LegacyContext(context=context, config=config, strategy=strategy))


def _workflow(coordinator: Coordinator) -> Any:
    question = coordinator.question()
    if not coordinator.terms.secure or question.step not in SECRET:
        return default_fit_workflow
    return SecAggPlusWorkflow(
        num_shares=1.0,
        reconstruction_threshold=TO_RECONSTRUCT,
        max_weight=float(question.most),
        clipping_range=LARGEST_VALUE,
        quantization_range=LEVELS,
    )


class _Strategy(FedAvg):  # type: ignore[misc]  # Flower's class is not typed strictly
    """What Flower sends and collects, for a coordinator."""

    def __init__(self, coordinator: Coordinator) -> None:
        super().__init__(fraction_evaluate=0.0, initial_parameters=ndarrays_to_parameters([]))
        self.coordinator = coordinator
        self.answers: Mapping[str, PlatformAnswer] = {}
        """To the latest question, by node; the same mean for each where secure aggregation hides them."""

    def configure_fit(
        self, server_round: int, parameters: Parameters, client_manager: ClientManager
    ) -> list[tuple[ClientProxy, FitIns]]:
        """The next question to all platforms that are asked and there."""
        question = self.coordinator.question()
        client_manager.wait_for(self.coordinator.terms.platforms if not self.coordinator.joined else 1, JOIN_SECONDS)
        asked = set(self.coordinator.participants(question.step)) if self.coordinator.joined else None
        message = FitIns(ndarrays_to_parameters(list(question.arrays)), dict(question.facts))
        there = sorted(client_manager.all().items())
        return [(proxy, message) for node, proxy in there if asked is None or node in asked]

    def aggregate_fit(
        self,
        server_round: int,
        results: list[tuple[ClientProxy, FitRes]],
        failures: list[tuple[ClientProxy, FitRes] | BaseException],
    ) -> tuple[None, dict[str, Scalar]]:
        """Keep the answers for the coordinator."""
        for failure in failures:
            self.coordinator.report.warn(f"a platform gave no answer: {_reason(failure)}")
        self.answers = {
            proxy.cid: PlatformAnswer(parameters_to_ndarrays(fit.parameters), fit.num_examples, fit.metrics)
            for proxy, fit in results
        }
        return None, {}


def _reason(failure: tuple[ClientProxy, FitRes] | BaseException) -> str:
    """The message of the error that ended a platform's answer, out of Flower's and Ray's stack traces."""
    text = str(failure.args[0].reason) if isinstance(failure, BaseException) else failure[1].status.message
    messages = re.findall(r"Message: (.+)", text.replace("\\n", "\n"))
    return str(messages[-1] if messages else text.strip().splitlines()[-1]).removesuffix("'>")[:300]


class LogReporter(Silent):
    """Messages for the log of a process that Flower started."""

    def say(self, message: str) -> None:
        """One line."""
        logging.getLogger("flwr").info("%s", message)

    def warn(self, message: str) -> None:
        """One line about something to check."""
        logging.getLogger("flwr").warning("%s", message)

    begin = log = say


def deployed_server() -> ServerApp:
    """A coordinator that a SuperLink starts; its state is in the user's folder for states."""
    app = ServerApp()

    @app.main()  # type: ignore[untyped-decorator]
    def main(grid: Grid, context: Context) -> None:
        from crossrec_cli.federation.coordinator import Coordinator  # noqa: PLC0415  see above

        terms = FederationTerms.from_json(str(context.run_config["terms"]))
        folder = platformdirs.user_state_path("crossrec") / "federations" / terms.name
        coordinate(grid, context, Coordinator.of(terms, folder, LogReporter()))

    return app


def deployed_client() -> ClientApp:
    """A platform that a SuperNode starts; ``--node-config`` names its config."""

    def config(context: Context) -> Config:
        from crossrec_cli.config.load import load_config  # noqa: PLC0415  see above

        return load_config(Path(str(context.node_config["config"])))

    def member(context: Context) -> Member:
        from crossrec_cli.federation.member import Member  # noqa: PLC0415  see above

        return Member(config(context), LogReporter())

    return client_app(config, member, tell=False)


def simulated_server(coordinator: Coordinator, failures: list[CrossrecError]) -> ServerApp:
    """A coordinator in this process; what ends it goes into ``failures``."""
    app = ServerApp()

    @app.main()  # type: ignore[untyped-decorator]
    def main(grid: Grid, context: Context) -> None:
        try:
            coordinate(grid, context, coordinator)
        except CrossrecError as error:
            failures.append(error)

    return app


_MEMBERS: dict[str, Member] = {}
"""Of this process, by run directory: a platform's data are read once."""


def simulated_client(platforms: Sequence[Config]) -> ClientApp:
    """Platforms on one machine, by the number of the node."""

    def config_of(context: Context) -> Config:
        return platforms[int(context.node_config["partition-id"])]

    def member(context: Context) -> Member:
        from crossrec_cli.federation.member import Member  # noqa: PLC0415  see above

        config = config_of(context)
        if config.run_dir not in _MEMBERS:
            _MEMBERS[config.run_dir] = Member(config, LogReporter())
        return _MEMBERS[config.run_dir]

    return client_app(config_of, member, tell=True)
