"""Tests of batches and of the loss on completions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_architectures import TEXT_MODELS, build_text_model
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from blossomtune.modeling.encoding import IGNORE_INDEX
from blossomtune.modeling.loss import collate, completion_nll

VOCABULARY = 50


def llama():
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            initializer_range=0.3,
        )
    )


def gpt2():  # absolute positions: an offset by padding would show
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_positions=64,
            n_embd=32,
            n_layer=2,
            n_head=4,
            initializer_range=0.3,
        )
    )


@pytest.fixture(scope="module", params=[llama, gpt2], ids=["llama", "gpt2"])
def model(request):
    torch.manual_seed(0)
    return request.param().eval()


ids = st.lists(st.integers(1, VOCABULARY - 1), min_size=1, max_size=9)
examples = st.lists(st.tuples(ids, ids), min_size=1, max_size=5)


def row(prompt, completion):
    return {
        "input_ids": prompt + completion,
        "labels": [IGNORE_INDEX] * len(prompt) + completion,
    }


@settings(max_examples=30)
@given(examples)
def test_nll_equals_the_models_own_loss_per_row(model, pairs):
    rows = [row(*pair) for pair in pairs]
    with torch.inference_mode():
        nll, tokens = completion_nll(model, collate(rows, pad_token_id=0))
        expected = [
            model(
                input_ids=torch.tensor([r["input_ids"]]), labels=torch.tensor([r["labels"]])
            ).loss.item()
            for r in rows
        ]
    assert tokens.tolist() == [len(completion) for _, completion in pairs]
    assert (nll / tokens).tolist() == pytest.approx(expected, abs=1e-4, rel=1e-4)


@settings(max_examples=30)
@given(st.lists(examples, min_size=1, max_size=3))
def test_packed_examples_have_the_losses_of_separate_ones(model, packs):
    """Compare examples packed into rows of different lengths with single ones."""
    rows = [[row(*pair) for pair in pairs] for pairs in packs]
    packed = [
        {
            "input_ids": [i for r in pack for i in r["input_ids"]],
            "labels": [i for r in pack for i in r["labels"]],
            "seq_lengths": [len(r["input_ids"]) for r in pack],
        }
        for pack in rows
    ]
    with torch.inference_mode():
        nll, tokens = completion_nll(model, batch := collate(packed, pad_token_id=0))
        for i, pack in enumerate(rows):
            results = [completion_nll(model, collate([r], pad_token_id=0)) for r in pack]
            assert nll[i].item() == pytest.approx(sum(float(n) for n, _ in results), abs=1e-3)
            assert tokens[i] == sum(int(t) for _, t in results)
    assert batch["examples"].tolist() == [len(pack) for pack in packs]
    assert batch["tokens"].tolist() == [len(p["input_ids"]) for p in packed]


def test_packed_text_is_not_predicted_from_the_previous_text(model):
    texts = [{"input_ids": ids, "labels": ids} for ids in ([3, 4, 5], [6, 7])]
    pack = {"input_ids": [3, 4, 5, 6, 7], "labels": [3, 4, 5, 6, 7], "seq_lengths": [3, 2]}
    with torch.inference_mode():
        nll, tokens = completion_nll(model, collate([pack], pad_token_id=0))
        alone, _ = completion_nll(model, collate(texts, pad_token_id=0))
    assert tokens.tolist() == [3]
    assert nll.item() == pytest.approx(alone.sum().item(), abs=1e-4)


@pytest.mark.parametrize("is_training", [False, True])
@pytest.mark.parametrize("architecture", ["gpt2", *TEXT_MODELS])
def test_padding_does_not_change_the_loss(architecture, is_training):
    torch.manual_seed(0)
    padded_model = gpt2() if architecture == "gpt2" else build_text_model(architecture)
    padded_model.train(is_training and architecture != "gpt2")  # GPT-2 has dropout
    short, long = row([3, 4], [5, 6]), row(list(range(1, 20)), [7, 8, 9])
    with torch.inference_mode():
        alone = completion_nll(padded_model, collate([short], pad_token_id=0))[0][0]
        for pad in (0, 1, 49):
            padded = completion_nll(padded_model, collate([short, long], pad_token_id=pad))[0][0]
            assert padded.item() == pytest.approx(alone.item(), abs=1e-4)


def test_first_token_of_plain_text_has_no_loss(model):
    labelled = {"input_ids": [3, 4, 5], "labels": [3, 4, 5]}
    with torch.inference_mode():
        nll, tokens = completion_nll(model, collate([labelled], pad_token_id=0))
        loss = model(input_ids=torch.tensor([[3, 4, 5]]), labels=torch.tensor([[3, 4, 5]])).loss
    assert tokens.tolist() == [2]
    assert nll.item() / 2 == pytest.approx(loss.item(), abs=1e-4)


def test_gradients_are_finite_and_not_zero(model):
    nll, _ = completion_nll(model, collate([row([3, 4], [5])], pad_token_id=0))
    model.zero_grad()
    nll.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert any(p.grad.abs().sum() > 0 for p in model.parameters() if p.grad is not None)


def test_collate_pads_on_the_left_and_counts_positions_from_the_first_token():
    batch = collate([row([3], [4]), row([5, 6], [7])], pad_token_id=9)
    assert batch["input_ids"].tolist() == [[9, 3, 4], [5, 6, 7]]
    assert batch["attention_mask"].tolist() == [[0, 1, 1], [1, 1, 1]]
    assert batch["position_ids"].tolist() == [[0, 0, 1], [0, 1, 2]]
    assert batch["labels"].tolist() == [
        [IGNORE_INDEX, IGNORE_INDEX, 4],
        [IGNORE_INDEX, IGNORE_INDEX, 7],
    ]
    assert (batch["examples"].tolist(), batch["tokens"].tolist()) == ([1, 1], [2, 3])
    assert "labels" not in collate([{"input_ids": [1]}], pad_token_id=0)
