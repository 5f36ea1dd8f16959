"""What would leave a platform, written down without sending anything."""

from __future__ import annotations

import shutil
from dataclasses import replace

from crossrec_cli.config.schema import Config
from crossrec_cli.federation.coordinator import Coordinator
from crossrec_cli.federation.member import Member, folder_of
from crossrec_cli.federation.outgoing import Outgoing
from crossrec_cli.federation.steps import FederationStep, FederationTerms
from crossrec_cli.runtime.progress import Reporter

FOLDER = "dry-run"
"""In the folder of the federation."""


def would_leave(config: Config, report: Reporter) -> Outgoing:
    """The answers of this platform, written to a folder of their own.

    They are those to a coordinator with this platform's settings and no other platform: texts are whitened as if there
    were no others, and there is one round of weights at most. The noise is drawn anew each time; no privacy budget is
    spent.
    """
    folder = folder_of(config) / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    member, terms = Member(config, report, folder), FederationTerms.of(config)
    rounds = min(terms.rounds, 1) if config.federate.weights else 0
    coordinator = Coordinator(replace(terms, platforms=1, rounds=rounds), folder / "coordinator", report)
    while coordinator.step not in (FederationStep.KEEP, None):
        coordinator.accept({"here": member.answer(coordinator.question())})
    shutil.rmtree(folder / "coordinator")
    return member.outgoing
