"""Similar items: is the next purchase in the list of the latest one?

    crossrec run my.yaml --to finetune --set finetune.refit=false
    python benchmarks/similar.py my.yaml --set finetune.refit=false

Of each test user's history only the latest item is given. The lists of ``crossrec similar`` are compared with those of
item-kNN (the cosine of two items' buyers) and of the texts (the cosine of the whitened embeddings), as Markdown.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scorers import NDCG, Benchmark

from crossrec_cli.evaluation import metrics
from crossrec_cli.evaluation.significance import interval
from crossrec_cli.models.base import HistoryFeature
from crossrec_cli.models.histories import Cases, Histories
from crossrec_cli.models.ragged import Ragged
from crossrec_cli.ranking.topk import ScoreFunction, ranked

RIVALS = {"neighbours": "item-kNN", "text": "texts"}


def main() -> None:
    """Read the command line, print the table."""
    benchmark = Benchmark.of_command_line(__doc__)
    ours = of_latest(benchmark, benchmark.fused.candidate_scorer(benchmark.candidates))
    print(f"{len(ours):,} test users\n\n| list | NDCG@10 | crossrec's gain (95 %) |\n|---|---|---|")
    print(f"| crossrec similar | {ours.mean():.4f} | |")
    for scorer in benchmark.fused.scorers:
        for feature in scorer.features:
            if feature.name in RIVALS and isinstance(feature, HistoryFeature):
                theirs = of_latest(benchmark, benchmark.alone(scorer, replace(feature, decay=1.0)))
                low, high = interval(ours - theirs)
                gain = f"{(ours - theirs).mean():+.4f} ({low:+.4f} to {high:+.4f})"
                print(f"| {RIVALS[feature.name]} | {theirs.mean():.4f} | {gain} |", flush=True)


def of_latest(benchmark: Benchmark, scorer: ScoreFunction) -> metrics.Floats:
    """NDCG@10 of each test user who has a history, by its latest item alone."""
    histories, cases = benchmark.data.histories, benchmark.test
    cases = cases.of(np.flatnonzero(cases.history_lengths > 0))
    latest = histories.items.slice(cases.users, cases.history_lengths - 1, cases.history_lengths)
    no_tags = Ragged(np.empty(0, np.int64), np.zeros(cases.count, np.int64))
    alone = Histories(Ragged(latest.values, latest.lengths), latest.lengths, no_tags, histories.item_stats)
    given = Cases(np.arange(cases.count), latest.lengths, cases.truth)
    ranks = ranked(scorer, alone, given, benchmark.candidates, mask_seen=True)
    return metrics.per_case(ranks, [10])[NDCG]


if __name__ == "__main__":
    main()
