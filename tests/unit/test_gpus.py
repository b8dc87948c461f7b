"""What GPUs are called, and how busy they were."""

import pynvml
import pytest

from blossomtune.gpus import (
    GpuSampler,
    build_gpu_environment,
    list_visible_gpus,
    parse_visible_devices,
    summarize_samples,
)


@pytest.mark.parametrize(
    ("given", "count", "found"),
    [
        (None, 2, ["0", "1"]),
        ("3,1", 2, ["3", "1"]),
        ("GPU-5c, GPU-a0", 2, ["GPU-5c", "GPU-a0"]),
        ("0,-1,1", 1, ["0"]),
        ("", 0, []),
    ],
)
def test_gpus_are_called_what_the_variable_calls_them(given, count, found):
    assert parse_visible_devices(given, count) == found


def test_where_the_variable_is_empty_there_is_no_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert list_visible_gpus() == []


def test_the_order_goes_with_the_number(monkeypatch):
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    assert build_gpu_environment("1") == {"CUDA_VISIBLE_DEVICES": "1"}
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert build_gpu_environment("1") == {
        "CUDA_VISIBLE_DEVICES": "1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }


def test_a_gpu_over_some_time():
    total = 80 * 10**9
    samples = [(0, 10**9, total), (100, 12 * 10**9, total), (50, 3 * 10**9, total)]
    assert summarize_samples("H100", samples) == {
        "name": "H100",
        "utilization": 50,
        "memory_mb": 12_000,
        "memory_total_mb": 80_000,
    }


def test_without_the_drivers_library_nothing_is_seen_and_that_is_said(capfd):
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        with GpuSampler(["0"]) as sampler:
            sampler._thread.join()
        assert sampler.collect_usage() == []
        assert capfd.readouterr().out == "GPUs are not watched: NVML Shared Library Not Found\n"
    else:
        with GpuSampler(["0"]) as sampler:
            pass
        [seen] = sampler.collect_usage()
        assert 0 < seen["memory_total_mb"] >= seen["memory_mb"]
        assert sampler.collect_usage() == []


def test_no_gpus_are_not_asked_for(capfd):
    with GpuSampler([]) as sampler:
        pass
    assert sampler.collect_usage() == []
    assert capfd.readouterr().out == ""
