"""Audiences: how many times as many of an item's next buyers are among a tenth of the users as among a random tenth?

    crossrec run my.yaml --to finetune --set finetune.refit=false
    python benchmarks/audiences.py my.yaml --set finetune.refit=false

For each target item with some test buyers, the test users who do not have it are ordered by ``crossrec audience``'s
probability, by how much they bought in the item's category, and by how much they bought in the target, from what each
did before the test. Printed as Markdown: the mean lift over the purchases; random users have 1.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array
from scorers import Benchmark

from crossrec_cli.artifacts import columns as c
from crossrec_cli.evaluation.significance import interval
from crossrec_cli.models.base import purchases
from crossrec_cli.models.ragged import Ints, Ragged

SHARE, LEAST_BUYERS = 0.1, 3
Floats = npt.NDArray[np.float64]


def main() -> None:
    """Read the command line, print the table."""
    benchmark = Benchmark.of_command_line(__doc__)
    bought, count = np.unique(benchmark.test.truth.values, return_counts=True)
    items = bought[count >= LEAST_BUYERS]
    lifts: dict[str, list[Floats]] = {"crossrec audience": [], "bought in its category": [], "bought in the target": []}
    history, orders = given(benchmark), (ours(benchmark, items), *past(benchmark, items))
    for number, item in enumerate(items.tolist()):
        buyers, others = users_of(benchmark.test.truth, history, item)
        for name, order in zip(lifts, orders, strict=True):
            lifts[name].append(lift(order[:, number], buyers, others))
    print(f"{len(items):,} items, {benchmark.test.count:,} test users\n\n| users by | lift | crossrec's gain (95 %) |")
    print("|---|---|---|")
    reference = np.concatenate(lifts["crossrec audience"])
    for name, parts in lifts.items():
        values = np.concatenate(parts)
        low, high = interval(reference - values)
        gain = (
            f"{(reference - values).mean():+.2f} ({low:+.2f} to {high:+.2f})"
            if parts is not lifts["crossrec audience"]
            else ""
        )
        print(f"| {name} | {values.mean():.2f} | {gain} |")


def given(benchmark: Benchmark) -> Ragged:
    """Each test user's history before the test."""
    return benchmark.data.histories.items.take(benchmark.test.users, benchmark.test.history_lengths)


def ours(benchmark: Benchmark, items: Ints) -> Floats:
    """Each test user's probability to buy each item, (B, C)."""
    tags = benchmark.data.histories.tags.take(benchmark.test.users)
    return torch.sigmoid(benchmark.fused.candidate_scorer(items)(given(benchmark), tags).double()).numpy()


def past(benchmark: Benchmark, items: Ints) -> tuple[Floats, Floats]:
    """How much each test user bought in each item's category, and in the target, (B, C)."""
    is_target, everything = benchmark.data.is_target, np.arange(len(benchmark.data.is_target))
    matrix = purchases(given(benchmark), everything, len(everything))
    encoded = benchmark.data.items[c.CATEGORY].combine_chunks().dictionary_encode()
    codes = encoded.indices.fill_null(len(encoded.dictionary)).to_numpy().astype(np.int64)
    cells = (np.ones(len(codes), np.float32), (everything, codes))
    of_category = (matrix @ csr_array(cells, shape=(len(codes), len(encoded.dictionary) + 1))).toarray()
    in_target = np.asarray(matrix @ is_target.astype(np.float32))
    return of_category[:, codes[items]].astype(float), np.repeat(in_target[:, None], len(items), axis=1).astype(float)


def users_of(truth: Ragged, history: Ragged, item: int) -> tuple[Ints, Ints]:
    """The test users who bought an item in the test, and those who neither did nor had it; positions."""
    state = np.zeros(len(truth.lengths), np.int64)
    state[history.rows[history.values == item]] = 1
    state[truth.rows[truth.values == item]] = 2
    return np.flatnonzero(state == 2), np.flatnonzero(state == 0)


def lift(order: Floats, buyers: Ints, others: Ints) -> Floats:
    """For each buyer, how likely a tenth of all has the buyer, by descending order with ties broken at random, × 10."""
    everybody = np.concatenate([order[buyers], order[others]])
    size = SHARE * len(everybody)
    above = (everybody[None, :] > order[buyers, None]).sum(axis=1)
    equal = (everybody[None, :] == order[buyers, None]).sum(axis=1)
    lifts: Floats = np.clip((size - above) / equal, 0, 1) / SHARE
    return lifts


if __name__ == "__main__":
    main()
