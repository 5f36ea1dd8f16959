"""transfer: whether the source and the texts help the target, each compared with a control of the same budget."""

from __future__ import annotations

from crossrec_cli.artifacts import parquet, schemas
from crossrec_cli.artifacts.files import TRANSFER_TABLE
from crossrec_cli.artifacts.job import Job, Summary
from crossrec_cli.errors import ConfigError
from crossrec_cli.evaluation.controls import CONTROLS, HR, NDCG, ControlData, Scores, row, summary, train_once
from crossrec_cli.evaluation.segments import segments
from crossrec_cli.models.learner import Learner
from crossrec_cli.models.neural import neural_scorer
from crossrec_cli.runtime import device


def run(job: Job) -> Summary:
    """Train every control with every seed, and compare them user by user.

    Raises:
        ConfigError: if source and target are the same items.
    """
    config = job.config
    if config.domains.same:
        raise ConfigError(["domains.target: '*' is the whole catalogue, so there is no source to measure"])
    compute = device.prepare(config.runtime)
    control_data = ControlData.of(job, compute)
    trains = neural_scorer.NAME in config.interest.scorers
    controls = [
        control for control in CONTROLS if control.texts in control_data.embeddings and (trains or control.trains)
    ]
    scores: Scores = {control: {HR: [], NDCG: []} for control in controls}
    for seed in config.transfer.seeds:
        for number, control in enumerate(scores):
            job.report.say(f"seed {seed}, {control.name}")
            path = job.checkpoint.with_name(f"{job.checkpoint.stem}-{seed}-{number}.safetensors")
            learner = Learner(config, seed, compute, job.report, path)
            for name, values in train_once(control, learner, control_data).items():
                scores[control][name].append(values)
    parts = segments(control_data.data.histories, control_data.test)
    rows = [row(control, segment, parts[segment], scores) for segment in parts for control in scores]
    columns = {name: [line[name] for line in rows] for name in schemas.TRANSFER.names}
    parquet.write_table(job.output(TRANSFER_TABLE), schemas.TRANSFER, columns)
    return summary(rows)
