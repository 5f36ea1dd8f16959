"""What each scorer reaches alone and what it adds to the others, as Markdown.

    crossrec run my.yaml --to finetune
    python benchmarks/scorers.py my.yaml

Weights are fitted on the validation purchases; the figures are of the test.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import CASES, EVALUATE
from crossrec_cli.config.load import load_config
from crossrec_cli.evaluation import metrics
from crossrec_cli.evaluation.segments import TARGET_LENGTHS, length_group, length_labels
from crossrec_cli.evaluation.significance import interval
from crossrec_cli.models.base import Feature, Scorer
from crossrec_cli.models.dataset import load_dataset, load_fused, training_data
from crossrec_cli.models.fused import FusedModel
from crossrec_cli.models.fusion import HeldOut
from crossrec_cli.models.histories import Cases, load_cases
from crossrec_cli.models.ragged import Ints, Ragged
from crossrec_cli.models.vectors import products
from crossrec_cli.pipeline.current import inputs_of
from crossrec_cli.ranking.topk import ScoreFunction as Ranking
from crossrec_cli.ranking.topk import ranked
from crossrec_cli.runtime import device

NDCG, HR = metrics.name("ndcg", 10), metrics.name("hr", 10)


class Benchmark:
    """A run's data and model, and the measures of a ranking."""

    def __init__(self, config_file: Path, overrides: Sequence[str]) -> None:
        config = load_config(config_file, overrides)
        device.prepare(config.runtime, config.seed)
        inputs = inputs_of(config, EVALUATE)
        dataset, cases = load_dataset(inputs), parquet.read_table(inputs[CASES])
        self.data = training_data(inputs, dataset)
        self.fused = load_fused(inputs, config.interest)
        self.valid, self.test = (load_cases(cases, split) for split in (c.VALID, c.TEST))
        self.candidates, self.mask_seen = dataset.target_items, config.evaluate.mask_seen
        drawn = (self.data.histories, self.valid, self.candidates, self.mask_seen, config.seed)
        self.held_out = HeldOut.of(*drawn)
        lengths = dataset.histories.target_lengths(self.test.users, self.test.history_lengths)
        self.group = length_group(lengths)
        self.sold = dataset.histories.item_stats.trained

    @classmethod
    def of_command_line(cls, description: str | None) -> Benchmark:
        """Of the config and the overrides that the command line names."""
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("config", type=Path)
        parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
        arguments = parser.parse_args()
        return cls(arguments.config, arguments.overrides)

    def among(self, names: Sequence[str]) -> Ranking:
        """Some of the scorers, with weights fitted on validation."""
        scorers = [scorer for scorer in self.fused.scorers if scorer.name in names]
        return FusedModel.weighed(scorers, self.data, self.held_out).candidate_scorer(self.candidates)

    def measured(self, scorer: Ranking) -> dict[str, metrics.Floats]:
        """NDCG@10 and HR@10 of each test case."""
        ranks = ranked(scorer, self.data.histories, self.test, self.candidates, self.mask_seen)
        return metrics.per_case(ranks, [10])

    def alone(self, scorer: Scorer, feature: Feature) -> Ranking:
        """One feature by itself."""
        vectors = scorer.item_vectors[self.candidates]

        def score(histories: Ragged, tags: Ragged) -> torch.Tensor:
            return torch.from_numpy(products(feature.user_vectors(histories, tags), vectors))

        return score

    def line(self, name: str, measured: dict[str, metrics.Floats], reference: metrics.Floats | None = None) -> None:
        """A row of the table: means, by group, of items without sales, and the gain over the reference."""
        values = measured[NDCG]
        parts = [values[self.group == number] for number in range(len(TARGET_LENGTHS))]
        parts.append(values[unsold(self.test, self.sold)])
        gain = ""
        if reference is not None:
            low, high = interval(values - reference)
            gain = f"{metrics.mean(values - reference):+.4f} ({low:+.4f} to {high:+.4f})"
        means = " | ".join(f"{metrics.mean(part):.4f}" if len(part) else "" for part in parts)
        print(
            f"| {name} | {metrics.mean(values):.4f} | {metrics.mean(measured[HR]):.4f} | {means} | {gain} |", flush=True
        )


def unsold(cases: Cases, sold: np.ndarray) -> Ints:
    """The cases whose items have no sale in training."""
    some = np.bincount(cases.truth.rows, sold[cases.truth.values], cases.count)
    return np.flatnonzero(some == 0)


def main() -> None:
    """Read the command line, print the tables."""
    benchmark = Benchmark.of_command_line(__doc__)
    fused, names = benchmark.fused, benchmark.fused.names
    print(f"{len(benchmark.candidates):,} candidates, {benchmark.test.count:,} test users\n")
    labels = length_labels()
    print(f"| scorer | NDCG@10 | HR@10 | {' | '.join(labels)} | nobody bought it | gain |")
    print(f"|---|---|---|{'---|' * len(labels)}---|---|")
    fused_scores = benchmark.measured(fused.candidate_scorer(benchmark.candidates))
    benchmark.line("fused", fused_scores)
    for scorer in fused.scorers:
        for feature in scorer.features:
            decay = getattr(feature, "decay", 1.0)
            name = feature.name if decay == 1 else f"{feature.name}, each counting {decay:g} of the next"
            benchmark.line(name, benchmark.measured(benchmark.alone(scorer, feature)))
    for left_out in names:
        measured = benchmark.measured(benchmark.among([name for name in names if name != left_out]))
        benchmark.line(f"fused without {left_out}", measured, fused_scores[NDCG])
    print(f"\n| group | {' | '.join(fused.fusion.features)} |\n|---|{'---|' * len(fused.fusion.features)}")
    for name, weights in zip(labels, fused.fusion.weights * fused.fusion.spread, strict=True):
        print(f"| {name} | {' | '.join(f'{weight:.2f}' for weight in weights)} |")


if __name__ == "__main__":
    main()
