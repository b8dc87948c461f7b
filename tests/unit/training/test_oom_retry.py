import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from trl import SFTConfig

from blossomtune.training.oom_retry import is_out_of_memory_error, reduce_batch_size

PROGRAM = Path(__file__).parents[1] / "memory_limited.py"


@settings(max_examples=20)
@given(batch_size=st.integers(1, 64), accumulation_steps=st.integers(1, 4))
def test_smaller_batches_leave_the_step_unchanged(tmp_path_factory, batch_size, accumulation_steps):
    config = SFTConfig(
        output_dir=str(tmp_path_factory.getbasetemp()),
        use_cpu=True,
        bf16=False,
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=accumulation_steps,
    )
    smaller = reduce_batch_size(config)
    if batch_size == 1:
        assert smaller is None
        return
    size = smaller.per_device_train_batch_size
    assert size * smaller.gradient_accumulation_steps == batch_size * accumulation_steps
    assert not any(batch_size % n == 0 for n in range(size + 1, batch_size))
    assert config.per_device_train_batch_size == batch_size


def test_out_of_memory_errors_are_recognized():
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**52)
    assert is_out_of_memory_error(error.value)
    with pytest.raises(RuntimeError) as error:
        torch.ones(2) @ torch.ones(3)
    assert not is_out_of_memory_error(error.value)


def test_smaller_batches_fit_into_memory_and_give_the_same_adapter(tiny_model, tmp_path):
    process = subprocess.run(
        [sys.executable, PROGRAM, tiny_model, tmp_path],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    report = json.loads(process.stdout.splitlines()[-1])
    assert report["batch_size"] in (1, 2, 3, 6)
    assert report["is_same"] and report["is_trained"] and report["is_state_intact"]
    assert report["counts"] == report["direct_counts"]
    assert report["counts"]["examples"] == 36 and report["counts"]["steps"] == 2  # 12 + 2 * 12
    assert "out of memory with 12 examples at a time" in report["message"]
