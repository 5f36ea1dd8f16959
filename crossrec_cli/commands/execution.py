"""Runs the stages of a command and prints their results."""

from __future__ import annotations

import sys
import webbrowser
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from crossrec_cli.artifacts.files import EVALUATE, FOUND, RECOMMEND, RECOMMENDATIONS, RUN_CONFIG, SEARCH, TRANSFER, TUNE
from crossrec_cli.commands.shared import config_and_export, ending
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
    """What to do with the evaluation page besides writing it."""

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
    list_format: Format = Format.TABLE,
    search: tuple[str | None, str | None, Path | None] | None = None,
    exported: Path | None = None,
    needs: tuple[str, ...] = (),
    guarded: bool = False,
) -> None:
    """Load the config, run ``needs`` and then ``stages`` under the run directory's lock, and print their results.

    With ``guarded`` the lists stay as they are where the evaluation is significantly worse than the one before.
    """
    with ending(console):
        with defer_interrupts():
            from crossrec_cli.artifacts.store import Store  # noqa: PLC0415  pyarrow takes a moment to import
            from crossrec_cli.console import show_lists, show_stages  # noqa: PLC0415
            from crossrec_cli.pipeline.evaluated import earlier_evaluation  # noqa: PLC0415
            from crossrec_cli.pipeline.run import follow, run_stages  # noqa: PLC0415
            from crossrec_cli.ranking.list_database import check_driver  # noqa: PLC0415
            from crossrec_cli.ranking.search_request import SearchRequest  # noqa: PLC0415

        request = SearchRequest(*search) if search else None
        config, export = config_and_export(config_path, exported, overrides)
        _check_tracking(config)
        if RECOMMEND in stages and config.recommend.to:
            check_driver(config.recommend.to)
        if TUNE in stages:
            _check_tune(config)
        distributed.join()
        if distributed.follows():
            follow(config)
            return
        with Store(config.run_path).lock(lock_timeout, console):
            console.open_log(config.run_path)
            earlier = earlier_evaluation(page.against) if page and page.against else None
            before = Store(config.run_path).current(EVALUATE) if guarded else None
            outcomes, against = [], dict[str, Any]()
            needed = run_stages(config, needs, console)
            for outcome in chain(needed, run_stages(config, stages, console, force, export)):
                show_stages.outcome(console, outcome)
                outcomes.append(outcome)
                against |= _guard(console, config, outcome, before)
            distributed.shutdown()
            _keep_config(config, export)
            document = _document(config, outcomes) | against
            if RECOMMEND in stages:
                recommended = next(each.artifact for each in outcomes if each.stage == RECOMMEND)
                document["lists"] = show_lists.of_run(console, recommended, list_format)
            if request is not None:
                document["found"] = _search_results(console, config, outcomes[-1].artifact, request)
            if {EVALUATE, TRANSFER} & set(stages):
                document |= _page(console, config, page or PageOptions())
            if RECOMMEND in stages and config.recommend.to:
                document["published"] = _published(console, config, recommended, export)
            if page and page.against and earlier:
                document["against"] = _against(console, config, outcomes[-1].artifact, earlier, page.against)
            console.document(document)


def _guard(console: Console, config: Config, outcome: Outcome, before: Artifact | None) -> dict[str, Any]:
    """Compare a new evaluation with the one before, ahead of the lists.

    Returns:
        The comparison, for ``--json``; empty where there is nothing to compare.

    Raises:
        RegressionError: if the new one is significantly worse.
    """
    if before is None or outcome.stage != EVALUATE or not outcome.ran:
        return {}
    return {"against": _against(console, config, outcome.artifact, before, config.run_path)}


def _published(console: Console, config: Config, recommended: Artifact, export: Artifact | None) -> dict[str, Any]:
    """Put the lists, and the vectors where the config says so, into the database of ``recommend.to``.

    Returns:
        The tables, for ``--json``.
    """
    from crossrec_cli.console import show_lists  # noqa: PLC0415
    from crossrec_cli.pipeline.current import inputs_of  # noqa: PLC0415
    from crossrec_cli.ranking.list_database import publish  # noqa: PLC0415
    from crossrec_cli.ranking.recommender import Recommender  # noqa: PLC0415
    from crossrec_cli.ranking.vector_tables import VectorTables  # noqa: PLC0415

    database, vectors = config.recommend.to, None
    assert database is not None
    if database.vectors:
        recommender = Recommender(config, inputs_of(config, RECOMMEND, console, export), console)
        vectors = VectorTables(recommender, recommender.chosen_users())
    tables = publish(recommended.file(RECOMMENDATIONS), database, vectors)
    if vectors and vectors.cut:
        console.warn(f"{vectors.cut:,} sparse vectors are longer than pgvector allows, and have their largest weights")
    return show_lists.published(console, database, tables)


