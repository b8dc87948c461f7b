import logging
from types import SimpleNamespace

import pytest
import torch

from blossomtune.federation.resources import Resources
from blossomtune.federation.server.evaluation_device import MEMORY_MARGIN, select_evaluation_device
from blossomtune.modeling.placement import compute_weight_bytes


@pytest.fixture
def select(build_run, monkeypatch):
    """Return a function (share, bases, base_dtype) -> device, for a GPU of so many bases."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)

    def select(share, bases, base_dtype="float32"):
        run = build_run(base_dtype=base_dtype)
        run = run.model_copy(update={"resources": Resources(gpus_per_client=share)})
        size = bases * MEMORY_MARGIN * compute_weight_bytes(run.paths.model, torch.float32)
        properties = SimpleNamespace(total_memory=int(size))
        monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: properties)
        return select_evaluation_device(run).type

    return select


def test_server_evaluates_on_the_cpu_where_clients_do(select):
    assert select(0, bases=9) == "cpu"


@pytest.mark.parametrize(("share", "bases"), [(1, 2), (0.5, 3), (0.1, 3), (2, 1.5)])
def test_server_shares_the_gpu_if_its_base_fits_beside_those_of_clients(
    select, caplog, share, bases
):
    """There are two clients, so more than two bases never share a GPU with the server's."""
    caplog.set_level(logging.WARNING)
    assert select(share, bases) == "cuda"
    assert caplog.messages == []
    assert select(share, bases - 0.1) == "cpu"
    assert "the server evaluates on the CPU" in caplog.text
    assert select(share, bases / 2, "bfloat16") == "cuda"
