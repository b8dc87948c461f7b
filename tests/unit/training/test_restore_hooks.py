import pytest
import torch
from adapter_training import TRAINER_OPTIONS, assert_states_equal, build_config

from blossomtune.training import adapter
from blossomtune.training.trainer import train_adapter


def count_hooks(model):
    return {name: len(m._forward_hooks) for name, m in model.named_modules() if m._forward_hooks}


def list_wrapped_modules(model):
    return [name for name, m in model.named_modules() if "forward" in vars(m)]


@pytest.mark.parametrize("arguments", TRAINER_OPTIONS.values(), ids=TRAINER_OPTIONS)
def test_rounds_are_identical_and_leave_no_hooks_on_the_model(training_setup, tmp_path, arguments):
    model, tokenizer, rows = training_setup
    start, results = adapter.get_adapter_state(model), []
    before = count_hooks(model), list_wrapped_modules(model)
    for _ in range(2):
        adapter.set_adapter_state(model, start)
        loss = train_adapter(model, tokenizer, rows, build_config(tmp_path, **arguments)).loss
        results.append(adapter.get_adapter_state(model) | {"loss": torch.tensor(loss)})
        assert (count_hooks(model), list_wrapped_modules(model)) == before
    assert_states_equal(*results)
    invalid = rows.map(lambda row: {"input_ids": [10**6] * len(row["input_ids"])})
    with pytest.raises(IndexError):
        train_adapter(model, tokenizer, invalid, build_config(tmp_path, **arguments))
    assert (count_hooks(model), list_wrapped_modules(model)) == before
