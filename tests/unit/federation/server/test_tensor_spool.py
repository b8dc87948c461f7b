"""Tests of tensors in a temporary file."""

import os
from pathlib import Path

import pytest
import safetensors.torch
import torch

from blossomtune.errors import UserError
from blossomtune.federation.server import tensor_spool
from blossomtune.federation.server.tensor_spool import TensorSpool

STATE = {
    "b": torch.randn(3, 5),
    "a": torch.randn(5, 3).T,
    "scalar": torch.tensor(float("inf")),
    "empty": torch.empty(0, 4),
}


def test_tensors_are_read_as_they_were_written(tmp_path):
    with TensorSpool(tmp_path) as spool:
        first, second = spool.write(STATE.items()), spool.write([("a", torch.ones(2))])
        assert list(first) == list(STATE)
        assert all(torch.equal(first[n], t) and first[n].shape == t.shape for n, t in STATE.items())
        assert torch.equal(second["a"], torch.ones(2))
        assert "a" in first
        assert "c" not in first
        with pytest.raises(KeyError):
            first["c"]


def test_changes_of_a_tensor_are_not_written(tmp_path):
    with TensorSpool(tmp_path) as spool:
        state = spool.write(STATE.items())
        state["b"].zero_()
        assert torch.equal(state["b"], STATE["b"])


def test_file_is_gone_even_if_the_process_is_killed(tmp_path):
    spool = TensorSpool(tmp_path)
    spool.write(STATE.items())
    assert list(tmp_path.iterdir()) == []
    before = os.fstat(spool._file.fileno()).st_nlink
    spool.__exit__(None, None, None)
    assert before == 0


def test_full_disk_is_a_user_error(tmp_path, monkeypatch):
    full = Path("/dev/full")
    monkeypatch.setattr(tensor_spool.tempfile, "TemporaryFile", lambda dir: full.open("wb"))
    spool = TensorSpool(tmp_path)
    with pytest.raises(UserError, match=r"cannot be written below .*: No space left on device"):
        spool.write([("a", torch.ones(10_000))])


def test_parts_of_a_tensor_are_read(tmp_path):
    with TensorSpool(tmp_path) as spool:
        state = spool.write(STATE.items())
        assert torch.equal(state.read_elements("b", slice(4, 9)), STATE["b"].flatten()[4:9])
        assert state.read_elements("b", slice(4, 4)).shape == (0,)


def test_mapped_tensors_are_equal_and_can_be_saved(tmp_path):
    with TensorSpool(tmp_path) as spool:
        spool.write([("before", torch.zeros(3))])
        mapped = spool.write(STATE.items()).map()
        assert all(torch.equal(mapped[n], value) for n, value in STATE.items())
        mapped["b"].zero_()
        assert torch.equal(spool.write(STATE.items())["b"], STATE["b"])
        del mapped["empty"]
        safetensors.torch.save(mapped)  # refuses tensors that overlap
