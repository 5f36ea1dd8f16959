"""recommend: a ranked list of target items for every user."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor

from crossrec_cli import runtime
from crossrec_cli.artifacts import tables as t
from crossrec_cli.config.schema import Config, Rules
from crossrec_cli.errors import InputError
from crossrec_cli.interest.batches import Ints, Ragged
from crossrec_cli.interest.ensemble import Ensemble
from crossrec_cli.ranking.topk import Chunk, chunks, interest_scorer, top_k
from crossrec_cli.reporting import Reporter
from crossrec_cli.stages import FINETUNED, INTERACTIONS, RECOMMENDATIONS, Job, Summary
from crossrec_cli.stages.events import EVENTS, with_events
from crossrec_cli.stages.files import read_file
from crossrec_cli.stages.load import World, load_model, load_world
from crossrec_cli.stages.reasons import Why
from crossrec_cli.stages.rules import Shelf, bought_lately, load_shelf

ALL_USERS = "all"


def run(job: Job) -> Summary:
    """Score every target item for every user from all that the user did, and keep the best k that the rules allow."""
    config = job.config
    compute = runtime.prepare(config.runtime, config.seed)
    known = load_world(job.inputs)
    world, unknown = with_newest(config, known)
    if unknown:
        job.report.warn(f"recommend.events: {unknown:,} events are with items that are not in the data")
    model = load_model(job.inputs, FINETUNED, config.interest).to(compute.device)
    users = _chosen_users(world, config.recommend.users)
    shelf = shelf_of(config, job.inputs, known, world, model, job.report) if config.recommend.rules != Rules() else None
    lengths, items = world.histories.items.lengths[users], shelf.items if shelf else world.target_items
    learned = model.known()
    scorer, hide_seen = interest_scorer(model, items, learned), config.recommend.exclude_seen and not shelf
    why = Why.of(model, learned, world, config.recommend.reasons) if config.recommend.reasons else None
    schema = pa.schema([*t.RECOMMENDATIONS, *(t.WHY if why else ())])
    listed = []
    with (
        pq.ParquetWriter(job.output(RECOMMENDATIONS), schema, compression="zstd") as writer,
        job.report.progress("ranking", len(users), "users") as advance,
    ):
        for chunk in chunks(scorer, world.histories, users, lengths, items, hide_seen, advance):
            best = _ruled(shelf, chunk, users) if shelf else top_k(chunk, config.recommend.k)
            who, part = _rows(model, world, users[chunk.begin :][: len(chunk.scores)], items, *best, why)
            writer.write_table(part.cast(schema))
            listed.append(who)
    rows = np.concatenate([*listed, np.empty(0, np.int64)])
    told = shelf.summary() if shelf else {}
    return {"users": len(users), "recommendations": len(rows), "examples": _examples(world, np.unique(rows))} | told


def with_newest(config: Config, known: World) -> tuple[World, int]:
    """The world after recommend.events, and how many of these are with items that it does not know."""
    events = config.recommend.events
    return with_events(known, read_file(Path(events), "recommend.events", EVENTS)) if events else (known, 0)


def shelf_of(
    config: Config, inputs: Mapping[str, Path], known: World, world: World, model: Ensemble, report: Reporter
) -> Shelf:
    """What may be recommended, and to whom what may not; ``known`` is the world before recommend.events."""
    chosen, barred = config.recommend, world.histories.items
    if not chosen.exclude_seen:
        barred = Ragged(np.empty(0, np.int64), np.zeros_like(barred.lengths))
    elif chosen.rules.rebuy_after_days is not None:
        times = t.read_table(inputs[INTERACTIONS], [t.TIMESTAMP])[t.TIMESTAMP]
        barred = bought_lately(barred, known.histories.items, times, chosen.rules.rebuy_after_days)
    return load_shelf(chosen, world, barred, model, report)


def _ruled(shelf: Shelf, chunk: Chunk, users: Ints) -> tuple[Tensor, Tensor]:
    """The rules' lists as ``top_k`` gives them: scores and places (B, k), scores −inf where a list ends."""
    places = shelf.lists(chunk, users).places
    scores = chunk.scores.gather(1, places.clamp(min=0))
    return scores.masked_fill(places < 0, -torch.inf), places


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


def _rows(
    model: Ensemble, world: World, users: Ints, candidates: Ints, scores: Tensor, places: Tensor, why: Why | None
) -> tuple[Ints, pa.Table]:
    """Some users' lists (B, k) as rows of ``tables.RECOMMENDATIONS``, with their reasons, and each row's user index."""
    shown = (scores > -np.inf).numpy()  # a user who has bought nearly everything gets a shorter list
    who = np.broadcast_to(users[:, None], shown.shape)[shown]
    ranks = np.broadcast_to(np.arange(1, shown.shape[1] + 1), shown.shape)[shown]
    items = candidates[places.numpy()[shown]]
    probability = model.calibrated(scores.to(model.device)).detach().cpu().numpy()[shown]
    columns = {
        t.USER_ID: pc.take(world.users[t.USER_ID], who),
        t.RANK: ranks,
        t.ITEM_ID: pc.take(world.items[t.ITEM_ID], items),
        t.SCORE: probability,
        t.TEXT: pc.take(world.items[t.TEXT], items),
    }
    if why:
        reasons = why.of_lists(users, candidates[places.numpy()], shown)
        columns |= dict(zip(reasons.column_names, reasons.columns, strict=True))
    return who, pa.table(columns)
