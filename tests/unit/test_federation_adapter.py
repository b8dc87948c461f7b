import json

import pytest
import safetensors.torch
import torch
from peft import PeftModel

from blossomtune.aggregation.layers import list_layers as layers_of
from blossomtune.config.lora import LoraSettings
from blossomtune.errors import UserError
from blossomtune.files import compute_file_sha256
from blossomtune.modeling.load import load_model
from blossomtune.training import adapter, adapter_files

LORA = LoraSettings(r=4, alpha=8)


@pytest.fixture
def model(tiny_model):
    return adapter.build_peft_model(load_model(tiny_model), LORA, seed=1)


def test_a_fresh_adapter_depends_on_the_seed_alone(tiny_model, model):
    torch.manual_seed(99)  # whatever was drawn before
    again = adapter.get_adapter_state(
        adapter.build_peft_model(load_model(tiny_model), LORA, seed=1)
    )
    other = adapter.get_adapter_state(
        adapter.build_peft_model(load_model(tiny_model), LORA, seed=2)
    )
    first = adapter.get_adapter_state(model)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_what_is_written_is_read(model):
    state = {
        name: torch.randn_like(value) for name, value in adapter.get_adapter_state(model).items()
    }
    adapter.set_adapter_state(model, state)
    read = adapter.get_adapter_state(model)
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
    state = adapter.get_adapter_state(model)
    name = next(name for name in state if name.endswith("q_proj.lora_A.weight"))
    spoil(state, name)
    with pytest.raises(adapter.AdapterMismatchError) as error:
        adapter.validate_state(state, adapter.get_adapter_state(model))
    assert str(error.value) == message.format(name=name)


def test_plain_peft_loads_what_is_saved(tiny_model, model, tmp_path):
    state = {
        name: torch.randn_like(value) for name, value in adapter.get_adapter_state(model).items()
    }
    adapter.set_adapter_state(model, state)
    adapter_files.save_adapter(state, LORA, "tiny", tmp_path / "adapter")
    plain = PeftModel.from_pretrained(load_model(tiny_model), tmp_path / "adapter")
    ids = torch.tensor([[5, 6, 7, 8]])
    assert torch.allclose(plain(ids).logits, model.eval()(ids).logits, atol=1e-6)
    config = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny"
    assert config["target_modules"] == sorted(LORA.target_modules)


def test_the_same_adapter_gives_the_same_bytes(model, tmp_path):
    state = adapter.get_adapter_state(model)
    for name in ("one", "two"):
        state = dict(reversed(state.items()))
        adapter_files.save_adapter(state, LORA, "tiny", tmp_path / name)
    for file in ("adapter_model.safetensors", "adapter_config.json"):
        assert compute_file_sha256(tmp_path / "one" / file) == compute_file_sha256(
            tmp_path / "two" / file
        )
    kept = safetensors.torch.load_file(tmp_path / "one" / "adapter_model.safetensors")
    assert all(torch.equal(kept[name], state[name]) for name in state)


def test_an_unknown_target_module_names_those_that_there_are(tiny_model):
    with pytest.raises(UserError) as error:
        adapter.build_peft_model(
            load_model(tiny_model), LoraSettings(target_modules=["query"]), seed=1
        )
    assert "target_modules ['query']" in str(error.value)
    assert "q_proj" in str(error.value)


def test_the_live_parameters_have_the_names_that_travel(tiny_model):
    model = adapter.build_peft_model(load_model(tiny_model), LoraSettings(r=2, dora=True), seed=1)
    living = adapter.get_adapter_parameters(model)
    assert living.keys() == adapter.get_adapter_state(model).keys()
    for name in living:
        with torch.no_grad():
            living[name].fill_(0.5)
    assert all((value == 0.5).all() for value in adapter.get_adapter_state(model).values())


def test_one_factor_alone_is_trained(tiny_model):
    model = adapter.build_peft_model(load_model(tiny_model), LoraSettings(r=2), seed=1)
    everything = adapter.get_adapter_state(model)
    for factor, letter in (("B", "lora_B"), ("A", "lora_A"), ("both", "lora_")):
        adapter.set_trainable_factor(model, factor)
        trained = {n for n, p in adapter.get_adapter_parameters(model).items() if p.requires_grad}
        assert (
            trained
            == {n for n in everything if letter in n}
            == set(adapter.select_factor(everything, factor))
        )
    assert not any(p.requires_grad for n, p in model.named_parameters() if "lora_" not in n)


def test_a_restarted_adapter_changes_nothing_and_differs_by_round(tiny_model):
    state = adapter.get_adapter_state(
        adapter.build_peft_model(load_model(tiny_model), LoraSettings(r=2), seed=1)
    )
    one, again, two = (adapter.reinitialize_adapter(state, 7, r) for r in (1, 1, 2))
    for name, value in state.items():
        assert one[name].shape == value.shape
        assert torch.equal(one[name], again[name])
        if "lora_A" in name:
            assert not torch.equal(one[name], two[name])
            bound = value.shape[1] ** -0.5
            assert 0.5 * bound < one[name].abs().max() <= bound
        else:
            assert not one[name].any()


def test_products_that_are_folded_in_or_saved_say_the_same(tiny_model, tmp_path):
    from peft import PeftModel

    ids = torch.arange(10)[None]
    generator = torch.Generator().manual_seed(0)
    model = adapter.build_peft_model(load_model(tiny_model), LoraSettings(r=2), seed=1)
    layers = layers_of(adapter.get_adapter_state(model))
    factors = {}
    for i, layer in enumerate(layers):
        d, k = model.get_submodule(layer).get_base_layer().weight.shape
        rank = 3 + i % 2  # not the same everywhere
        draw = [torch.randn(s, generator=generator) * 0.2 for s in ((d, rank), (rank, k))]
        factors[layer] = (draw[0], draw[1])
    adapter_files.save_adapter_from_factors(
        factors, LoraSettings(r=2), "base", tmp_path / "adapter"
    )
    read = PeftModel.from_pretrained(load_model(tiny_model), tmp_path / "adapter").eval()
    before = model(ids).logits
    adapter.apply_base_delta(model, factors)
    after = model(ids).logits
    assert (after - before).abs().max() > 1
    torch.testing.assert_close(read(ids).logits, after, rtol=1e-4, atol=1e-4)


def test_layers_that_are_no_products_are_refused_where_these_are_needed(tiny_model):
    lora = LoraSettings(r=2, target_modules=["q_proj", "embed_tokens"])
    state = adapter.get_adapter_state(
        adapter.build_peft_model(load_model(tiny_model), lora, seed=1)
    )
    adapter.require_linear_layers(state, lora, "fedavg")
    with pytest.raises(UserError, match="embed_tokens"):
        adapter.require_linear_layers(state, lora, "flora")
