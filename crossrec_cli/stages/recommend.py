"""recommend: a ranked list of target items for every user."""

from __future__ import annotations

import numpy as np
import torch

from crossrec_cli.artifacts.job import Job, Summary
from crossrec_cli.models.ragged import Ints
from crossrec_cli.ranking.list_files import join_parts, write_part
from crossrec_cli.ranking.recommender import ALL_USERS, Recommender
from crossrec_cli.runtime import distributed

PART = 20_000
"""Users whose lists are kept at once for a run to go on from if this one is killed."""


def run(job: Job) -> Summary:
    """Write everybody's list part by part; a run that was killed goes on after its last whole part."""
    recommender = Recommender(job.config, job.inputs, job.report)
    users = _chosen_users(recommender, job.config.recommend.users)
    parts = [job.checkpoint.with_suffix(f".{begin:010d}.parquet") for begin in range(0, len(users), PART)]
    there = torch.tensor([part.exists() for part in parts])
    distributed.from_leader([there])
    with job.report.progress("ranking", len(users), "users") as advance:
        for number, part in enumerate(parts):
            of_part = users[number * PART :][:PART]
            mine = of_part[distributed.contiguous_shard(len(of_part))]
            if not there[number]:
                write_part(part, recommender, recommender.lists(mine, advance))
            advance(len(of_part) if there[number] else len(of_part) - len(mine))
    if not distributed.leads():
        return {}
    return {"users": len(users)} | join_parts(job, recommender, parts)


def _chosen_users(recommender: Recommender, wanted: tuple[str, ...]) -> Ints:
    """Indices of the users to serve, in the users table's order."""
    if wanted == (ALL_USERS,):
        return np.arange(recommender.dataset.users.num_rows)
    return np.unique(recommender.users(wanted, "recommend.users"))
