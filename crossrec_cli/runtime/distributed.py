"""Several processes that do one stage together, as torchrun or ``crossrec run --nproc`` starts them.

The first of them leads: it alone holds the run directory, decides what runs, writes and speaks. The others wait for a
task, do their share of it, and hand in what they found.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any

from crossrec_cli.errors import CrossrecError

if TYPE_CHECKING:
    from torch import Tensor

PATIENCE = timedelta(days=7)
"""The others wait so long at most, as while the leader reads the raw files."""


class LostError(CrossrecError):
    """Another of the processes has ended, and with it the job."""


@dataclass
class _Team:
    """The processes that are at work together right now: this one alone, unless they were called."""

    rank: int = 0
    size: int = 1


_team = _Team()


def processes() -> int:
    """How many there are in the job, on all machines."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_processes() -> int:
    """How many of them are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def local_rank() -> int:
    """Which of this machine's processes this one is, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def rank() -> int:
    """Which of the job's processes this one is, from 0."""
    return int(os.environ.get("RANK", "0"))


def follows() -> bool:
    """Whether this process waits for tasks."""
    return processes() > 1 and rank() > 0


def join() -> None:
    """Meet the others, if there are any. Those who follow leave Ctrl-C and SIGTERM to the one who leads."""
    if processes() == 1:
        return
    import torch  # noqa: PLC0415  takes a second to import
    import torch.distributed as dist  # noqa: PLC0415

    if follows():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    with _peer_errors():
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)


@contextmanager
def together(task: object) -> Iterator[None]:
    """The leader calls the others to a task; within, ``strided_shard`` and the like speak of all."""
    _announce(task)
    with _at_work(0):
        yield


def shutdown() -> None:
    """The leader lets the others go."""
    _announce(None)
    _part()


def tasks() -> Iterator[Any]:
    """The tasks of a follower, one after the other; in a task ``strided_shard`` and the like count all processes."""
    while (task := _announce(None)) is not None:
        with _at_work(rank()):
            yield task
    _part()


def _part() -> None:
    """All have heard what there was to hear, and hang up: Python would end the connection's threads in their midst."""
    if processes() == 1:
        return
    import torch  # noqa: PLC0415
    import torch.distributed as dist  # noqa: PLC0415

    with _peer_errors():
        dist.all_reduce(torch.zeros(1))  # a barrier would meet on GPUs, where there are any, though nobody may use them
        dist.destroy_process_group()


def _announce(task: object) -> Any:
    """The leader's task, to all."""
    if processes() == 1:
        return task
    import torch  # noqa: PLC0415
    import torch.distributed as dist  # noqa: PLC0415

    box = [task]
    with _peer_errors():
        dist.broadcast_object_list(box, device=torch.device("cpu"))
    return box[0]


@contextmanager
def _at_work(place: int) -> Iterator[None]:
    _team.rank, _team.size = place, processes()
    try:
        yield
    finally:
        _team.rank, _team.size = 0, 1


@contextmanager
def single_process() -> Iterator[None]:
    """What one process does for all, while they are at work together."""
    before = _team.rank, _team.size
    _team.rank, _team.size = 0, 1
    try:
        yield
    finally:
        _team.rank, _team.size = before


def leads() -> bool:
    """Whether it is for this process to write."""
    return _team.rank == 0


def strided_shard() -> slice:
    """This process's share of any sequence that all of them have."""
    return slice(_team.rank, None, _team.size)


def contiguous_shard(length: int) -> slice:
    """This process's share of a sequence of that length, of neighbours."""
    return slice(length * _team.rank // _team.size, length * (_team.rank + 1) // _team.size)


def in_order(found: Iterator[Any]) -> Iterator[Any]:
    """What all processes found, one process after the other, for the leader; nothing for the others."""
    if _team.size == 1:
        yield from found
    else:
        yield from chain.from_iterable(gather(list(found)))


def add(tensors: Iterable[Tensor]) -> None:
    """In place, the sums over all processes, each of which has as many tensors of the same shapes."""
    if _team.size == 1:
        return
    import torch.distributed as dist  # noqa: PLC0415

    with _peer_errors():
        for tensor in tensors:
            dist.all_reduce(tensor)


def add_gradients(parameters: Iterable[Tensor]) -> None:
    """In place, the sums of gradients; a parameter that no process has a gradient of stays without."""
    if _team.size == 1:
        return
    import torch  # noqa: PLC0415

    learned = [parameter for parameter in parameters if parameter.requires_grad]
    has = torch.tensor([parameter.grad is not None for parameter in learned], dtype=torch.int32)
    add([has])
    known = [parameter for parameter, some in zip(learned, has.tolist(), strict=True) if some]
    if not known:
        return
    of_each = [torch.zeros_like(one) if one.grad is None else one.grad for one in known]
    flat = torch.cat([gradient.flatten() for gradient in of_each])  # one message, where each would take its time
    add([flat])
    for parameter, sums in zip(known, torch.split(flat, [one.numel() for one in known]), strict=True):
        parameter.grad = sums.view_as(parameter)


def from_leader(tensors: Iterable[Tensor]) -> None:
    """In place, what the leader has."""
    if _team.size == 1:
        return
    import torch.distributed as dist  # noqa: PLC0415

    with _peer_errors():
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def gather(found: Any) -> list[Any]:
    """What each process found, in their order, for the leader; nothing for the others."""
    if _team.size == 1:
        return [found]
    import torch.distributed as dist  # noqa: PLC0415

    all_found: list[Any] | None = [None] * _team.size if leads() else None
    with _peer_errors():
        dist.gather_object(found, all_found)
    return all_found or []


@contextmanager
def _peer_errors() -> Iterator[None]:
    """Talking to the others.

    Raises:
        LostError: if one of them is gone.
    """
    try:
        yield
    except (RuntimeError, ConnectionError):
        raise LostError(f"another of the {processes()} processes has ended, and with it the job") from None
