"""Several processes that run one stage together, as torchrun or ``crossrec run --nproc`` starts them.

The first of them is the leader: only it locks the run directory, decides what runs, writes files and messages. The
others wait for a task, do their share of it, and send their results to the leader.
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
"""How long processes wait for each other at most, for example while the leader reads the raw files."""


class LostError(CrossrecError):
    """Another process of the job has ended, so the job cannot go on."""


@dataclass
class _Team:
    """The processes that work together now: only this one, except during a task."""

    rank: int = 0
    size: int = 1


_team = _Team()


def processes() -> int:
    """The number of processes in the job, on all machines."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_processes() -> int:
    """The number of processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def local_rank() -> int:
    """The number of this process among those of this machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def rank() -> int:
    """The number of this process among those of the job, from 0."""
    return int(os.environ.get("RANK", "0"))


def follows() -> bool:
    """Whether this process waits for tasks."""
    return processes() > 1 and rank() > 0


def join() -> None:
    """Connect to the other processes, if there are any. Only the leader then handles Ctrl-C and SIGTERM."""
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
    """The leader starts a task on all processes; inside, ``strided_shard`` and the like count all of them."""
    _announce(task)
    with _at_work(0):
        yield


def shutdown() -> None:
    """The leader ends the other processes."""
    _announce(None)
    _disconnect()


def tasks() -> Iterator[Any]:
    """The tasks of a follower, one after the other; in a task ``strided_shard`` and the like count all processes."""
    while (task := _announce(None)) is not None:
        with _at_work(rank()):
            yield task
    _disconnect()


def _disconnect() -> None:
    """Wait until all have received the last message, then close: Python would kill the connection's threads at work."""
    if processes() == 1:
        return
    import torch  # noqa: PLC0415
    import torch.distributed as dist  # noqa: PLC0415

    with _peer_errors():
        dist.all_reduce(torch.zeros(1))  # a barrier would use the GPUs, even if the job does not
        dist.destroy_process_group()


def _announce(task: object) -> Any:
    """Send the leader's task to all processes, and return it."""
    if processes() == 1:
        return task
    import torch  # noqa: PLC0415
    import torch.distributed as dist  # noqa: PLC0415

    box = [task]
    with _peer_errors():
        dist.broadcast_object_list(box, device=torch.device("cpu"))
    return box[0]


@contextmanager
def _at_work(rank_in_team: int) -> Iterator[None]:
    _team.rank, _team.size = rank_in_team, processes()
    try:
        yield
    finally:
        _team.rank, _team.size = 0, 1


@contextmanager
def single_process() -> Iterator[None]:
    """Inside, ``strided_shard`` and the like count this process only, during a task of all."""
    before = _team.rank, _team.size
    _team.rank, _team.size = 0, 1
    try:
        yield
    finally:
        _team.rank, _team.size = before


def leads() -> bool:
    """Whether this process writes files."""
    return _team.rank == 0


def strided_shard() -> slice:
    """This process's share of a sequence: every n-th element."""
    return slice(_team.rank, None, _team.size)


def contiguous_shard(length: int) -> slice:
    """This process's share of a sequence of that length: one block."""
    return slice(length * _team.rank // _team.size, length * (_team.rank + 1) // _team.size)


def in_order(results: Iterator[Any]) -> Iterator[Any]:
    """The results of all processes, one process after the other, for the leader; nothing for the others."""
    if _team.size == 1:
        yield from results
    else:
        yield from chain.from_iterable(gather(list(results)))


def add(tensors: Iterable[Tensor]) -> None:
    """Sum tensors over all processes, in place; each process has the same number, of the same shapes."""
    if _team.size == 1:
        return
    import torch.distributed as dist  # noqa: PLC0415

    with _peer_errors():
        for tensor in tensors:
            dist.all_reduce(tensor)


def add_gradients(parameters: Iterable[Tensor]) -> None:
    """Sum gradients over all processes, in place; a parameter without a gradient on any process stays without."""
    if _team.size == 1:
        return
    import torch  # noqa: PLC0415

    learned = [parameter for parameter in parameters if parameter.requires_grad]
    has = torch.tensor([parameter.grad is not None for parameter in learned], dtype=torch.int32)
    add([has])
    with_gradient = [parameter for parameter, some in zip(learned, has.tolist(), strict=True) if some]
    if not with_gradient:
        return
    of_each = [torch.zeros_like(one) if one.grad is None else one.grad for one in with_gradient]
    flat = torch.cat([gradient.flatten() for gradient in of_each])  # one message is faster than many
    add([flat])
    for parameter, sums in zip(with_gradient, torch.split(flat, [one.numel() for one in with_gradient]), strict=True):
        parameter.grad = sums.view_as(parameter)


def from_leader(tensors: Iterable[Tensor]) -> None:
    """Copy the leader's tensors to all processes, in place."""
    if _team.size == 1:
        return
    import torch.distributed as dist  # noqa: PLC0415

    with _peer_errors():
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def gather(result: Any) -> list[Any]:
    """The result of each process, in their order, for the leader; nothing for the others."""
    if _team.size == 1:
        return [result]
    import torch.distributed as dist  # noqa: PLC0415

    results: list[Any] | None = [None] * _team.size if leads() else None
    with _peer_errors():
        dist.gather_object(result, results)
    return results or []


@contextmanager
def _peer_errors() -> Iterator[None]:
    """Turn errors of the connection into ``LostError``.

    Raises:
        LostError: if another process has ended.
    """
    try:
        yield
    except (RuntimeError, ConnectionError):
        raise LostError(f"another of the {processes()} processes has ended, so the job cannot go on") from None
