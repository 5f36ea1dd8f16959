"""The device, the precision, the threads, and the seeds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from crossrec_cli.config.schema import Runtime
from crossrec_cli.errors import ConfigError, UnavailableError
from crossrec_cli.runtime import distributed

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Compute:
    """A device and the precision of its matrix products."""

    device: torch.device
    dtype: torch.dtype

    def autocast(self) -> torch.autocast:
        """A context in which matrix products run in ``dtype``; float32 changes nothing."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32)


def prepare(runtime: Runtime, seed: int | None = None) -> Compute:
    """Pick the device, set threads and, where something is drawn, the seed; ask torch for repeatable kernels.

    Raises:
        UnavailableError: if the device is not there, or cannot compute in the precision.
    """
    torch.set_num_threads(runtime.num_threads or max(threads() // distributed.local_processes(), 1))
    if seed is not None:
        torch.manual_seed(seed)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is repeatable only with a fixed workspace
    torch.set_deterministic_debug_mode("warn")  # use_deterministic_algorithms imports torch's compiler: 1.4 s
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # nothing here reads it
    device = torch.device(_device(_of_this_process(runtime.device)))
    return Compute(device, _dtype(runtime.precision, device))


@contextmanager
def memory_or(lower: str, key: str = "") -> Iterator[None]:
    """Turn out-of-memory errors, of the GPU or the machine, into advice on what to lower.

    Args:
        lower: the advice.
        key: the config field that it is about, if it is one.

    Raises:
        ConfigError: in place of the errors of torch, numpy and Python.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "memory" not in str(error):
            raise  # on a CPU torch raises a RuntimeError with "memory" in its message
        why = str(error).partition("\n")[0][:120] or "none left"
        raise ConfigError([f"{key and key + ': '}out of memory: {why}; {lower}"]) from None


def cores() -> int:
    """The number of cores that this process may use; on macOS, of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """The number in ``OMP_NUM_THREADS`` if there is one, else the number of cores."""
    number = os.environ.get("OMP_NUM_THREADS", "")
    return int(number) if number.isdecimal() and int(number) else cores()


def available_devices() -> list[str]:
    """The devices of this machine, as the config names them."""
    devices = ["cpu"]
    if torch.cuda.is_available():
        devices += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return devices


def _of_this_process(devices: tuple[str, ...]) -> str:
    """The device of this process: each takes one of several named devices, or else one of all GPUs.

    Raises:
        UnavailableError: if there are more processes than named devices.
    """
    rank, processes = distributed.local_rank(), distributed.local_processes()
    if len(devices) == 1:
        several = processes > 1 and devices[0] in ("auto", "cuda") and torch.cuda.device_count() > 1
        return f"cuda:{rank}" if several else devices[0]
    if rank >= len(devices):
        raise UnavailableError(f"runtime.device: {processes} processes, and only {len(devices)} devices named")
    return devices[rank]


def _device(name: str) -> str:
    available = available_devices()
    if name == "auto":
        return next((device for device in ("cuda", "mps") if device in available), "cpu")
    if name not in available:
        raise UnavailableError(f"runtime.device: there is no '{name}' here; there is {', '.join(available)}")
    return name


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    if precision == "auto":
        precision = best_precision(device)
    elif precision == "fp16" and device.type == "cpu":
        raise UnavailableError("runtime.precision: a CPU has no fast fp16; use bf16 or fp32")
    elif precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise UnavailableError("runtime.precision: this GPU cannot compute in bf16; use fp16 or fp32")
    return _DTYPES[precision]


def best_precision(device: torch.device) -> str:
    """What ``runtime.precision: auto`` means on a device: bf16 if that is fast."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported():
        return "bf16"  # all-MiniLM-L6-v2 encodes 1.8 times as many texts a second with it on such a processor
    return "fp32"
