"""Tests that cached scores and answers equal those without a cache."""

from functools import partial

import pytest
import torch
from tiny_architectures import TEXT_MODELS, build_text_model
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    MistralConfig,
    MistralForCausalLM,
)

from blossomtune.evaluation.prefix_cache import PrefixCacheScorer

SMALL = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
SMALL |= {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.3}
END = 2

PROMPTS = [[1, 7, 8, 9], [1, 7, 8, 10, 11, 12, 13, 14], [1, 7, 8, 15, 16]]
ANSWERS = [[[20, END], [21, 22, 23, END]], [[END], [24, END]], [[25, END], [26, END]]]


def sliding():  # attends to four tokens: counting padding as distance would show
    return MistralForCausalLM(MistralConfig(**SMALL, sliding_window=4))


def gpt2():
    config = GPT2Config(vocab_size=50, n_positions=64, n_embd=32, n_layer=2, n_head=4)
    config.initializer_range = 0.3
    return GPT2LMHeadModel(config)


MODELS = {"sliding": sliding, "gpt2": gpt2}
MODELS |= {name: partial(build_text_model, name) for name in TEXT_MODELS}


@pytest.fixture(scope="module", params=MODELS.values(), ids=MODELS)
def model(request):
    torch.manual_seed(0)
    return request.param().eval()


@torch.inference_mode()
def compute_nll(model, prompt, answer):
    """Return the likelihood of one text, without cache and padding."""
    logits = model(input_ids=torch.tensor([prompt + answer]), use_cache=False).logits[0]
    log_probs = logits.log_softmax(dim=-1)
    return -sum(log_probs[len(prompt) - 1 + k, token].item() for k, token in enumerate(answer))


@torch.inference_mode()
def generate(model, prompt, limit):
    answer = []
    while len(answer) < limit:
        text = torch.tensor([prompt + answer])
        token = model(input_ids=text, use_cache=False).logits[0, -1].argmax().item()
        if token == END:
            break
        answer.append(token)
    return answer


def test_likelihoods_equal_those_of_single_texts(model):
    scorer = PrefixCacheScorer(model, PROMPTS)
    state = scorer.prefill(PROMPTS)
    for choice in (0, 1, 0):  # the first twice: scoring does not change the state
        nll = scorer.compute_nll(state, [answers[choice] for answers in ANSWERS])
        for i, value in enumerate(nll.tolist()):
            expected = compute_nll(model, PROMPTS[i], ANSWERS[i][choice])
            assert value == pytest.approx(expected, abs=1e-4)


def test_answers_equal_those_of_single_texts(model):
    scorer = PrefixCacheScorer(model, PROMPTS)
    answers = scorer.generate_greedy(scorer.prefill(PROMPTS), END, max_new_tokens=6)
    assert answers == [generate(model, prompt, 6) for prompt in PROMPTS]


def test_answer_stops_at_the_end_of_turn(model):
    scorer = PrefixCacheScorer(model, PROMPTS)
    state = scorer.prefill(PROMPTS)
    first = state.next_token_logits.argmax(dim=-1).tolist()
    assert scorer.generate_greedy(state, first[0], max_new_tokens=6)[0] == []
    assert all(len(answer) <= 6 for answer in scorer.generate_greedy(state, END, max_new_tokens=6))


@pytest.mark.parametrize(
    "prompts",
    [[[5]], [[5], [6, 7]], [[5, 6], [5, 6]], [[5, 6], [5, 6, 7]]],
    ids=["one token", "nothing shared", "equal", "one is a prefix of the other"],
)
def test_any_prompts_are_scored(model, prompts):
    scorer = PrefixCacheScorer(model, prompts)
    nll = scorer.compute_nll(scorer.prefill(prompts), [[9, END]] * len(prompts))
    expected = [compute_nll(model, prompt, [9, END]) for prompt in prompts]
    assert nll.tolist() == pytest.approx(expected, abs=1e-4)


def test_batch_size_does_not_change_likelihoods_and_answers(model):
    together = PrefixCacheScorer(model, PROMPTS)
    state = together.prefill(PROMPTS)
    nll = together.compute_nll(state, [first for first, _ in ANSWERS])
    answers = together.generate_greedy(state, END, max_new_tokens=6)
    for i, prompt in enumerate(PROMPTS):
        single = together.prefill([prompt])
        expected = together.compute_nll(single, ANSWERS[i][:1])
        assert nll[i].item() == pytest.approx(expected.item(), abs=1e-4)
        assert together.generate_greedy(single, END, max_new_tokens=6) == [answers[i]]


def test_prefix_is_shared_by_models_whose_padding_can_be_masked():
    shared = {
        name: PrefixCacheScorer(build_text_model(name), PROMPTS).prefix_length
        for name in TEXT_MODELS
    }
    full_attention = dict.fromkeys(["llama", "qwen3", "qwen3_moe"], 3)
    assert shared == dict.fromkeys(TEXT_MODELS, 0) | full_attention
