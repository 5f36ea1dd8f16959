"""Running the stages of a command, and showing what came of them."""

from __future__ import annotations

import sys
import webbrowser
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from crossrec_cli.artifacts.files import (
    EVALUATE,
    FOUND,
    RECOMMEND,
    SEARCH,
    TRANSFER,
    TUNE,
)
from crossrec_cli.commands.shared import (
    ending,
    given,
)
from crossrec_cli.console.terminal import Console, Format
from crossrec_cli.errors import ConfigError, RegressionError, UnavailableError
from crossrec_cli.runtime import distributed
from crossrec_cli.runtime.interrupts import defer_interrupts

if TYPE_CHECKING:  # pydantic and pyarrow take a moment to import, which help can do without
    from crossrec_cli.artifacts.store import Artifact
    from crossrec_cli.config.schema import Config
    from crossrec_cli.pipeline.run import Outcome
    from crossrec_cli.ranking.list_request import ListRequest
    from crossrec_cli.ranking.search_request import SearchRequest


class PageOptions(NamedTuple):
    """What is wanted of the evaluation page beside the file."""

    markdown: bool = False
    png: bool = False
    open: bool = False
    against: Path | None = None
    """An earlier run to compare with."""


def execute(
    stages: tuple[str, ...],
    config_path: Path | None,
    overrides: Sequence[str],
    force: bool,
    console: Console,
    lock_timeout: float,
    page: PageOptions | None = None,
    form: Format = Format.TABLE,
    asked: tuple[str | None, str | None, Path | None] | None = None,
    exported: Path | None = None,
    needs: tuple[str, ...] = (),
) -> None:
    """Load the config, run the stages under the lock, those they need before them, show what came of them."""
    with ending(console):
        with defer_interrupts():
            from crossrec_cli.artifacts.store import Store  # noqa: PLC0415  pyarrow takes a moment to import
            from crossrec_cli.console import show_lists, show_stages  # noqa: PLC0415
            from crossrec_cli.pipeline.evaluated import earlier_evaluation  # noqa: PLC0415
            from crossrec_cli.pipeline.run import follow, run_stages  # noqa: PLC0415
            from crossrec_cli.ranking.search_request import SearchRequest  # noqa: PLC0415

        request = SearchRequest(*asked) if asked else None
        config, made = given(config_path, exported, overrides)
        _see_that_it_can_be_tracked(config)
        if TUNE in stages:
            _see_that_it_can_be_tuned(config)
        distributed.join()
        if distributed.follows():
            follow(config)
            return
        with Store(config.run_path).lock(lock_timeout, console):
            console.open_log(config.run_path)
            earlier = earlier_evaluation(page.against) if page and page.against else None
            outcomes = []
            needed = run_stages(config, needs, console)
            for outcome in chain(needed, run_stages(config, stages, console, force, made)):
                show_stages.outcome(console, outcome)
                outcomes.append(outcome)
            distributed.shutdown()
            document = _document(config, outcomes)
            if RECOMMEND in stages:
                recommended = next(made.artifact for made in outcomes if made.stage == RECOMMEND)
                document["lists"] = show_lists.of_run(console, recommended, form)
            if request is not None:
                document["found"] = _found(console, config, outcomes[-1].artifact, request)
            if {EVALUATE, TRANSFER} & set(stages):
                document |= _page(console, config, page or PageOptions())
            if page and page.against and earlier:
                document["against"] = _against(console, config, outcomes[-1].artifact, earlier, page.against)
            console.document(document)


def show_requested_lists(
    console: Console, config: Config, exported: Artifact | None, request: ListRequest, form: Format
) -> dict[str, Any]:
    """Make the lists of some users, and print them; or what keeps an item out of one.

    Returns:
        The same for ``--json``.
    """
    with defer_interrupts():
        from crossrec_cli.console import show_lists  # noqa: PLC0415  torch takes a moment to import
        from crossrec_cli.pipeline.current import inputs_of  # noqa: PLC0415
        from crossrec_cli.ranking.list_request import RequestedLists, reason_against  # noqa: PLC0415
        from crossrec_cli.ranking.recommender import Recommender  # noqa: PLC0415

    inputs = inputs_of(config, RECOMMEND, console, exported)
    more = request.ids_of_file(sys.stdin)
    console.begin(RECOMMEND)
    recommender = Recommender(config, inputs, console)
    if request.why_not is not None:
        reason = reason_against(recommender, request)
        show_lists.why_not(console, reason)
        return {"why_not": reason}
    lists = RequestedLists.of(recommender, request, more, console)
    if form == Format.CSV:
        show_lists.as_csv(console, lists.parts(console))
        return {}
    document, users = show_lists.listed(console, lists.parts(console))
    lists.check_complete(users)
    return {"lists": document}


