import pytest
import torch
from adapter_training import (
    LORA,
    PLAIN_SGD,
    TRAINER_OPTIONS,
    assert_states_close,
    assert_states_equal,
    build_config,
    encode_texts,
    record_forward,
    reference_loss,
    reference_training,
)
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

from blossomtune.config.lora import LoraSettings
from blossomtune.modeling.load import load_model
from blossomtune.modeling.prefix_sharing import is_supported
from blossomtune.modeling.tokenizer import load_tokenizer
from blossomtune.training import adapter
from blossomtune.training.fused_adapter import fuse_adapter
from blossomtune.training.trainer import LocalObjective, train_adapter


def test_training_lowers_the_loss_and_counts_rows_and_tokens(training_setup, tmp_path):
    model, tokenizer, rows = training_setup
    losses = []
    for _ in range(3):
        result = train_adapter(model, tokenizer, rows, build_config(tmp_path))
        losses.append(result.loss)
    assert losses[2] < losses[0] / 2
    tokens = sum(len(ids) for ids in rows["input_ids"])
    assert result.counts == {"examples": 8, "tokens": tokens, "steps": 4}
    assert result.batch_size == 2 and result.optimizer_state == {}


def test_only_completion_tokens_are_trained_on(training_setup, tmp_path):
    model, tokenizer, rows = training_setup
    rows = rows.select([0, 1])
    expected = float(reference_loss(model, rows).detach())
    result = train_adapter(model, tokenizer, rows, build_config(tmp_path, steps=1))
    assert result.loss == pytest.approx(expected, rel=1e-4)


def test_accumulated_batches_make_the_same_step_as_one_batch(training_setup, tiny_model, tmp_path):
    _, tokenizer, rows = training_setup
    states = []
    for arguments in (
        {"per_device_train_batch_size": 8},
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
    ):
        model = adapter.build_peft_model(load_model(tiny_model), LORA, seed=1)
        train_adapter(model, tokenizer, rows, build_config(tmp_path, steps=1, **arguments))
        states.append(adapter.get_adapter_state(model))
    for name, value in states[0].items():
        assert torch.allclose(value, states[1][name], atol=1e-4), name


def test_rows_that_share_a_prefix_train_as_separate_rows_do(training_setup, tmp_path, monkeypatch):
    model, tokenizer, rows = training_setup
    start, shapes, ends = adapter.get_adapter_state(model), [], []
    with fuse_adapter(model):
        pass  # finds groups of layers by a forward pass, once
    for is_shared in (True, False):
        adapter.set_adapter_state(model, start)
        with monkeypatch.context() as patch, record_forward(model) as record:
            patch.setattr(
                "blossomtune.modeling.prefix_sharing.is_supported", lambda _, b=is_shared: b
            )
            result = train_adapter(model, tokenizer, rows, build_config(tmp_path, **PLAIN_SGD))
        shapes.append(record["shapes"])
        ends.append(adapter.get_adapter_state(model) | {"loss": torch.tensor(result.loss)})
        assert result.counts["examples"] == 8
    assert [b for b, _ in shapes[0]] == [1] * 4 and [b for b, _ in shapes[1]] == [2] * 4
    assert_states_close(ends[0], ends[1])
    adapter.set_adapter_state(model, start)
    with record_forward(model) as record:
        train_adapter(model, tokenizer, rows, build_config(tmp_path, neftune_noise_alpha=5.0))
    assert record["shapes"] == shapes[1]  # each row has noise of its own


