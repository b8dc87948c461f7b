"""Tests that a loss in chunks has the values and gradients of the whole, and less memory."""

import pytest
import torch
from largest_tensor import LargestTensor
from peft import LoraConfig, get_peft_model
from tiny_architectures import build_text_model
from torch.nn.functional import cross_entropy

from blossomtune.modeling.chunked_nll import compute_chunked_nll
from blossomtune.modeling.encoding import IGNORE_INDEX
from blossomtune.modeling.loss import collate, completion_nll

LIMIT = 259 * 8
"""Logits of eight tokens of the tiny models."""

BODY = ["q_proj", "down_proj"]


def build_peft_model(name, **options):
    torch.manual_seed(1)
    config = LoraConfig(r=2, init_lora_weights=False, **({"target_modules": BODY} | options))
    return get_peft_model(build_text_model(name), config)


MODELS = {
    "frozen head": lambda: build_peft_model("llama"),
    "trained head": lambda: build_text_model("llama"),
    "tied head": lambda: build_text_model("qwen3"),
    "adapter on the head": lambda: build_peft_model("llama", target_modules=[*BODY, "lm_head"]),
    "dora on the head": lambda: build_peft_model(
        "llama", target_modules=["lm_head"], use_dora=True
    ),
    "saved head": lambda: build_peft_model("llama", modules_to_save=["lm_head"]),
    "soft cap": lambda: build_peft_model("gemma3"),
}


def row(prompt, completion):
    ids = [*range(5, 5 + prompt), *range(60, 60 + completion)]
    return {"input_ids": ids, "labels": [IGNORE_INDEX] * prompt + ids[prompt:]}


ROWS = [row(3, 20), row(9, 2), row(1, 30)]
PACK = {key: [i for r in ROWS for i in r[key]] for key in ROWS[0]} | {"seq_lengths": [23, 11, 31]}


def compute_gradients(model, batch):
    nll, tokens = completion_nll(model, batch)
    model.zero_grad(set_to_none=True)
    (nll * torch.arange(1.0, 1 + len(nll))).sum().backward()  # each row has its own weight
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return nll.detach(), tokens, gradients


@pytest.mark.parametrize("rows", [ROWS, [PACK]], ids=["rows", "pack"])
@pytest.mark.parametrize("name", MODELS)
def test_chunks_have_the_losses_and_gradients_of_the_whole(name, rows, monkeypatch):
    model, batch = MODELS[name](), collate(rows)
    if name == "soft cap":
        model.config.final_logit_softcapping = 2.0
    nll, tokens, gradients = compute_gradients(model, batch)
    monkeypatch.setattr("blossomtune.modeling.loss.MAX_LOGITS", LIMIT)
    chunked_nll, chunked_tokens, chunked_gradients = compute_gradients(model, batch)
    assert torch.allclose(chunked_nll, nll, rtol=1e-6)
    assert torch.equal(chunked_tokens, tokens)
    assert chunked_gradients.keys() == gradients.keys()
    for parameter, gradient in gradients.items():
        error = (chunked_gradients[parameter] - gradient).norm()
        assert error <= 1e-5 * gradient.norm() + 1e-6, parameter
    with torch.inference_mode():
        assert torch.allclose(completion_nll(model, batch)[0], nll, rtol=1e-6)


@pytest.mark.parametrize("name", ["frozen head", "adapter on the head"])
def test_no_tensor_has_the_logits_of_all_tokens(name, monkeypatch):
    model, batch = MODELS[name](), collate([row(1, 99)])
    sizes = []
    for limit in (2**25, 259 * 40):
        monkeypatch.setattr("blossomtune.modeling.loss.MAX_LOGITS", limit)
        with LargestTensor() as largest:
            completion_nll(model, batch)[0].sum().backward()
        sizes.append(largest.numel)
    assert sizes == [259 * 99, 259 * 40]


@pytest.mark.parametrize("weight_dtype", [torch.float32, torch.bfloat16])
def test_gradient_in_lower_precision_is_as_exact_as_that_of_the_whole(weight_dtype):
    torch.manual_seed(0)
    states = torch.randn(50, 16, dtype=weight_dtype, requires_grad=True)
    weight = torch.randn(259, 16, dtype=weight_dtype)
    targets = torch.randint(0, 259, (50,))
    losses = [
        cross_entropy((states @ weight.T).float(), targets, reduction="none"),
        compute_chunked_nll(lambda h: h @ weight.T, states, targets, size=8),
    ]
    gradients = [torch.autograd.grad(loss.sum() / 50, states)[0].float() for loss in losses]
    exact = states.detach().double().requires_grad_()
    loss = cross_entropy(exact @ weight.double().T, targets)
    reference = torch.autograd.grad(loss, exact)[0]
    errors = [(g - reference).norm() / reference.norm() for g in gradients]
    assert errors[1] <= 1.5 * errors[0] + 1e-6
