import os

import pytest
from adapter_training import build_config

from blossomtune.cli import NO_COMPILER_VARIABLE
from blossomtune.errors import UserError
from blossomtune.training.sft_config import build_sft_config


def test_value_that_sft_config_rejects_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match=r"training\.arguments"):
        build_config(tmp_path, optim="no_such_optimizer")


def test_a_step_has_the_same_rows_on_a_machine_with_several_gpus(monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    config = build_sft_config(
        {}, learning_rate=1e-2, max_steps=1, seed=3, use_cpu=False, output_dir=tmp_path
    )
    assert config.train_batch_size == config.per_device_train_batch_size


@pytest.mark.parametrize("torch_compile", [False, True])
def test_torch_compiles_only_if_asked_to(monkeypatch, tmp_path, torch_compile):
    monkeypatch.setenv(NO_COMPILER_VARIABLE, "1")
    build_config(tmp_path, torch_compile=torch_compile)
    assert (NO_COMPILER_VARIABLE in os.environ) is not torch_compile
