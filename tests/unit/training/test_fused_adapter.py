import gc
import weakref

import pytest
import tiny_architectures
import torch
from adapter_training import LORA, PLAIN_SGD, assert_states_equal, build_config

from blossomtune.modeling.loss import collate, completion_nll
from blossomtune.training import adapter
from blossomtune.training.base_updates import BaseUpdates
from blossomtune.training.fused_adapter import fuse_adapter, is_plain_lora
from blossomtune.training.trainer import train_adapter

ARCHITECTURES = [*tiny_architectures.TEXT_MODELS, *tiny_architectures.VISION_MODELS]
ROWS = [
    {"input_ids": [1, 60, 70, 80, 90, 2], "labels": [-100, -100, -100, 80, 90, 2]},
    {"input_ids": [1, 75, 85, 2], "labels": [-100, -100, 85, 2]},
]


def build_model(base, **lora):
    """Return a PEFT model in training mode whose adapter changes its output."""
    settings = LORA.model_copy(update={"target_modules": "all-linear"} | lora)
    model = adapter.build_peft_model(base, settings, seed=1).train()
    generator = torch.Generator().manual_seed(2)
    for name, parameter in adapter.get_adapter_parameters(model).items():
        if "lora_B" in name:
            parameter.data = 0.05 * torch.randn(parameter.shape, generator=generator)
    return model


def compute_gradients(model):
    """Return loss and gradients of a batch, by name."""
    nll, _ = completion_nll(model, collate(ROWS))
    nll.sum().backward()
    parameters = adapter.get_trainable_parameters(model)
    gradients = {name: p.grad for name, p in parameters.items()} | {"loss": nll.detach().sum()}
    model.zero_grad(set_to_none=True)
    return gradients


def relative_difference(actual, expected):
    """Return ‖actual − expected‖ / ‖expected‖ over all tensors."""
    assert actual.keys() == expected.keys()
    difference = sum((actual[n] - value).square().sum() for n, value in expected.items())
    return (difference / sum(value.square().sum() for value in expected.values())).sqrt()


def list_replaced(model):
    return [name for name, module in model.named_modules() if "forward" in vars(module)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_equal_those_of_peft(architecture):
    model = build_model(tiny_architectures.build_model(architecture))
    expected, names = compute_gradients(model), model.state_dict().keys()
    with fuse_adapter(model):
        assert list_replaced(model) and model.state_dict().keys() == names
        gradients = [compute_gradients(model) for _ in range(2)]
    assert_states_equal(*gradients)
    assert relative_difference(gradients[0], expected) < 1e-5
    assert not list_replaced(model)
    assert_states_equal(compute_gradients(model), expected)


@pytest.mark.parametrize("architecture", ["llama", "qwen3_moe", "falcon_h1"])
def test_checkpointing_keeps_no_recomputed_activation(architecture):
    model = build_model(tiny_architectures.build_text_model(architecture))
    model.gradient_checkpointing_enable({"use_reentrant": False})
    inputs = []
    for module in model.modules():
        if is_plain_lora(module):
            module.register_forward_pre_hook(lambda _, args: inputs.append(weakref.ref(args[0])))
    with fuse_adapter(model):
        assert list_replaced(model)
        nll, _ = completion_nll(model, collate(ROWS))
        num_forward = len(inputs)
        nll.sum().backward()
        assert len(inputs) > num_forward, "nothing was recomputed"
        del nll
        gc.collect()
        assert not [x for x in inputs if x() is not None]


def test_bfloat16_base_has_gradients_in_float32():
    base = tiny_architectures.build_text_model("llama")
    expected = compute_gradients(build_model(base))
    model = build_model(tiny_architectures.build_text_model("llama").to(torch.bfloat16))
    unfused = compute_gradients(model)
    with fuse_adapter(model):
        fused = compute_gradients(model)
    assert all(value.dtype == torch.float32 for value in fused.values())
    errors = [relative_difference(g, expected) for g in (unfused, fused)]
    assert errors[1] < max(1.2 * errors[0], 0.05)


@pytest.mark.parametrize(
    ("lora", "dtype"),
    [
        ({"dora": True}, torch.float32),
        ({"dropout": 0.1}, torch.float32),
        ({"target_modules": ["embed_tokens"]}, torch.float32),
        ({}, torch.float16),
    ],
)
def test_other_layers_stay_with_peft(lora, dtype):
    model = build_model(tiny_architectures.build_text_model("llama").to(dtype), **lora)
    with fuse_adapter(model):
        assert not list_replaced(model)


def test_layer_with_a_hook_inside_stays_with_peft():
    model = build_model(tiny_architectures.build_text_model("llama"))
    layer = model.get_base_model().model.layers[0].self_attn.q_proj
    assert is_plain_lora(layer)
    layer.get_base_layer().register_forward_hook(lambda *_: None)
    assert not is_plain_lora(layer)


def test_layers_called_out_of_order_or_alone_compute_the_same():
    model = build_model(tiny_architectures.build_text_model("llama"))
    attention = model.get_base_model().model.layers[0].self_attn
    layers = [attention.v_proj, attention.q_proj, attention.q_proj, attention.k_proj]
    x = torch.randn(1, 3, 32)
    expected = [layer(x) for layer in layers] + [attention.v_proj(2 * x)]
    with fuse_adapter(model):
        outputs = [layer(x) for layer in layers]
        outputs.append(attention.v_proj(x.mul_(2)))
    for output, value in zip(outputs, expected, strict=True):
        assert torch.allclose(output, value, atol=1e-5)


def test_autocast_keeps_the_forward_of_peft():
    model = build_model(tiny_architectures.build_text_model("llama"))
    with torch.autocast("cpu", torch.bfloat16):
        expected = compute_gradients(model)
        with fuse_adapter(model):
            assert_states_equal(compute_gradients(model), expected)


def test_update_of_the_base_is_used():
    model = build_model(tiny_architectures.build_text_model("llama"), target_modules=["q_proj"])
    layer = next(name for name, module in model.named_modules() if is_plain_lora(module))
    updates, delta = BaseUpdates(model), {layer: (torch.ones(32, 1), torch.ones(1, 32))}
    losses = []
    for number in (1, 2, 3):
        with fuse_adapter(model):
            losses.append(float(compute_gradients(model)["loss"]))
        updates.apply(dict.fromkeys(range(1, number + 1), delta))
    assert len(set(losses)) == 3


def test_trained_adapter_is_close_to_that_of_peft(training_setup, tmp_path, monkeypatch):
    model, tokenizer, rows = training_setup
    start, ends = adapter.get_adapter_state(model), []
    for is_fused in (True, False):
        adapter.set_adapter_state(model, start)
        with monkeypatch.context() as patch:
            if not is_fused:
                patch.setattr("blossomtune.training.fused_adapter.FUSED_DTYPES", ())
            train_adapter(model, tokenizer, rows, build_config(tmp_path, **PLAIN_SGD))
        ends.append(adapter.get_adapter_state(model))
    assert relative_difference(*ends) < 1e-5
    assert any(not torch.equal(ends[0][name], value) for name, value in ends[1].items())
