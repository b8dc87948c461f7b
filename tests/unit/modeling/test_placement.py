from types import SimpleNamespace

import pytest
import torch

from blossomtune.errors import UserError
from blossomtune.modeling.load import load_model
from blossomtune.modeling.placement import (
    build_device_map,
    compute_weight_bytes,
    require_on_gpus,
)

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def gpus(monkeypatch):
    """Pretend GPUs of 10 and 20 GB."""
    sizes = {0: 10 * 10**9, 1: 20 * 10**9}
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: len(sizes))
    monkeypatch.setattr(
        "torch.cuda.get_device_properties",
        lambda device: SimpleNamespace(total_memory=sizes[device.index]),
    )


def test_weights_need_the_bytes_of_the_loaded_model(tiny_model):
    model = load_model(tiny_model, torch.bfloat16)
    held = sum(value.numel() * 2 for value in model.parameters())
    assert compute_weight_bytes(tiny_model, torch.bfloat16) == held
    assert compute_weight_bytes(tiny_model, torch.float32) == 2 * held
    assert compute_weight_bytes(tiny_model, torch.float32, "4bit") == held / 4


def test_a_base_that_fits_has_one_device(gpus):
    assert build_device_map(10**12, CPU, 1) == {"device_map": {"": "cpu"}}
    assert build_device_map(9 * 10**9, CUDA, 1) == {"device_map": {"": "cuda"}}


def test_a_larger_base_is_spread_with_room_for_activations(gpus):
    spread = {"device_map": "balanced", "max_memory": {0: 9 * 10**9, 1: 18 * 10**9}}
    assert build_device_map(16 * 10**9, CUDA, 2) == spread
    assert build_device_map(16 * 10**9, CUDA, 4) == spread  # there are no more


def test_a_base_beyond_all_gpus_is_rejected_with_the_sum(gpus):
    message = r"weights need 28\.0 GB, and 2 GPU\(s\) with 30\.0 GB take 27\.0 GB besides"
    with pytest.raises(UserError, match=message):
        build_device_map(28 * 10**9, CUDA, 2)
    with pytest.raises(UserError, match=r"9\.1 GB, and 1 GPU\(s\) with 10\.0 GB take 9\.0 GB"):
        build_device_map(91 * 10**8, CUDA, 1)


def test_layers_that_fit_on_no_gpu_are_rejected():
    require_on_gpus({"model.layers.0": 0, "model.layers.1": 1})
    with pytest.raises(UserError, match=r"1 layers do not fit on the GPUs, the first is lm_head"):
        require_on_gpus({"model.layers.0": 0, "model.layers.1": 1, "lm_head": "disk"})
