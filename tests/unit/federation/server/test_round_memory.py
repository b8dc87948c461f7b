"""Test that a round holds few replies, and few of their tensors, in memory at once."""

import gc
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
from many_clients import ManyClientsGrid, build_adapter, build_runner

from blossomtune.federation.server import aggregate_pieces, tensor_spool

NUM_CLIENTS, NUM_LAYERS, SIZE = 16, 16, 256
LAYER_BYTES = 32 * SIZE
REPLY_BYTES = NUM_LAYERS * LAYER_BYTES


class LiveBytes:
    """Bytes of arrays that are in use, and their peak."""

    def __init__(self):
        self.now = self.peak = 0

    def add(self, array, size):
        """Count bytes until an object is deleted."""
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(array, self.remove, size)

    def remove(self, size):
        self.now -= size


@pytest.fixture
def read_bytes(monkeypatch):
    """Count the arrays that are read from the disk."""
    live = LiveBytes()

    def empty(*args):
        array = np.empty(*args)
        live.add(array, array.nbytes)
        return array

    numpy = SimpleNamespace(empty=empty, float32=np.float32, memmap=np.memmap)
    monkeypatch.setattr(tensor_spool, "np", numpy)
    return live


@pytest.fixture
def reply_bytes(monkeypatch):
    """Count the arrays of replies."""
    live, train = LiveBytes(), ManyClientsGrid.train

    def count(grid, client):
        gc.collect()
        content = train(grid, client)
        for array in content["adapter"].values():
            live.add(array, len(array.data))
        return content

    monkeypatch.setattr(ManyClientsGrid, "train", count)
    return live


@pytest.mark.parametrize(
    "federation",
    [
        {},
        {"aggregation": "flora"},
        {"aggregation": "flexlora"},
        {"strategy": "fedmedian"},
        {"strategy": "krum"},
        {"privacy": {}},
    ],
)
def test_a_round_holds_few_replies_and_one_layer_of_all_clients(
    federation, read_bytes, reply_bytes, tmp_path, monkeypatch
):
    monkeypatch.setattr(aggregate_pieces, "MAX_ELEMENTS", NUM_CLIENTS * LAYER_BYTES // 4)
    adapter = build_adapter(NUM_LAYERS, SIZE)
    build_runner(NUM_CLIENTS, adapter, tmp_path, **federation).run_round(1)
    assert reply_bytes.peak < 4 * REPLY_BYTES < NUM_CLIENTS * REPLY_BYTES
    assert LAYER_BYTES <= read_bytes.peak <= 3 * NUM_CLIENTS * LAYER_BYTES
