"""What crossrec is compared with: the config's baselines, and another system's lists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from crossrec_cli.artifacts.job import Job
from crossrec_cli.config.schema import Evaluate
from crossrec_cli.data.extra_files import read_file
from crossrec_cli.errors import InputError
from crossrec_cli.evaluation import metrics
from crossrec_cli.evaluation.baselines import BASELINES, BaselineInputs, TooLargeError
from crossrec_cli.evaluation.external import LISTS, check_lists, external_ranks
from crossrec_cli.evaluation.validation import STOP_ON, drawn, scores
from crossrec_cli.models.dataset import Dataset
from crossrec_cli.models.histories import Cases
from crossrec_cli.ranking.topk import Ranks, ScoreFunction

EXTERNAL = "external"


def tuned_baselines(job: Job, inputs: BaselineInputs) -> tuple[dict[str, ScoreFunction], dict[str, float]]:
    """The baselines' scorers, and the settings that validation chose for them."""
    scorers: dict[str, ScoreFunction] = {}
    settings: dict[str, float] = {}
    valid = drawn(inputs.valid, inputs.histories)

    def quality(scorer: ScoreFunction) -> float:
        return metrics.mean(scores(scorer, inputs.histories, valid, inputs.mask_seen)[STOP_ON])

    names = _without_duplicates(job.config.evaluate.baselines, inputs)
    with job.report.progress("training the baselines", len(names), "models") as advance:
        for name in names:
            baseline = BASELINES[name]
            try:
                scorers[name], setting = baseline.tuned(inputs, quality)
            except TooLargeError as error:
                job.report.warn(f"{baseline.title} is skipped: it needs {error}")
            else:
                if len(baseline.settings) > 1:
                    settings[name] = setting
            advance(1, baseline.title)
    return scorers, settings


def _without_duplicates(names: Sequence[str], inputs: BaselineInputs) -> list[str]:
    """The baselines' names, without those that equal another one on these data: without tags, or without a source."""
    same = {"ease_target", "ease_weighted"} if "ease" in names and inputs.in_target.all() else set()
    if "popularity" in names and not len(inputs.histories.tags.values):
        same.add("tag_popularity")
    return [name for name in names if name not in same]


def read_lists(chosen: Evaluate) -> pa.Table | None:
    """Another system's lists, read before anything is computed."""
    if not chosen.external:
        return None
    key = "evaluate.external"
    lists = read_file(Path(chosen.external), key, LISTS)
    check_lists(lists, f"{key}: {chosen.external}")
    return lists


def rank_lists(job: Job, lists: pa.Table, dataset: Dataset, cases: Cases) -> Ranks:
    """The ranks of the true items in the lists of another system.

    Raises:
        InputError: if no list is of a test user.
    """
    chosen, key = job.config.evaluate, f"evaluate.external: {job.config.evaluate.external}"
    items = (dataset.users, dataset.items, dataset.histories, cases, dataset.target_items)
    ranks = external_ranks(lists, *items, chosen.mask_seen, max(chosen.k))
    listed = (ranks.lists >= 0).any(axis=1)
    if not listed.any():
        raise InputError(f"{key}: none of its {lists.num_rows:,} rows has a test user and an item to recommend")
    if not listed.all():
        job.report.warn(f"{key}: has lists for {listed.sum():,} of {cases.count:,} test users; the others score 0")
    if not np.isfinite(ranks.rank).any():
        job.report.warn(f"{key}: no list holds what its user bought in the test; make them from data before the test")
    return ranks
