import json

import pytest
import safetensors.torch
import torch
from peft import PeftModel

from blossomtune.config.adapters import Lora
from blossomtune.errors import UserError
from blossomtune.federation import adapter
from blossomtune.federation.aggregation import layers as layers_of
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


def test_the_live_parameters_have_the_names_that_travel(tiny_model):
    model = adapter.attach(load_model(tiny_model), Lora(r=2, dora=True), seed=1)
    living = adapter.parameters(model)
    assert living.keys() == adapter.read(model).keys()
    for name in living:
        with torch.no_grad():
            living[name].fill_(0.5)
    assert all((value == 0.5).all() for value in adapter.read(model).values())


def test_one_factor_alone_is_trained(tiny_model):
    model = adapter.attach(load_model(tiny_model), Lora(r=2), seed=1)
    everything = adapter.read(model)
    for factor, letter in (("B", "lora_B"), ("A", "lora_A"), ("both", "lora_")):
        adapter.train_only(model, factor)
        trained = {n for n, p in adapter.parameters(model).items() if p.requires_grad}
        assert (
            trained
            == {n for n in everything if letter in n}
            == set(adapter.part(everything, factor))
        )
    assert not any(p.requires_grad for n, p in model.named_parameters() if "lora_" not in n)


def test_a_restarted_adapter_changes_nothing_and_differs_by_round(tiny_model):
    state = adapter.read(adapter.attach(load_model(tiny_model), Lora(r=2), seed=1))
    one, again, two = (adapter.restarted(state, 7, r) for r in (1, 1, 2))
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
    model = adapter.attach(load_model(tiny_model), Lora(r=2), seed=1)
    layers = layers_of(adapter.read(model))
    factors = {}
    for i, layer in enumerate(layers):
        d, k = model.get_submodule(layer).get_base_layer().weight.shape
        rank = 3 + i % 2  # not the same everywhere
        draw = [torch.randn(s, generator=generator) * 0.2 for s in ((d, rank), (rank, k))]
        factors[layer] = (draw[0], draw[1])
    adapter.save_products(factors, Lora(r=2), "base", tmp_path / "adapter")
    read = PeftModel.from_pretrained(load_model(tiny_model), tmp_path / "adapter").eval()
    before = model(ids).logits
    adapter.fold(model, factors)
    after = model(ids).logits
    assert (after - before).abs().max() > 1
    torch.testing.assert_close(read(ids).logits, after, rtol=1e-4, atol=1e-4)


def test_layers_that_are_no_products_are_refused_where_these_are_needed(tiny_model):
    lora = Lora(r=2, target_modules=["q_proj", "embed_tokens"])
    state = adapter.read(adapter.attach(load_model(tiny_model), lora, seed=1))
    adapter.products_only(state, lora, "fedavg")
    with pytest.raises(UserError, match="embed_tokens"):
        adapter.products_only(state, lora, "flora")
