import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from trl import SFTConfig

from blossomtune.training.oom_retry import is_out_of_memory_error, reduce_batch_size


@settings(max_examples=20)
@given(batch=st.integers(1, 64), accumulated=st.integers(1, 4))
def test_batches_get_smaller_and_steps_stay_as_they_are(tmp_path_factory, batch, accumulated):
    config = SFTConfig(
        output_dir=str(tmp_path_factory.getbasetemp()),
        use_cpu=True,
        bf16=False,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulated,
    )
    less = reduce_batch_size(config)
    if batch == 1:
        assert less is None
        return
    size = less.per_device_train_batch_size
    assert size * less.gradient_accumulation_steps == batch * accumulated
    assert not any(batch % n == 0 for n in range(size + 1, batch))
    assert config.per_device_train_batch_size == batch


def test_what_running_out_of_memory_looks_like():
    with pytest.raises(RuntimeError) as found:
        torch.empty(2**52)
    assert is_out_of_memory_error(found.value)
    with pytest.raises(RuntimeError) as found:
        torch.ones(2) @ torch.ones(3)
    assert not is_out_of_memory_error(found.value)
