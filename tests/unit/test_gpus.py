"""Tests of GPU names and samples."""

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
    ("value", "count", "expected"),
    [
        (None, 2, ["0", "1"]),
        ("3,1", 2, ["3", "1"]),
        ("GPU-5c, GPU-a0", 2, ["GPU-5c", "GPU-a0"]),
        ("0,-1,1", 1, ["0"]),
        ("", 0, []),
    ],
)
def test_gpus_have_the_names_of_the_variable(value, count, expected):
    assert parse_visible_devices(value, count) == expected


def test_empty_variable_means_no_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert list_visible_gpus() == []


def test_device_order_is_passed_on_with_the_index(monkeypatch):
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    assert build_gpu_environment("1") == {"CUDA_VISIBLE_DEVICES": "1"}
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert build_gpu_environment("1") == {
        "CUDA_VISIBLE_DEVICES": "1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }


def test_samples_become_mean_utilization_and_peak_memory():
    total = 80 * 10**9
    samples = [(0, 10**9, total), (100, 12 * 10**9, total), (50, 3 * 10**9, total)]
    assert summarize_samples("H100", samples).model_dump() == {
        "name": "H100",
        "utilization": 50,
        "memory_mb": 12_000,
        "memory_total_mb": 80_000,
    }


def test_missing_driver_library_is_logged(caplog):
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        with GpuSampler(["0"]) as sampler:
            sampler._thread.join()
        assert sampler.collect_usage() == []
        assert caplog.messages == ["GPUs are not watched: NVML Shared Library Not Found"]
    else:
        with GpuSampler(["0"]) as sampler:
            pass
        [usage] = sampler.collect_usage()
        assert 0 < usage["memory_total_mb"] >= usage["memory_mb"]
        assert sampler.collect_usage() == []


def test_no_gpus_need_no_driver(caplog):
    with GpuSampler([]) as sampler:
        pass
    assert sampler.collect_usage() == []
    assert caplog.messages == []
