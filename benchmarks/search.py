"""How well a search finds what a household bought next: words, meaning and interest, each alone and together.

    python benchmarks/search.py configs/complete_journey.yaml RUN_DIR...

The runs are finished up to finetune and differ in their seed. The data have no real queries, so queries are made of the
words of what was bought: validation purchases to fit on, test purchases to measure, once. Four kinds, drawn at random:
the product type (the text's first part), the category (its second), two words of the text, and the product type with a
letter missing from each longer word. Words of the text favour BM25 over what people really type.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import CASES, EVALUATE, FINETUNE, SEARCH
from crossrec_cli.artifacts.store import Store
from crossrec_cli.config.load import load_config
from crossrec_cli.evaluation import metrics
from crossrec_cli.evaluation.significance import interval
from crossrec_cli.pipeline.current import inputs_of
from crossrec_cli.ranking.search_score import DEFAULT, Signals, Weights, Words, fit
from crossrec_cli.ranking.searcher import Searcher
from crossrec_cli.ranking.topk import Ranks, mid_ranks

KINDS = ("product type", "category", "two words", "misspelt")
RRF = 60
"""Reciprocal-rank fusion's constant, after Cormack et al. 2009, https://doi.org/10.1145/1571941.1572114."""


def query(text: str, kind: str, rng: np.random.Generator) -> str:
    """What somebody who wants this item might type."""
    parts = [part.strip().lower() for part in text.split(". ")]
    if kind == "category":
        return parts[min(1, len(parts) - 1)]
    if kind == "two words":
        words = re.findall(r"[a-z]{3,}", " ".join(parts))
        return " ".join(rng.choice(words, min(2, len(words)), replace=False))
    if kind == "product type":
        return parts[0]
    return re.sub(r"[a-z]{5,}", lambda word: _without_a_letter(word[0], rng), parts[0])


def _without_a_letter(word: str, rng: np.random.Generator) -> str:
    gone = int(rng.integers(1, len(word) - 1))
    return word[:gone] + word[gone + 1 :]


class SplitQueries:
    """The cases of a split as queries."""

    def __init__(self, searcher: Searcher, cases: dict[str, list[Any]], split: str, seed: int) -> None:
        rng = np.random.default_rng(seed)
        chosen = [row for row, name in enumerate(cases[c.SPLIT]) if name == split]
        column = {
            name: np.array(cases[name])[chosen].astype(np.int64)
            for name in (c.USER_INDEX, c.ITEM_INDEX, c.HISTORY_LENGTH)
        }
        self.searcher = searcher
        self.who, self.bought, self.given = column[c.USER_INDEX], column[c.ITEM_INDEX], column[c.HISTORY_LENGTH]
        self.kind = rng.choice(KINDS, len(self.who))
        texts = searcher.dataset.items[c.TEXT]
        pairs = zip(self.bought, self.kind, strict=True)
        self.queries = [query(texts[int(item)].as_py(), str(kind), rng) for item, kind in pairs]

    def signals(self) -> Iterator[tuple[Signals, Tensor]]:
        """The parts of the score, and what was bought."""
        for part in self.searcher.chunks(len(self.who)):
            given = self.searcher.dataset.histories.items.take(self.who[part], self.given[part])
            logits = self.searcher.interest_of(given, self.searcher.tags(self.who[part]))
            yield self.searcher.signals(self.queries[part], logits), torch.from_numpy(self.bought[part])


def fused(*parts: Tensor) -> Tensor:
    """Reciprocal-rank fusion."""
    ranks = [(-part).argsort(dim=1).argsort(dim=1).float() for part in parts]
    return torch.stack([1 / (RRF + 1 + rank) for rank in ranks]).sum(dim=0)


def measure(run_dir: str, config_path: Path, overrides: list[str]) -> dict[str, dict[str, np.ndarray]]:
    """NDCG@10 of every test case by method and kind of query."""
    trained = Store(Path(run_dir)).current(FINETUNE)
    if trained is None:
        raise SystemExit(f"{run_dir}: no finetune artifact; run 'crossrec finetune' first")
    seed = trained.manifest.seed
    config = load_config(config_path, [*overrides, f"run_dir={run_dir}", f"seed={seed}"])
    inputs = inputs_of(config, SEARCH)
    items = parquet.read_table(inputs["preprocess/items.parquet"], [c.ITEM_ID, c.TEXT]).to_pylist()
    searcher = Searcher(config, inputs, Words.of([f"{row[c.TEXT]} {row[c.ITEM_ID]}" for row in items]), DEFAULT)
    cases = parquet.read_table(inputs_of(config, EVALUATE)[CASES]).to_pydict()
    parts, truth = zip(*SplitQueries(searcher, cases, c.VALID, seed).signals(), strict=True)
    few = np.random.default_rng(seed).permutation(sum(map(len, truth)))[:800]
    every = Signals.joined(parts)
    sample, bought = Signals(every.meaning[few], every.words[few], every.interest[few]), torch.cat(truth)[few].numpy()
    text_only = replace(sample, interest=torch.zeros_like(sample.interest))
    methods = {
        "meaning alone": Weights(1, 0, 0),
        "words alone": Weights(0, 1, 0),
        "interest alone": Weights(0, 0, 1),
        "text, default": replace(DEFAULT, interest=0.0),
        "text, tuned": replace(fit(text_only, bought), interest=0.0),
        "all, default": DEFAULT,
        "all, tuned": fit(sample, bought),
    }
    del parts, every, sample, text_only
    for name in ("text, tuned", "all, tuned"):
        print(seed, name, *(f"{weight:.3f}" for weight in astuple(methods[name])), flush=True)
    ranks = defaultdict(list)
    asked = SplitQueries(searcher, cases, c.TEST, seed)
    for signals, bought_next in asked.signals():
        scores = {name: signals.score(weights) for name, weights in methods.items()}
        scores["text, rank fusion"] = fused(signals.meaning, signals.words)
        scores["all, rank fusion"] = fused(signals.meaning, signals.words, signals.interest)
        for name, score in scores.items():
            ranks[name].append(mid_ranks(score, torch.arange(len(bought_next)), bought_next)[0])
    n, none = len(asked.who), np.empty((0, 0), np.int64)
    each = {name: Ranks(np.arange(n), np.concatenate(parts), n, none) for name, parts in ranks.items()}
    ndcg = {name: metrics.per_case(of, [10])["ndcg@10"] for name, of in each.items()}
    return {name: {"all": of} | {kind: of[asked.kind == kind] for kind in KINDS} for name, of in ndcg.items()}


def main() -> None:
    """Print a table of means over the runs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    chosen = parser.parse_args()
    runs = [measure(run, chosen.config, chosen.overrides) for run in chosen.runs]
    print("| method | all |", " | ".join(KINDS), "| seeds |")
    for name in runs[0]:
        means = [np.mean([run[name][kind].mean() for run in runs]) for kind in ("all", *KINDS)]
        seeds = ", ".join(f"{run[name]['all'].mean():.4f}" for run in runs)
        print(f"| {name} |", " | ".join(f"{mean:.4f}" for mean in means), "|", seeds, "|")
    for name in ("text, tuned", "all, default", "all, rank fusion"):
        gain = np.mean([run["all, tuned"]["all"] - run[name]["all"] for run in runs], axis=0)
        low, high = interval(gain)
        print(f"all, tuned over {name}: {gain.mean():+.4f} ({low:+.4f} to {high:+.4f}), {len(gain):,} purchases")


if __name__ == "__main__":
    main()
