"""recommend: a ranked list of target items for every user."""

from __future__ import annotations

import torch

from crossrec_cli.artifacts.files import RECOMMENDATIONS
from crossrec_cli.artifacts.job import Job, Summary
from crossrec_cli.evaluation.drift import Drift, judged
from crossrec_cli.ranking.list_files import join_parts, write_part
from crossrec_cli.ranking.recommender import Recommender
from crossrec_cli.runtime import distributed

PART = 20_000
"""Users per part: a run that continues a killed one repeats at most one part."""


def run(job: Job) -> Summary:
    """Write all users' lists part by part; after a kill the next run continues after the last complete part."""
    recommender = Recommender(job.config, job.inputs, job.report)
    users = recommender.chosen_users()
    parts = [job.checkpoint.with_suffix(f".{begin:010d}.parquet") for begin in range(0, len(users), PART)]
    exists = torch.tensor([part.exists() for part in parts])
    distributed.from_leader([exists])
    with job.report.progress("ranking", len(users), "users") as advance:
        for number, part in enumerate(parts):
            users_of_part = users[number * PART :][:PART]
            shard = users_of_part[distributed.contiguous_shard(len(users_of_part))]
            if not exists[number]:
                write_part(part, recommender, recommender.lists(shard, advance))
            advance(len(users_of_part) if exists[number] else len(users_of_part) - len(shard))
    if not distributed.leads():
        return {}
    summary = {"users": len(users)} | join_parts(job, recommender, parts)
    if not job.earlier:
        return summary
    drift = Drift.of_lists(job.output(RECOMMENDATIONS), job.earlier.file(RECOMMENDATIONS))
    return summary | judged(drift, job.config.drift, job.report)
