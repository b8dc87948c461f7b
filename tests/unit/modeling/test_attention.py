"""Tests that attention per segment has the losses and gradients of separate rows."""

import pytest
import torch
from largest_tensor import LargestTensor
from peft import LoraConfig, get_peft_model
from tiny_architectures import TEXT_MODELS, VISION_MODELS, build_model
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import Parameter
from transformers import GPT2Config, GPT2LMHeadModel, LlamaForCausalLM

from blossomtune.modeling import attention
from blossomtune.modeling.encoding import IGNORE_INDEX
from blossomtune.modeling.load import load_model
from blossomtune.modeling.loss import collate, completion_nll, model_inputs
from blossomtune.modeling.prefix_sharing import pack

LENGTHS = [8, 1, 5, 7, 8]
"""Within the window of eight tokens that two models have."""


def gpt2(**options):
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=259, n_embd=32, n_layer=2, n_head=4, initializer_range=0.3, **options
    )
    return GPT2LMHeadModel(config)


def row(length, first=20):
    ids = list(range(first, first + length))
    return {"input_ids": ids, "labels": [IGNORE_INDEX] * (length // 3) + ids[length // 3 :]}


def pack_rows(rows):
    """Return the packed row of several."""
    joined = {key: [i for r in rows for i in r[key]] for key in rows[0]}
    return joined | {"seq_lengths": [len(r["input_ids"]) for r in rows]}


def compute_loss_and_gradients(model, rows, **options):
    """Return the sum of losses and the gradients."""
    model.zero_grad(set_to_none=True)
    nll = completion_nll(model, collate(rows, **options))[0].sum()
    nll.backward()
    return nll.item(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def assert_close(results, expected):
    (loss, gradients), (expected_loss, expected_gradients) = results, expected
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in expected_gradients.items():
        error = (gradients[name] - gradient).norm()
        assert error <= 2e-6 * gradient.norm() + 1e-6, name


@pytest.fixture
def long_rows(monkeypatch):
    """Treat all rows as long."""
    monkeypatch.setattr(attention, "DENSE_WIDTH", 0)


@pytest.mark.usefixtures("long_rows")
@pytest.mark.parametrize("name", ["llama", "qwen3", "qwen3_moe", "gemma3", "gemma3-vision"])
def test_packed_rows_have_the_losses_and_gradients_of_separate_rows(name):
    model = build_model(name).train()
    attention.enable(model)
    rows = [row(n, 20 + 10 * i) for i, n in enumerate(LENGTHS)]
    packs = [pack_rows(rows[:3]), pack_rows(rows[3:])]  # of different lengths
    mask = model_inputs(model, collate(packs))["attention_mask"]
    assert mask.shape == (2, 1, 1, 15)
    losses = [compute_loss_and_gradients(model, [r]) for r in rows]
    gradients = {n: sum(g[n] for _, g in losses if n in g) for n in losses[0][1]}
    separate = sum(loss for loss, _ in losses), gradients
    assert_close(compute_loss_and_gradients(model, packs), separate)


@pytest.mark.usefixtures("long_rows")
@pytest.mark.parametrize("block", [3, 1024])
@pytest.mark.parametrize("name", ["llama", "qwen3", "qwen3_moe", "gpt2"])
def test_shared_prefix_has_the_losses_and_gradients_of_separate_rows(name, block, monkeypatch):
    monkeypatch.setattr(attention, "BLOCK", block)
    model = gpt2(embd_pdrop=0, attn_pdrop=0, resid_pdrop=0) if name == "gpt2" else build_model(name)
    attention.enable(model)
    rows = [row(4 + n, 5) for n in (9, 2, 5)]
    for i, r in enumerate(rows):
        r["input_ids"][4:] = [30 + i] * len(r["input_ids"][4:])
    rows = [r | {"labels": [IGNORE_INDEX] * 5 + r["input_ids"][5:]} for r in rows]
    separate = compute_loss_and_gradients(model, rows)
    model.zero_grad(set_to_none=True)
    batch = pack(rows, 4)
    assert model_inputs(model, batch)["attention_mask"].shape == (1, 1, 1, 20)
    nll = completion_nll(model, batch)[0].sum()
    nll.backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert_close((nll.item(), gradients), separate)


@pytest.mark.usefixtures("long_rows")
@pytest.mark.parametrize("name", [*TEXT_MODELS, *VISION_MODELS])
def test_padded_rows_have_the_losses_and_gradients_of_separate_rows(name):
    model = build_model(name)
    attention.enable(model)
    rows = [row(12), row(3, 50)]
    is_plain = name in ("llama", "qwen3", "qwen3_moe")
    mask = model_inputs(model, collate(rows))["attention_mask"]
    assert mask.shape == ((2, 1, 1, 12) if is_plain else (2, 12))
    losses = [compute_loss_and_gradients(model, [r]) for r in rows]
    gradients = {n: sum(g[n] for _, g in losses if n in g) for n in losses[0][1]}
    padded = compute_loss_and_gradients(model, rows)
    if is_plain:
        assert_close(padded, (sum(loss for loss, _ in losses), gradients))
    assert padded[0] == pytest.approx(sum(loss for loss, _ in losses), rel=1e-5)


def test_model_whose_attention_is_not_reached_keeps_a_dense_mask():
    model = gpt2()
    attention.enable(model)
    assert not attention.is_supported(model)  # gpt2 has dropout
    eager = build_model("llama")
    eager.set_attn_implementation("eager")
    attention.enable(eager)
    assert eager.config._attn_implementation == "eager" and not attention.is_supported(eager)
    segments = torch.ones((1, 800), dtype=torch.int64)
    for each in (model, eager):
        assert attention.build_segment_mask(each, segments).shape == (1, 1, 800, 800)


@pytest.mark.parametrize("kind", ["packed", "padded"])
def test_loaded_model_needs_no_mask_of_all_pairs_of_tokens(kind, tiny_model):
    model = load_model(tiny_model)
    rows = [row(200, 30) for _ in range(8)]
    for r in rows:
        r["input_ids"] = [i % 250 for i in r["input_ids"]]
        r["labels"][1:195] = [IGNORE_INDEX] * 194
    long = {key: (rows[0][key] * 5)[:900] for key in rows[0]}
    batch = collate([pack_rows(rows)] if kind == "packed" else [long, rows[0]])
    with LargestTensor() as largest:
        completion_nll(model, batch)[0].sum().backward()
    assert largest.numel < batch["input_ids"].shape[1] ** 2


@pytest.mark.usefixtures("long_rows")
def test_gradient_checkpointing_changes_no_bit_and_saves_memory(monkeypatch):
    """Compare gradients, and what autograd saves of a packed row with a loss in chunks."""
    monkeypatch.setattr("blossomtune.modeling.loss.MAX_LOGITS", 259 * 8)
    config = build_model("llama").config
    config.num_hidden_layers = 6
    torch.manual_seed(0)
    base = LlamaForCausalLM(config)
    attention.enable(base)
    lora = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    model = get_peft_model(base, lora).train()
    batch = collate([pack_rows([row(n, 20 + 10 * i) for i, n in enumerate(LENGTHS)])])
    saved_numbers, results = [], []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        saved = []
        with saved_tensors_hooks(lambda t, saved=saved: saved.append(t) or t, lambda t: t):
            nll = completion_nll(model, batch)[0].sum()
        activations = {t.data_ptr(): t.numel() for t in saved if not isinstance(t, Parameter)}
        saved_numbers.append(sum(activations.values()))
        model.zero_grad(set_to_none=True)
        nll.backward()
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        results.append((nll.item(), gradients))
    (loss, gradients), (checkpointed_loss, checkpointed_gradients) = results
    assert loss == checkpointed_loss and len(gradients) == 6 * 7 * 2
    assert all(torch.equal(checkpointed_gradients[name], g) for name, g in gradients.items())
    assert saved_numbers[1] < saved_numbers[0] / 5
