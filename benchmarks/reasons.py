"""Whether reasons are right, and how long they take.

    python benchmarks/reasons.py configs/complete_journey.yaml --users 500

They are right where the score falls more without the items that they name than without as many others. For each entry
in the lists of some random users, the history items that its reasons name are removed; then as many of the other items,
drawn ten times. A case holds if the first fall of the score is larger than the mean of the others. Then the time of
lists with reasons: of all these users together, and of one at a time as a server answers, medians of several rounds.
Reads the run's recommend artifact, whose entries must have reasons.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import RECOMMEND, RECOMMENDATIONS
from crossrec_cli.artifacts.store import Store
from crossrec_cli.config.load import load_config
from crossrec_cli.models.dataset import Dataset, load_dataset, load_fused
from crossrec_cli.models.ragged import Ints, Ragged
from crossrec_cli.pipeline.current import inputs_of
from crossrec_cli.ranking.recommender import Recommender
from crossrec_cli.ranking.topk import ScoreFunction
from crossrec_cli.runtime import device
from crossrec_cli.runtime.progress import Silent

DRAWN = 10
ROUNDS, ALONE = 5, 200
"""How often all lists are made, and for how many users one at a time."""


def main() -> None:
    """Read the command line, remove items, print the share of cases that hold."""
    parser = argparse.ArgumentParser(description="Check reasons by deletion.")
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--users", type=int, default=500)
    arguments = parser.parse_args()
    config = load_config(arguments.config, arguments.overrides)
    recommended = Store(config.run_path).current(RECOMMEND)
    if recommended is None:
        raise SystemExit(f"{config.run_dir}: no recommend artifact; run 'crossrec recommend' first")
    inputs = inputs_of(config, RECOMMEND)
    dataset = load_dataset(inputs)
    fused = load_fused(inputs, config.interest)
    lists = parquet.read_table(recommended.file(RECOMMENDATIONS)).to_pandas()
    chosen = np.random.default_rng(0).permutation(lists[c.USER_ID].unique())[: arguments.users]
    lists = lists[lists[c.USER_ID].isin(chosen)]
    held = np.concatenate(
        [cases(*each) for each in histories(dataset, lists, fused.candidate_scorer(dataset.target_items))]
    )
    print(f"{held.sum():,} of {len(held):,} cases hold, {held.mean():.1%}; {len(lists) - len(held):,} have no others")
    device.prepare(config.runtime)
    recommender = Recommender(config, inputs, Silent())
    users = recommender.users(chosen.tolist(), "users")
    together = statistics.median(seconds(recommender, users) for _ in range(ROUNDS))
    alone = [seconds(recommender, users[row : row + 1]) for row in range(min(len(users), ALONE))]
    median, slow = (1000 * np.quantile(alone, share) for share in (0.5, 0.99))
    print(f"{len(users) / together:,.0f} users a second; one at a time {median:.1f} ms, one in a hundred {slow:.1f} ms")


def seconds(recommender: Recommender, users: Ints) -> float:
    """How long the lists of some users take."""
    begin = time.perf_counter()
    for _ in recommender.lists(users):
        pass
    return time.perf_counter() - begin


Case = tuple[ScoreFunction, Ragged, Ragged, list[tuple[int, np.ndarray]]]
"""The scorer, one user's history and tags, and of each entry its column and which interactions its reasons name."""


def histories(dataset: Dataset, lists: pd.DataFrame, scorer: ScoreFunction) -> Iterator[Case]:
    """Each user's."""
    row_of = {user: index for index, user in enumerate(dataset.users[c.USER_ID].to_pylist())}
    item = {name: index for index, name in enumerate(dataset.items[c.ITEM_ID].to_pylist())}
    column = {index: number for number, index in enumerate(dataset.target_items)}
    for user, rows in lists.groupby(c.USER_ID):
        row = np.array([row_of[user]])
        given = dataset.histories.items.take(row)
        named = [np.isin(given.values, [item[why[c.ITEM_ID]] for why in reasons]) for reasons in rows[c.REASONS]]
        columns = [column[item[name]] for name in rows[c.ITEM_ID]]
        yield scorer, given, dataset.histories.tags.take(row), list(zip(columns, named, strict=True))


def cases(scorer: ScoreFunction, given: Ragged, tags: Ragged, entries: list[tuple[int, np.ndarray]]) -> np.ndarray:
    """Whether each entry's case holds, bool; without those that name nothing, or leave too few others."""
    rng = np.random.default_rng(0)
    kept, tested = [np.ones(len(given.values), bool)], []
    for column, named in entries:
        if 0 < named.sum() <= (~named).sum():
            tested.append((column, len(kept)))
            kept.append(~named)
            kept += [
                _without(rng.choice(np.flatnonzero(~named), named.sum(), replace=False), named) for _ in range(DRAWN)
            ]
    same = np.zeros(len(kept), np.int64)
    scores = scorer(given.take(same).where(np.concatenate(kept)), tags.take(same)).numpy()
    falls = [scores[0, column] - scores[first : first + 1 + DRAWN, column] for column, first in tested]
    return np.array([fall[0] > fall[1:].mean() for fall in falls], bool)


def _without(positions: np.ndarray, like: np.ndarray) -> np.ndarray:
    kept = np.ones_like(like)
    kept[positions] = False
    return kept


if __name__ == "__main__":
    main()