def _found(console: Console, config: Config, index: Artifact, request: SearchRequest) -> dict[str, Any]:
    """Search for what is looked for: one query's results are printed, those of a file of queries are a file.

    Returns:
        The same for ``--json``.
    """
    from crossrec_cli.console import show_search  # noqa: PLC0415
    from crossrec_cli.pipeline.current import inputs_of  # noqa: PLC0415
    from crossrec_cli.ranking.search_request import write_found  # noqa: PLC0415

    if not request:
        return {}
    table, queries = request.results(config, inputs_of(config, SEARCH), index.path, console)
    if request.query is not None:
        return show_search.results(console, request.query, request.user, table)
    path = config.run_path / FOUND
    write_found(path, table)
    return show_search.written(console, path, queries)


def _page(console: Console, config: Config, wanted: PageOptions) -> dict[str, Any]:
    """Write the evaluation's page from what the run holds, and track its figures.

    Returns:
        Where it is and its verdict, for ``--json``; nothing if the run has not been evaluated.
    """
    from crossrec_cli.artifacts.store import Store  # noqa: PLC0415
    from crossrec_cli.console import show_page  # noqa: PLC0415
    from crossrec_cli.pipeline.evaluated import read_facts  # noqa: PLC0415
    from crossrec_cli.report import tracking  # noqa: PLC0415
    from crossrec_cli.report.page_files import PageFiles  # noqa: PLC0415  charts take a moment to import

    facts = read_facts(Store(config.run_path), config.report)
    if facts is None:
        return {}
    files = PageFiles.write(facts, config.run_path, wanted.png, wanted.markdown)
    document = show_page.page(console, files)
    if wanted.open and not webbrowser.open(files.page.resolve().as_uri()):
        console.warn("--open: there is no browser to open the page in")
    for where in tracking.track(config.tracking, facts, config.run_path, files.page):
        console.remark(where)
    return document


def _against(console: Console, config: Config, ours: Artifact, theirs: Artifact, run_dir: Path) -> dict[str, Any]:
    """Compare an evaluation with an earlier one.

    Returns:
        The comparison, for ``--json``.

    Raises:
        InputError: if they cannot be compared.
        RegressionError: if this one ranks worse, by more than chance and the tolerance.
    """
    from crossrec_cli.console import show_page  # noqa: PLC0415
    from crossrec_cli.evaluation.gate import AgainstEarlier  # noqa: PLC0415  SciPy takes a moment to import

    found = AgainstEarlier.of(ours, theirs, run_dir, config.evaluate.tolerance)
    facts = show_page.against(console, found)
    if found.comparison.lost:
        raise RegressionError(found.loss, facts)
    return facts


def _see_that_it_can_be_tracked(config: Config) -> None:
    """Before a night of training, and not after it."""
    wanted = {"mlflow": config.tracking.mlflow, "tensorboard": config.tracking.tensorboard}
    for package in (package for package, where in wanted.items() if where and not find_spec(package)):
        raise UnavailableError(f"tracking.{package} needs the package {package}; pip install 'crossrec[{package}]'")


def _see_that_it_can_be_tuned(config: Config) -> None:
    """Before the stages that tune needs."""
    if not config.tune.search:
        raise ConfigError(["tune.search: names no field; for example finetune.lr: {low: 1e-4, high: 1e-2, log: true}"])
    if not find_spec("optuna"):
        raise UnavailableError("tune needs the package optuna; pip install 'crossrec[tune]'")


def _document(config: Config, outcomes: list[Outcome]) -> dict[str, Any]:
    stages = [
        {
            "stage": outcome.stage,
            "ran": outcome.ran,
            "reason": outcome.reason,
            "path": str(outcome.artifact.path),
            "wall_seconds": outcome.artifact.manifest.wall_seconds,
            "summary": outcome.artifact.manifest.summary,
        }
        for outcome in outcomes
    ]
    return {"run_dir": config.run_dir, "stages": stages}
