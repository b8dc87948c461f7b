import json

import pytest
import safetensors.torch
import torch
from peft import PeftModel

from blossomtune.config.experiments import Lora
from blossomtune.errors import UserError
from blossomtune.federation import adapter
from blossomtune.files import sha256
from blossomtune.modeling import load_model

LORA = Lora(r=4, alpha=8)


@pytest.fixture
def model(tiny_model):
    return adapter.attach(load_model(tiny_model), LORA, seed=1)


def test_a_fresh_adapter_depends_on_the_seed_alone(tiny_model, model):
    torch.manual_seed(99)  # whatever was drawn before
    again = adapter.read(adapter.attach(load_model(tiny_model), LORA, seed=1))
    other = adapter.read(adapter.attach(load_model(tiny_model), LORA, seed=2))
    first = adapter.read(model)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_what_is_written_is_read(model):
    state = {name: torch.randn_like(value) for name, value in adapter.read(model).items()}
    adapter.write(model, state)
    read = adapter.read(model)
    assert list(read) == sorted(state)
    assert all(torch.equal(read[name], state[name]) for name in state)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s, n: s.pop(n), "1 tensors are missing, the first is {name}"),
        (lambda s, n: s.update(extra=s[n]), "1 tensors are unknown, the first is extra"),
        (lambda s, n: s.update({n: s[n][:1]}), "{name} is (1, 32) instead of (4, 32)"),
        (lambda s, n: s[n].fill_(float("nan")), "{name} holds values that are not finite"),
        (lambda s, n: s[n].fill_(float("inf")), "{name} holds values that are not finite"),
    ],
)
def test_what_does_not_belong_is_refused(model, spoil, message):
    state = adapter.read(model)
    name = next(name for name in state if name.endswith("q_proj.lora_A.weight"))
    spoil(state, name)
    with pytest.raises(adapter.MismatchError) as error:
        adapter.check(state, adapter.read(model))
    assert str(error.value) == message.format(name=name)


def test_plain_peft_loads_what_is_saved(tiny_model, model, tmp_path):
    state = {name: torch.randn_like(value) for name, value in adapter.read(model).items()}
    adapter.write(model, state)
    adapter.save(state, LORA, "tiny", tmp_path / "adapter")
    plain = PeftModel.from_pretrained(load_model(tiny_model), tmp_path / "adapter")
    ids = torch.tensor([[5, 6, 7, 8]])
    assert torch.allclose(plain(ids).logits, model.eval()(ids).logits, atol=1e-6)
    config = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny"
    assert config["target_modules"] == sorted(LORA.target_modules)


def test_the_same_adapter_gives_the_same_bytes(model, tmp_path):
    state = adapter.read(model)
    for name in ("one", "two"):
        state = dict(reversed(state.items()))
        adapter.save(state, LORA, "tiny", tmp_path / name)
    for file in ("adapter_model.safetensors", "adapter_config.json"):
        assert sha256(tmp_path / "one" / file) == sha256(tmp_path / "two" / file)
    kept = safetensors.torch.load_file(tmp_path / "one" / "adapter_model.safetensors")
    assert all(torch.equal(kept[name], state[name]) for name in state)


def test_an_unknown_target_module_names_those_that_there_are(tiny_model):
    with pytest.raises(UserError) as error:
        adapter.attach(load_model(tiny_model), Lora(target_modules=["query"]), seed=1)
    assert "target_modules ['query']" in str(error.value)
    assert "q_proj" in str(error.value)
