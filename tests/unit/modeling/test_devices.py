import pytest
import torch

from blossomtune.errors import UserError
from blossomtune.modeling import devices

CPU = torch.device("cpu")


def have(monkeypatch, *types):
    for name in devices.ACCELERATORS:
        available = name in types
        monkeypatch.setattr(f"torch.{name}.is_available", lambda available=available: available)
        monkeypatch.setattr(f"torch.{name}.device_count", lambda available=available: 2 * available)


@pytest.mark.parametrize(
    ("types", "expected", "count"),
    [((), "cpu", 0), (("mps",), "mps", 2), (("xpu",), "xpu", 2), (("xpu", "cuda"), "cuda", 2)],
)
def test_auto_prefers_an_accelerator(monkeypatch, types, expected, count):
    have(monkeypatch, *types)
    assert devices.select_device().type == expected
    assert devices.count_devices() == count


def test_the_cpu_can_be_chosen_beside_an_accelerator(monkeypatch):
    have(monkeypatch, "cuda")
    assert devices.select_device("cpu") == CPU
    assert devices.select_device("cuda").type == "cuda"


def test_a_missing_device_is_rejected_with_those_that_exist(monkeypatch):
    have(monkeypatch, "mps")
    with pytest.raises(UserError, match=r"evaluation\.device: there is no cuda .* finds mps, cpu"):
        devices.select_device("cuda")


def test_a_cpu_measures_and_limits_no_memory():
    devices.limit_memory(CPU, 0.5)
    devices.reset_peak_memory(CPU)
    devices.synchronize(CPU)
    devices.empty_cache()
    assert devices.get_peak_memory(CPU) == devices.get_reserved_memory(CPU) == 0


def test_the_peak_is_summed_over_accelerators(monkeypatch):
    have(monkeypatch, "cuda")
    peaks = [5, 3]
    monkeypatch.setattr("torch.cuda.reset_peak_memory_stats", lambda i: peaks.__setitem__(i, 1))
    monkeypatch.setattr("torch.cuda.max_memory_reserved", lambda i: peaks[i])
    assert devices.get_peak_memory(torch.device("cuda")) == 8
    devices.reset_peak_memory(torch.device("cuda"))
    assert devices.get_peak_memory(torch.device("cuda")) == 2


def test_a_dtype_that_a_device_lacks_is_rejected():
    """Integers stand for it: the CPU multiplies all types of floating point."""
    devices.require_dtype(torch.bfloat16, CPU)
    with pytest.raises(UserError, match=r"bits8 does not work on cpu: .*\n.*base_dtype"):
        devices.require_dtype(torch.bits8, CPU)