def test_load_balancing_loss_of_experts_is_not_trained(training_setup, tmp_path):
    _, tokenizer, rows = training_setup
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "moe_intermediate_size": 16}
    sizes |= {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    experts = Qwen3MoeConfig(
        vocab_size=len(tokenizer), head_dim=8, num_experts=4, num_experts_per_tok=2, **sizes
    )
    lora = LoraSettings(r=4, target_modules=["q_proj", "v_proj"])
    model = adapter.build_peft_model(Qwen3MoeForCausalLM(experts), lora, seed=1)
    expected = float(reference_loss(model, rows.select([0, 1])).detach())
    loss = train_adapter(model, tokenizer, rows, build_config(tmp_path, steps=1)).loss
    assert loss == pytest.approx(expected)


def test_training_twice_from_the_same_start_gives_the_same_bits(training_setup, tmp_path):
    model, tokenizer, rows = training_setup
    start, states = adapter.get_adapter_state(model), []
    for _ in range(2):
        adapter.set_adapter_state(model, start)
        train_adapter(model, tokenizer, rows, build_config(tmp_path))
        states.append(adapter.get_adapter_state(model))
    assert_states_equal(*states)


@pytest.mark.parametrize("arguments", [{}, {"adam_beta2": 0.5, "adam_epsilon": 0.1}])
def test_trainer_uses_adopt_with_its_own_defaults(training_setup, tmp_path, arguments):
    model, tokenizer, rows = training_setup
    start, lr, m, v = adapter.get_adapter_state(model), 1e-2, {}, {}
    beta2, eps = arguments.get("adam_beta2", 0.9999), arguments.get("adam_epsilon", 1e-6)

    def update(name, p, g, t):
        if t == 0:
            m[name], v[name] = torch.zeros_like(g), g**2
            return p
        normed = torch.clamp(g / torch.clamp(v[name].sqrt(), min=eps), -(t**0.25), t**0.25)
        m[name] = 0.9 * m[name] + 0.1 * normed
        v[name] = beta2 * v[name] + (1 - beta2) * g**2
        return p - lr * (m[name] + 0.1 * p)

    reference_training(model, rows, 4, update)
    expected = adapter.get_adapter_state(model)
    adapter.set_adapter_state(model, start)
    arguments = arguments | {"optim": "adopt", "weight_decay": 0.1, "max_grad_norm": 0.0}
    train_adapter(model, tokenizer, rows, build_config(tmp_path, **arguments))
    end = adapter.get_adapter_state(model)
    # Signs of gradients near zero depend on rounding, so norms are compared.
    for name, value in expected.items():
        assert (end[name] - value).norm() < 0.05 * (value - start[name]).norm(), name


@pytest.mark.parametrize("optim", ["adamw_torch", "adamw_torch_fused", "adopt", "adafactor"])
def test_two_rounds_with_the_optimizer_state_are_one_long_round(training_setup, tmp_path, optim):
    model, tokenizer, rows = training_setup
    rows = rows.select([*range(8)] * 2 + [*range(4)])
    start, ends = adapter.get_adapter_state(model), []
    for steps in (10, 5):
        adapter.set_adapter_state(model, start)
        state = None
        for first in range(0, 20, 2 * steps):
            part = rows.select(range(first, first + 2 * steps))
            config = build_config(tmp_path, steps=steps, optim=optim)
            objective = LocalObjective(optimizer_state=state, return_optimizer_state=True)
            state = train_adapter(model, tokenizer, part, config, objective).optimizer_state
        ends.append(adapter.get_adapter_state(model) | state)
    assert_states_equal(ends[0], ends[1])
    assert ends[0].keys() == ends[1].keys() > start.keys()
    assert any(key.startswith("step/") and value == 10 for key, value in state.items())


def test_checkpointing_bf16_and_neftune_change_what_they_should(training_setup, tmp_path):
    model, tokenizer, rows = training_setup
    start, ends, losses, records = adapter.get_adapter_state(model), {}, {}, {}
    with fuse_adapter(model):
        assert is_supported(model)  # both are cached, since they run forward passes of their own
    for kind, arguments in TRAINER_OPTIONS.items():
        adapter.set_adapter_state(model, start)
        config = build_config(tmp_path, **arguments)
        with record_forward(model) as records[kind]:
            losses[kind] = train_adapter(model, tokenizer, rows, config).loss
        ends[kind] = adapter.get_adapter_state(model)
        assert all(
            p.dtype == torch.float32 for p in adapter.get_trainable_parameters(model).values()
        )
    assert records["plain"]["passes"] == 4 and records["checkpointing"]["passes"] == 8
    assert_states_equal(ends["checkpointing"], ends["plain"])
    assert losses["checkpointing"] == losses["plain"]
    assert records["plain"]["dtype"] == torch.float32 and records["bf16"]["dtype"] == torch.bfloat16
    assert losses["bf16"] != losses["plain"]
    assert losses["bf16"] == pytest.approx(losses["plain"], rel=0.05)
    assert losses["neftune"] != losses["plain"]
    sums = [records[kind]["sums"] for kind in ("neftune", "plain")]
    assert all(a != b for a, b in zip(*sums, strict=True))


@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
@pytest.mark.parametrize("arguments", [{}, {"bf16": True, "gradient_checkpointing": True}])
def test_quantized_base_trains_an_adapter_in_float32(tiny_model, tmp_path, quantization, arguments):
    tokenizer = load_tokenizer(tiny_model)
    rows = encode_texts(tokenizer)
    exact = float(reference_loss(load_model(tiny_model), rows).detach())
    base = load_model(tiny_model, quantization=quantization)
    rounded = float(reference_loss(base, rows).detach())
    assert rounded != exact and rounded == pytest.approx(exact, rel=0.2)
    # On a CPU, PEFT with bitsandbytes loses an 8-bit layer's scales with DoRA.
    lora = LoraSettings(r=4, alpha=8, dora=quantization == "4bit")
    model = adapter.build_peft_model(base, lora, seed=1)
    frozen = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    assert any(p.dtype not in (torch.float32, torch.bfloat16) for p in frozen.values())

    config = build_config(tmp_path, **arguments)
    config.learning_rate = 0.0
    start = {name: value + 1e-3 for name, value in adapter.get_adapter_state(model).items()}
    adapter.set_adapter_state(model, start)
    train_adapter(model, tokenizer, rows, config)
    assert_states_equal(adapter.get_adapter_state(model), start)  # not rounded

    losses = [
        train_adapter(model, tokenizer, rows, build_config(tmp_path, **arguments)).loss
        for _ in range(3)
    ]
    assert losses[2] < losses[0] / 2
    assert_states_equal(dict(model.named_parameters()), frozen)


def test_bfloat16_base_trains_an_adapter_in_float32(tiny_model, tmp_path):
    tokenizer = load_tokenizer(tiny_model)
    rows = encode_texts(tokenizer)
    base = load_model(tiny_model, torch.bfloat16)
    model = adapter.build_peft_model(base, LoraSettings(r=4, alpha=8), seed=1)
    frozen = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    start = {n: value + 1e-5 for n, value in adapter.get_adapter_state(model).items()}
    adapter.set_adapter_state(model, start)
    config = build_config(tmp_path)
    config.learning_rate = 0.0
    train_adapter(model, tokenizer, rows, config)
    assert_states_equal(adapter.get_adapter_state(model), start)  # not rounded

    losses = [train_adapter(model, tokenizer, rows, build_config(tmp_path)).loss for _ in range(3)]
    assert losses[2] < losses[0] / 2
    assert {p.dtype for p in frozen.values()} == {torch.bfloat16}
    assert_states_equal(dict(model.named_parameters()), frozen)