def show_requested_lists(
    console: Console, config: Config, exported: Artifact | None, request: ListRequest, list_format: Format
) -> dict[str, Any]:
    """Make and print the lists of some users, or print why an item is not in one.

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
    if list_format == Format.CSV:
        show_lists.as_csv(console, lists.parts(console))
        return {}
    document, users = show_lists.listed(console, lists.parts(console))
    lists.check_complete(users)
    return {"lists": document}


def _keep_config(config: Config, export: Artifact | None) -> None:
    """Write the config without passwords into the run directory, which can then be opened by itself."""
    if export:
        return
    from crossrec_cli.config.document import masked  # noqa: PLC0415
    from crossrec_cli.config.load import dump_config  # noqa: PLC0415

    draft = config.run_path / f".{RUN_CONFIG}"
    draft.write_text(dump_config(masked(config)), encoding="utf-8")
    draft.replace(config.run_path / RUN_CONFIG)


def _search_results(console: Console, config: Config, index: Artifact, request: SearchRequest) -> dict[str, Any]:
    """Print the results of one query, or write those of a file of queries to a file.

    Returns:
        The same for ``--json``.
    """
    from crossrec_cli.artifacts import parquet, schemas  # noqa: PLC0415
    from crossrec_cli.console import show_search  # noqa: PLC0415
    from crossrec_cli.pipeline.current import inputs_of  # noqa: PLC0415

    if not request:
        return {}
    table, queries = request.results(config, inputs_of(config, SEARCH), index.path, console)
    if request.query is not None:
        return show_search.results(console, request.query, request.user, table)
    path = config.run_path / FOUND
    parquet.write_parts(path, schemas.FOUND, [table])
    return show_search.written(console, path, queries)


def _page(console: Console, config: Config, options: PageOptions) -> dict[str, Any]:
    """Write the evaluation's page from the run's artifacts, and track its figures.

    Returns:
        The path of the page and its verdict, for ``--json``; empty if the run has no up-to-date evaluation.
    """
    from crossrec_cli.artifacts.store import Store  # noqa: PLC0415
    from crossrec_cli.console import show_page  # noqa: PLC0415
    from crossrec_cli.pipeline.evaluated import read_facts  # noqa: PLC0415
    from crossrec_cli.report import tracking  # noqa: PLC0415
    from crossrec_cli.report.page_files import PageFiles  # noqa: PLC0415  charts take a moment to import

    facts = read_facts(Store(config.run_path), config.report)
    if facts is None:
        return {}
    files = PageFiles.write(facts, config.run_path, options.png, options.markdown)
    document = show_page.page(console, files)
    if options.open and not webbrowser.open(files.page.resolve().as_uri()):
        console.warn("--open: no browser was found")
    for target in tracking.track(config.tracking, facts, config.run_path, files.page):
        console.remark(target)
    return document


def _against(console: Console, config: Config, ours: Artifact, theirs: Artifact, run_dir: Path) -> dict[str, Any]:
    """Compare an evaluation with an earlier one.

    Returns:
        The comparison, for ``--json``.

    Raises:
        InputError: if they cannot be compared.
        RegressionError: if this one is significantly worse, by more than the tolerance.
    """
    from crossrec_cli.console import show_page  # noqa: PLC0415
    from crossrec_cli.evaluation.gate import AgainstEarlier  # noqa: PLC0415  SciPy takes a moment to import

    result = AgainstEarlier.of(ours, theirs, run_dir, config.evaluate.tolerance)
    document = show_page.against(console, result)
    if result.comparison.lost:
        raise RegressionError(result.loss, document)
    return document


def _check_tracking(config: Config) -> None:
    """Find a missing package before a long training, not after it."""
    settings = {"mlflow": config.tracking.mlflow, "tensorboard": config.tracking.tensorboard}
    for package in (package for package, setting in settings.items() if setting and not find_spec(package)):
        raise UnavailableError.without(package, package, f"tracking.{package}")


def _check_tune(config: Config) -> None:
    """Find a missing setting or package before the stages that tune needs."""
    if not config.tune.search:
        raise ConfigError(["tune.search: is empty; for example finetune.lr: {low: 1e-4, high: 1e-2, log: true}"])
    if not find_spec("optuna"):
        raise UnavailableError.without("optuna", "tune", "tune")


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
