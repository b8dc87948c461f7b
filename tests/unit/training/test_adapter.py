import pytest
import torch
from adapter_training import LORA, assert_states_equal
from tiny_architectures import build_text_model

from blossomtune.config.lora import LoraSettings
from blossomtune.errors import UserError
from blossomtune.modeling.load import load_model
from blossomtune.training import adapter


@pytest.fixture
def model(tiny_model):
    return adapter.build_peft_model(load_model(tiny_model), LORA, seed=1)


def build_state(tiny_model, seed=1, **lora):
    lora = LoraSettings(**{"r": 2, **lora})
    model = adapter.build_peft_model(load_model(tiny_model), lora, seed)
    return adapter.get_adapter_state(model)


def test_new_adapter_depends_on_the_seed_alone(tiny_model):
    first = build_state(tiny_model, seed=1)
    torch.manual_seed(99)
    again, other = build_state(tiny_model, seed=1), build_state(tiny_model, seed=2)
    assert_states_equal(first, again)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_state_that_is_set_is_returned(model):
    state = {n: torch.randn_like(value) for n, value in adapter.get_adapter_state(model).items()}
    adapter.set_adapter_state(model, state)
    result = adapter.get_adapter_state(model)
    assert list(result) == sorted(state)
    assert_states_equal(result, state)


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
def test_wrong_tensors_are_rejected(model, spoil, message):
    state = adapter.get_adapter_state(model)
    name = next(name for name in state if name.endswith("q_proj.lora_A.weight"))
    spoil(state, name)
    with pytest.raises(adapter.AdapterMismatchError) as error:
        adapter.validate_state(state, adapter.get_adapter_state(model))
    assert str(error.value) == message.format(name=name)


def test_error_for_an_unknown_target_module_lists_the_modules(tiny_model):
    with pytest.raises(UserError) as error:
        build_state(tiny_model, target_modules=["query"])
    assert "target_modules ['query']" in str(error.value)
    assert "q_proj" in str(error.value)


def test_parameters_have_the_names_of_the_state(tiny_model):
    model = adapter.build_peft_model(load_model(tiny_model), LoraSettings(r=2, dora=True), seed=1)
    parameters = adapter.get_adapter_parameters(model)
    assert parameters.keys() == adapter.get_adapter_state(model).keys()
    for parameter in parameters.values():
        with torch.no_grad():
            parameter.fill_(0.5)
    assert all((value == 0.5).all() for value in adapter.get_adapter_state(model).values())


def test_only_the_chosen_factor_is_trainable(tiny_model):
    model = adapter.build_peft_model(load_model(tiny_model), LoraSettings(r=2), seed=1)
    state = adapter.get_adapter_state(model)
    for factor, part in (("B", "lora_B"), ("A", "lora_A"), ("both", "lora_")):
        adapter.set_trainable_factor(model, factor)
        parameters = adapter.get_adapter_parameters(model)
        trainable = {name for name, p in parameters.items() if p.requires_grad}
        assert trainable == {name for name in state if part in name}
        assert trainable == set(adapter.select_factor(state, factor))
    assert not any(p.requires_grad for n, p in model.named_parameters() if "lora_" not in n)


def test_reinitialized_adapter_is_zero_and_differs_per_round(tiny_model):
    state = build_state(tiny_model)
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


@pytest.mark.parametrize("target", ["embed_tokens", "lm_head"])
def test_adapter_of_an_embedding_does_not_hold_the_embedding(tiny_model, target):
    state = build_state(tiny_model, target_modules=[target])
    assert {min(value.shape) for value in state.values()} == {2}


@pytest.mark.parametrize(
    ("name", "rank", "targets"),
    [
        ("lfm2", 32, ["q_proj", "conv.conv"]),
        ("qwen3_moe", 4, ["q_proj", "gate_proj", "up_proj", "down_proj"]),
    ],
)
def test_factors_that_are_no_matrices_of_one_layer_are_rejected(name, rank, targets):
    lora = LoraSettings(r=rank, target_modules=targets)
    state = adapter.get_adapter_state(adapter.build_peft_model(build_text_model(name), lora, 1))
    adapter.require_linear_layers(state, lora, "fedavg")
    with pytest.raises(
        UserError, match=r"works on the adapters of linear layers, and .*(conv|exp)"
    ):
        adapter.require_linear_layers(state, lora, "flexlora")


def test_embeddings_are_rejected_if_the_aggregation_needs_linear_layers(tiny_model):
    lora = LoraSettings(r=2, target_modules=["q_proj", "embed_tokens"])
    model = adapter.build_peft_model(load_model(tiny_model), lora, seed=1)
    state = adapter.get_adapter_state(model)
    adapter.require_linear_layers(state, lora, "fedavg")
    with pytest.raises(UserError, match="embed_tokens"):
        adapter.require_linear_layers(state, lora, "flora")
