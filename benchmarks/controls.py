"""Train some of transfer's controls, each once, and print a Markdown table that compares all that are trained.

    python benchmarks/controls.py benchmarks/amazon_beauty.yaml --into runs/controls --seeds 1 --controls crossrec
    python benchmarks/controls.py benchmarks/amazon_beauty.yaml --into runs/controls --seeds 1 --controls 'target alone'

``crossrec transfer`` trains all of them, one after the other. Here several processes can share the work, each with its
own controls or seeds; a killed process continues where it was. The controls in the folder are compared on the seeds
that all of them have. preprocess and pretrain-adapt have to be up to date, as for transfer.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossrec_cli.artifacts.files import TRANSFER
from crossrec_cli.artifacts.job import Job
from crossrec_cli.config.load import load_config
from crossrec_cli.evaluation.controls import CONTROLS, HR, NDCG, SCRATCH, Control, ControlData, Scores, row, train
from crossrec_cli.evaluation.segments import segments
from crossrec_cli.models.learner import Learner
from crossrec_cli.pipeline.current import inputs_of
from crossrec_cli.report.formatting import gain
from crossrec_cli.runtime import device
from crossrec_cli.runtime.progress import Silent


@dataclass
class Lines(Silent):
    """The messages of a training, line by line."""

    def log(self, message: str) -> None:
        """Print one message."""
        print(message, file=sys.stderr, flush=True)

    say = log


def main() -> None:
    """Read the command line, train what is not there yet, print the table."""
    parser = argparse.ArgumentParser(description="Train some of crossrec transfer's controls.")
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--controls", nargs="+", default=["target alone", "crossrec"])
    parser.add_argument("--into", type=Path, required=True, help="what each control scored")
    arguments = parser.parse_args()
    config = load_config(arguments.config, arguments.overrides)
    arguments.into.mkdir(parents=True, exist_ok=True)
    job = Job(config, inputs_of(config, TRANSFER), arguments.into, Lines(), arguments.into / "checkpoint")
    compute = device.prepare(config.runtime, config.seed)
    problem = ControlData.of(job, compute)
    for seed in arguments.seeds:
        for control in (one for one in CONTROLS if one.name in arguments.controls and one.texts in problem.embeddings):
            file = arguments.into / scored(seed, control)
            if not file.exists():
                job.report.say(f"seed {seed}, {control.name}")
                file.parent.mkdir(exist_ok=True)
                learner = Learner(config, seed, compute, job.report, file.with_suffix(".safetensors"))
                measured = train(control, learner, problem.for_control(control))
                columns: dict[str, Any] = {name: measured[name] for name in (HR, NDCG)}
                np.savez(file, user_index=problem.test.users, **columns)
    compare(problem, arguments.into)


def compare(problem: ControlData, folder: Path) -> None:
    """Print the means over the seeds that all have, and the gain over the target alone, user by user."""
    files = {
        control: {int(file.parent.name): file for file in folder.glob(scored("*", control))} for control in CONTROLS
    }
    there = {control: by_seed for control, by_seed in files.items() if by_seed}
    seeds = sorted(set.intersection(*map(set, there.values()))) if SCRATCH in there else []
    if not seeds:
        return
    scores: Scores = {
        control: {name: [np.load(by_seed[seed])[name] for seed in seeds] for name in (HR, NDCG)}
        for control, by_seed in there.items()
    }
    print(f"Seeds {', '.join(map(str, seeds))}.\n\n| users | n | trained | {NDCG} | {HR} | gain |")
    print("|---|---|---|---|---|---|")
    for segment, chosen in segments(problem.data.histories, problem.test).items():
        for control in there:
            result = row(control, segment, chosen, scores)
            means = f"{result[NDCG]:.4f} | {result[HR]:.4f}"
            print(f"| {segment} | {result['n']} | {control.name} | {means} | {gain(result)} |")


def scored(seed: int | str, control: Control) -> str:
    """The file that holds what a control scored, in the folder."""
    return f"{seed}/{control.name.replace(' ', '-')}.npz"


if __name__ == "__main__":
    main()
