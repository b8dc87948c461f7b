import json

import pytest
import safetensors.torch
import torch
from adapter_training import LORA, assert_states_equal
from peft import PeftModel

from blossomtune.files import compute_file_sha256
from blossomtune.modeling.load import load_model
from blossomtune.training import adapter
from blossomtune.training.adapter_files import save_adapter


@pytest.fixture
def model(tiny_model):
    return adapter.build_peft_model(load_model(tiny_model), LORA, seed=1)


def test_peft_loads_a_saved_adapter(tiny_model, model, tmp_path):
    state = {n: torch.randn_like(value) for n, value in adapter.get_adapter_state(model).items()}
    adapter.set_adapter_state(model, state)
    save_adapter(state, LORA, "tiny", tmp_path / "adapter")
    loaded = PeftModel.from_pretrained(load_model(tiny_model), tmp_path / "adapter")
    ids = torch.tensor([[5, 6, 7, 8]])
    assert torch.allclose(loaded(ids).logits, model.eval()(ids).logits, atol=1e-6)
    config = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny"
    assert config["target_modules"] == sorted(LORA.target_modules)


def test_same_adapter_has_the_same_bytes(model, tmp_path):
    state = adapter.get_adapter_state(model)
    for folder in ("one", "two"):
        state = dict(reversed(state.items()))
        save_adapter(state, LORA, "tiny", tmp_path / folder)
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        one, two = (compute_file_sha256(tmp_path / folder / name) for folder in ("one", "two"))
        assert one == two
    saved = safetensors.torch.load_file(tmp_path / "one/adapter_model.safetensors")
    assert_states_equal(saved, state)
