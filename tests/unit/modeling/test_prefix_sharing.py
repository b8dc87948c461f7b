"""Tests that merged rows have the losses and gradients of separate rows."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_architectures import TEXT_MODELS, build_text_model
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    FalconMambaConfig,
    FalconMambaForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
    Starcoder2Config,
    Starcoder2ForCausalLM,
)

from blossomtune.config.lora import LoraSettings
from blossomtune.modeling.encoding import IGNORE_INDEX
from blossomtune.modeling.load import load_model
from blossomtune.modeling.loss import collate, completion_nll
from blossomtune.modeling.prefix_sharing import (
    build_attention_mask,
    choose_prefix_length,
    is_supported,
    pack,
)
from blossomtune.training import adapter

VOCABULARY = 50
SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}
NO_DROPOUT = {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0}


def llama(**chosen):
    return LlamaForCausalLM(LlamaConfig(**SMALL, **chosen))


def gpt2(**chosen):
    small = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": VOCABULARY}
    return GPT2LMHeadModel(GPT2Config(**small, initializer_range=0.3, **chosen))


def mistral(**chosen):
    return MistralForCausalLM(MistralConfig(**SMALL, **chosen))


MODELS = {
    "llama": llama,
    "llama-eager": lambda: llama(attn_implementation="eager"),
    "gpt2": lambda: gpt2(**NO_DROPOUT),
    "mistral": lambda: mistral(sliding_window=None),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SMALL, head_dim=8)),
    "experts": lambda: Qwen3MoeForCausalLM(
        Qwen3MoeConfig(**SMALL, head_dim=8, num_experts=4, num_experts_per_tok=2)
    ),
}


@pytest.fixture(scope="module", params=MODELS.values(), ids=MODELS)
def model(request):
    torch.manual_seed(0)
    return request.param().eval()


def row(prompt, completion):
    return {
        "input_ids": [*prompt, *completion],
        "labels": [IGNORE_INDEX] * len(prompt) + list(completion),
    }


ids = st.lists(st.integers(1, VOCABULARY - 1), min_size=1, max_size=6)


@settings(max_examples=30)
@given(ids, st.lists(st.tuples(ids, ids), min_size=1, max_size=5), st.data())
def test_losses_and_gradients_equal_those_of_separate_rows(model, prefix, suffixes, data):
    rows = [row([*prefix, *prompt], completion) for prompt, completion in suffixes]
    prefix_length = data.draw(st.integers(1, len(prefix)))
    results = []
    for batch in (collate(rows, pad_token_id=0), pack(rows, prefix_length)):
        nll, tokens = completion_nll(model, batch)
        model.zero_grad()
        nll.sum().backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        counts = [int(batch[key].sum()) for key in ("examples", "tokens")]
        results.append((nll.sum().item(), gradient, counts, int(tokens.sum())))
    (loss, gradient, *counts), (merged_loss, merged_gradient, *merged_counts) = results
    assert merged_loss == pytest.approx(loss, rel=1e-4, abs=1e-4)
    assert torch.allclose(merged_gradient, gradient, rtol=1e-3, atol=1e-3 * gradient.abs().max())
    assert merged_counts == counts


@given(st.lists(st.tuples(ids, ids), min_size=1, max_size=5))
def test_prefix_is_common_and_leaves_a_token_before_each_label(pairs):
    rows = [row([1] * 30 + prompt, completion) for prompt, completion in pairs]
    length = choose_prefix_length(rows)
    assert (length >= 30) == (len(rows) > 1)
    for each in rows:
        assert each["input_ids"][:length] == rows[0]["input_ids"][:length]
        assert each["labels"][: length + 1] == [IGNORE_INDEX] * (length + 1)


def test_prefix_is_not_shared_without_benefit():
    assert choose_prefix_length([row([1, 2], [3]), row([2, 2], [3])]) == 0
    # the token that predicts a label is not shared
    assert choose_prefix_length([row([1], [3]), row([1], [3])]) == 0
    assert choose_prefix_length([row([], [3, 4]), row([], [3, 4])]) == 0  # plain text has no prompt
    assert choose_prefix_length([{"input_ids": [1, 2]}] * 2) == 0
    assert choose_prefix_length([row([1, 2], [3]) | {"seq_lengths": [3]}] * 2) == 0
    # eight long texts after a few tokens: attention over one sequence would cost more
    rows = [row([1, 2, 3, *[5 + i] * 4000], [4]) for i in range(8)]
    assert choose_prefix_length(rows) == 0
    assert choose_prefix_length([row([1] * 2000 + [5 + i] * 100, [4]) for i in range(8)]) == 2000


def test_collate_shares_a_prefix_on_request():
    rows = [row([1, 2, 3, 4, 5 + i], [9]) for i in range(4)]
    assert collate(rows, pad_token_id=0)["input_ids"].shape == (4, 6)
    batch = collate(rows, pad_token_id=0, share_prefix=True)
    assert batch["input_ids"].tolist() == [[1, 2, 3, 4, 5, 9, 6, 9, 7, 9, 8, 9]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, *[4, 5] * 4]]
    assert batch["labels"][0, 4:].tolist() == [IGNORE_INDEX, 9] * 4
    visible = build_attention_mask(batch["segments"])[0, 0, :6] == 0
    assert visible[:, :6].int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 1, 0],
        [1, 1, 1, 1, 1, 1],
    ]
    assert (build_attention_mask(batch["segments"])[0, 0, 6] == 0).int().tolist() == [
        *[1] * 4,
        0,
        0,
        1,
        *[0] * 5,
    ]


def test_full_attention_models_are_supported(model):
    assert is_supported(model)
    assert not model.training
    assert is_supported(
        adapter.build_peft_model(
            model.train(), LoraSettings(r=2, target_modules="all-linear"), seed=1
        )
    )
    assert model.training


@pytest.mark.parametrize(
    "build",
    [
        gpt2,  # has dropout by default
        lambda: llama(attention_dropout=0.1),
        lambda: Starcoder2ForCausalLM(Starcoder2Config(**SMALL, residual_dropout=0.1)),
        lambda: mistral(sliding_window=8),
        lambda: GPTNeoForCausalLM(
            GPTNeoConfig(
                vocab_size=VOCABULARY,
                hidden_size=32,
                num_layers=2,
                num_heads=4,
                attention_types=[[["global", "local"], 1]],
            )
        ),
        lambda: Gemma3ForCausalLM(Gemma3TextConfig(**SMALL, head_dim=8)),  # windows in some layers
        lambda: FalconMambaForCausalLM(
            FalconMambaConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2)
        ),
        # positions come from the mask
        lambda: BloomForCausalLM(
            BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4)
        ),
    ],
    ids=[
        "dropout",
        "attention dropout",
        "dropout by another name",
        "window",
        "window by another name",
        "windows",
        "state space",
        "alibi",
    ],
)
def test_dropout_windows_and_recurrent_state_are_not_supported(build):
    torch.manual_seed(0)
    assert not is_supported(build())


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_models_that_are_not_plain_transformers_are_not_supported(name):
    assert is_supported(build_text_model(name)) == (name in ("llama", "qwen3", "qwen3_moe"))


def test_adapter_with_dropout_is_not_supported():
    torch.manual_seed(0)
    base = llama()
    assert is_supported(base)
    assert not is_supported(adapter.build_peft_model(base, LoraSettings(r=2, dropout=0.1), seed=1))


@pytest.mark.parametrize("dora", [False, True])
def test_support_check_does_not_change_4_bit_weights(four_bit, dora):
    model = adapter.build_peft_model(four_bit, LoraSettings(r=2, dora=dora), seed=1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    batch = collate(
        [row([1, 2, 3, 4, 5 + i], [9]) for i in range(4)],
        pad_token_id=0,
        share_prefix=is_supported(model),
    )
    assert is_supported(model) and "segments" in batch
    with torch.inference_mode():
        completion_nll(model.eval(), batch)
    model.train()
    completion_nll(model, batch)[0].sum().backward()
    after = dict(model.named_parameters())
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    model.unload()


@pytest.fixture(scope="module")
def four_bit(tmp_path_factory):
    """Return a model that is wide enough for bitsandbytes to pack its weights on some CPUs."""
    torch.manual_seed(0)
    wide = SMALL | {"hidden_size": 128, "intermediate_size": 256}
    directory = tmp_path_factory.mktemp("wide")
    LlamaForCausalLM(LlamaConfig(**wide)).save_pretrained(directory)
    return load_model(directory, quantization="4bit")
