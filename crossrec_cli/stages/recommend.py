"""recommend: a ranked list of target items for every user."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crossrec_cli import runtime
from crossrec_cli.artifacts import tables as t
from crossrec_cli.errors import InputError
from crossrec_cli.interest.batches import Ints
from crossrec_cli.interest.ensemble import Ensemble
from crossrec_cli.ranking.topk import Chunk, chunks, interest_scorer, top_k
from crossrec_cli.stages import FINETUNED, RECOMMENDATIONS, Job, Summary
from crossrec_cli.stages.events import EVENTS, with_events
from crossrec_cli.stages.files import read_file
from crossrec_cli.stages.load import World, load_model, load_world
from crossrec_cli.stages.reasons import Why

ALL_USERS = "all"


def run(job: Job) -> Summary:
    """Score every target item for every user from all that the user did, and keep the best k."""
    config = job.config
    compute = runtime.prepare(config.runtime, config.seed)
    world = load_world(job.inputs)
    if config.recommend.events:
        world, unknown = with_events(world, read_file(Path(config.recommend.events), "recommend.events", EVENTS))
        if unknown:
            job.report.warn(f"recommend.events: {unknown:,} events are with items that are not in the data")
    model = load_model(job.inputs, FINETUNED, config.interest).to(compute.device)
    users = _chosen_users(world, config.recommend.users)
    lengths, items = world.histories.items.lengths[users], world.target_items
    known = model.known()
    scorer, hide_seen = interest_scorer(model, items, known), config.recommend.exclude_seen
    why = Why.of(model, known, world, config.recommend.reasons) if config.recommend.reasons else None
    schema = pa.schema([*t.RECOMMENDATIONS, *(t.WHY if why else ())])
    listed = []
    with (
        pq.ParquetWriter(job.output(RECOMMENDATIONS), schema, compression="zstd") as writer,
        job.report.progress("ranking", len(users), "users") as advance,
    ):
        for chunk in chunks(scorer, world.histories, users, lengths, items, hide_seen, advance):
            who, part = _lists(model, world, users, chunk, config.recommend.k, why)
            writer.write_table(part.cast(schema))
            listed.append(who)
    rows = np.concatenate([*listed, np.empty(0, np.int64)])
    return {"users": len(users), "recommendations": len(rows), "examples": _examples(world, np.unique(rows))}


def _chosen_users(world: World, wanted: tuple[str, ...]) -> Ints:
    """Indices of the users to serve, in the users table's order."""
    if wanted == (ALL_USERS,):
        return np.arange(world.users.num_rows)
    place = {user: index for index, user in enumerate(world.users[t.USER_ID].to_pylist())}
    if unknown := [user for user in wanted if user not in place]:
        raise InputError(f"recommend.users: no user '{unknown[0]}' in the data")
    return np.array(sorted(place[user] for user in set(wanted)), dtype=np.int64)


def _examples(world: World, users: Ints) -> dict[str, str]:
    """The first user of each kind, to be shown."""
    bought = world.histories.items.take(users)
    in_target = bought.where(world.histories.domain.is_target[bought.values]).lengths
    kinds = {
        "bought in the target before": in_target > 0,
        "bought in the source alone": (in_target == 0) & (bought.lengths > 0),
        "bought nothing yet": bought.lengths == 0,
    }
    return {kind: world.users[t.USER_ID][int(users[mask][0])].as_py() for kind, mask in kinds.items() if mask.any()}


def _lists(model: Ensemble, world: World, users: Ints, chunk: Chunk, k: int, why: Why | None) -> tuple[Ints, pa.Table]:
    """One chunk's lists as rows of ``tables.RECOMMENDATIONS``, with their reasons, and each row's user index."""
    scores, places = top_k(chunk, k)
    shown = (scores > -np.inf).numpy()  # a user who has bought nearly everything gets a shorter list
    chunk_users = np.arange(chunk.begin, chunk.begin + len(scores))
    who = np.broadcast_to(users[chunk_users][:, None], shown.shape)[shown]
    ranks = np.broadcast_to(np.arange(1, shown.shape[1] + 1), shown.shape)[shown]
    items = world.target_items[places.numpy()[shown]]
    probability = model.calibrated(scores.to(model.device)).detach().cpu().numpy()[shown]
    columns = {
        t.USER_ID: pc.take(world.users[t.USER_ID], who),
        t.RANK: ranks,
        t.ITEM_ID: pc.take(world.items[t.ITEM_ID], items),
        t.SCORE: probability,
        t.TEXT: pc.take(world.items[t.TEXT], items),
    }
    if why:
        reasons = why.of_lists(users[chunk_users], world.target_items[places.numpy()], shown)
        columns |= dict(zip(reasons.column_names, reasons.columns, strict=True))
    return who, pa.table(columns)
