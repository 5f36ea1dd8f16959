import pytest
import torch
from conftest import needs_gpu
from facts import fails

from crossrec_cli.config.schema import Runtime
from crossrec_cli.errors import ConfigError, UnavailableError
from crossrec_cli.runtime.device import available_devices, cores, memory_or, prepare, threads


def test_cpu_precision_follows_the_processor():
    compute = prepare(Runtime(device="cpu"), 0)
    fast = torch.cpu._is_avx512_bf16_supported()
    assert compute.dtype is (torch.bfloat16 if fast else torch.float32)
    assert prepare(Runtime(device="cpu", precision="fp32"), 0).dtype is torch.float32


def test_autocast_really_computes_in_the_precision():
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with prepare(Runtime(device="cpu", precision=precision), 0).autocast():
            assert (torch.ones(4, 4) @ torch.ones(4, 4)).dtype is dtype


def test_threads_and_seed_are_set():
    prepare(Runtime(num_threads=1), 3)
    assert torch.get_num_threads() == 1
    first = torch.rand(1)
    prepare(Runtime(num_threads=1), 3)
    assert torch.equal(torch.rand(1), first)


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "mps"])
def test_a_device_that_is_not_there_is_told_with_what_is(device):
    if device in available_devices():
        pytest.skip(f"{device} is there")
    with fails(UnavailableError, "runtime.device", f"'{device}'", *available_devices()):
        prepare(Runtime(device=device), 0)


@needs_gpu
def test_auto_picks_the_gpu():
    assert prepare(Runtime(), 0).device.type == "cuda"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried 20 GiB\nSee the documentation"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_every_lack_of_memory_is_one_line_with_what_to_lower(error):
    reason = str(error).splitlines()[:1]  # of several lines the first
    with fails(ConfigError, "encoder.batch_size", *reason, "lower it"), memory_or("lower it", key="encoder.batch_size"):
        raise error


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="shapes"), memory_or("lower it"):
        raise RuntimeError("shapes differ")


def test_as_many_threads_as_openmp_is_given(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    assert threads() == cores()
