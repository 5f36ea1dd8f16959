"""Score the test with what needs no training by gradient: popularity, text cosine, EASE, beside a finished run.

    python benchmarks/baselines.py configs/complete_journey.yaml
    python benchmarks/baselines.py configs/complete_journey.yaml --target-alone

EASE's regularisation is chosen on validation among the values given.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from crossrec_cli.artifacts import tables as t
from crossrec_cli.artifacts.store import Store
from crossrec_cli.config.load import load_config
from crossrec_cli.config.schema import Config
from crossrec_cli.evaluation import metrics
from crossrec_cli.evaluation.baselines import ease_scorer, popularity_scorer, text_scorer
from crossrec_cli.evaluation.segments import segments
from crossrec_cli.interest.batches import Cases, Histories, load_cases
from crossrec_cli.ranking.topk import Scorer, interest_scorer, ranked
from crossrec_cli.stages import CASES, FINETUNED, INTERACTIONS, ITEM_TEXT, ITEMS, TAG_NAMES, USERS
from crossrec_cli.stages.load import World, load_embeddings, load_model, load_world

NAMES = [metrics.name("hr", 10), metrics.name("ndcg", 10)]


def main() -> None:
    """Read the command line, score, print the table."""
    parser = argparse.ArgumentParser(description="Score a run's test with baselines.")
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--l2", type=float, nargs="+", default=[100, 300, 1000, 3000])
    parser.add_argument("--target-alone", action="store_true", help="EASE on the target alone, for large catalogues")
    arguments = parser.parse_args()
    config = load_config(arguments.config, arguments.overrides)
    inputs = files(config)
    world = load_world(inputs)
    cases = {split: load_cases(t.read_table(inputs[CASES]), split) for split in (t.VALID, t.TEST)}
    target, parts = world.target_items, segments(world.histories, cases[t.TEST])
    print("| model | " + " | ".join(f"{part} ({int(chosen.sum())})" for part, chosen in parts.items()) + " |")
    print("|---|" + "---|" * len(parts))
    print_row("popularity", popularity_scorer(world.histories, target), world, cases[t.TEST], parts)
    print_row("text cosine", text_scorer(load_embeddings(inputs), target), world, cases[t.TEST], parts)
    everything = np.ones(len(world.histories.domain.is_target), bool)
    kinds = {"EASE, target alone": world.histories.domain.is_target}
    if not arguments.target_alone:
        kinds["EASE, all categories"] = everything
    for name, within in kinds.items():
        tried = {
            l2: ndcg(ease_scorer(world.histories, target, within, l2), world, cases[t.VALID]) for l2 in arguments.l2
        }
        best = max(tried, key=lambda l2: tried[l2])
        scorer = ease_scorer(world.histories, target, within, best)
        print_row(f"{name}, λ={best:g} by validation", scorer, world, cases[t.TEST], parts)
    if FINETUNED in inputs:
        scorer = interest_scorer(load_model(inputs, FINETUNED, config.interest), target)
        print_row("crossrec", scorer, world, cases[t.TEST], parts)


def files(config: Config) -> dict[str, Path]:
    """The run's current files, by stage/name."""
    store, found = Store(config.run_path), {}
    for file in (INTERACTIONS, ITEMS, USERS, CASES, ITEM_TEXT, TAG_NAMES, FINETUNED):
        artifact = store.current(file.partition("/")[0])
        if artifact:
            found[file] = artifact.file(file)
    return found


def scores(scorer: Scorer, world: World, cases: Cases) -> dict[str, metrics.Floats]:
    """Every metric of every case."""
    histories: Histories = world.histories
    return metrics.per_case(ranked(scorer, histories, cases, world.target_items, mask_seen=True), [10])


def ndcg(scorer: Scorer, world: World, cases: Cases) -> float:
    """NDCG@10."""
    return metrics.mean(scores(scorer, world, cases)[NAMES[1]])


def print_row(
    name: str, scorer: Scorer, world: World, cases: Cases, parts: dict[str, np.ndarray[tuple[int], np.dtype[np.bool_]]]
) -> None:
    """HR@10 and NDCG@10 in every segment, as a line of Markdown."""
    found = scores(scorer, world, cases)
    cells = [" / ".join(f"{metrics.mean(found[metric][chosen]):.4f}" for metric in NAMES) for chosen in parts.values()]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
