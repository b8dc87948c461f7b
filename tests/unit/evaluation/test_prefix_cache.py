"""Tests that scores with a cache equal those without one."""

import numpy as np
import pytest
import torch
from prompt_samples import ANSWERS, END, PROMPTS
from tiny_architectures import TEXT_MODELS, build_text_model

from blossomtune.evaluation import prefix_cache
from blossomtune.evaluation.prefix_cache import PrefixCacheScorer


@torch.inference_mode()
def compute_nll(model, prompt, answer):
    """Return the likelihood of one text, without cache and padding."""
    logits = model(input_ids=torch.tensor([prompt + answer]), use_cache=False).logits[0]
    log_probs = logits.log_softmax(dim=-1)
    return -sum(log_probs[len(prompt) - 1 + k, token].item() for k, token in enumerate(answer))


def compute_all_nll(model, prompts, answers):
    return np.array(
        [
            [compute_nll(model, prompt, answer) for answer in row]
            for prompt, row in zip(prompts, answers, strict=True)
        ]
    )


def test_likelihoods_equal_those_of_single_texts(random_model):
    nll, _ = PrefixCacheScorer(random_model, PROMPTS).score(PROMPTS, ANSWERS)
    expected = compute_all_nll(random_model, PROMPTS, ANSWERS)
    assert nll.numpy() == pytest.approx(expected, abs=1e-4)


def test_logits_of_few_tokens_at_once_give_the_same_likelihoods(random_model, monkeypatch):
    answers = [[[20, 21, 22, END]], [[23, END]], [[24, 25, 26, END]]]
    expected = compute_all_nll(random_model, PROMPTS, answers)
    monkeypatch.setattr(prefix_cache, "MAX_LOGITS", 1)
    nll, _ = PrefixCacheScorer(random_model, PROMPTS).score(PROMPTS, answers)
    assert nll.numpy() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    "prompts",
    [[[5]], [[5], [6, 7]], [[5, 6], [5, 6]], [[5, 6], [5, 6, 7]]],
    ids=["one token", "nothing shared", "equal", "one is a prefix of the other"],
)
def test_any_prompts_are_scored(random_model, prompts):
    scorer = PrefixCacheScorer(random_model, prompts)
    answers = [[[9, END]]] * len(prompts)
    nll, _ = scorer.score(prompts, answers)
    assert nll.numpy() == pytest.approx(compute_all_nll(random_model, prompts, answers), abs=1e-4)


def test_batch_size_does_not_change_likelihoods(random_model):
    scorer = PrefixCacheScorer(random_model, PROMPTS)
    nll, _ = scorer.score(PROMPTS, ANSWERS)
    for i, prompt in enumerate(PROMPTS):
        single, _ = scorer.score([prompt], [ANSWERS[i]])
        assert nll[i].numpy() == pytest.approx(single[0].numpy(), abs=1e-4)


@pytest.mark.parametrize("name", ["llama", "mamba2"])
def test_bfloat16_model_gives_similar_likelihoods_in_float32(name):
    model = build_text_model(name)
    expected = compute_all_nll(model, PROMPTS, ANSWERS)
    nll, _ = PrefixCacheScorer(model.bfloat16(), PROMPTS).score(PROMPTS, ANSWERS)
    assert nll.dtype == torch.float32
    assert nll.numpy() == pytest.approx(expected, rel=0.05)


def test_prefix_is_shared_by_models_whose_padding_can_be_masked():
    shared = {
        name: PrefixCacheScorer(build_text_model(name), PROMPTS).prefix_length
        for name in TEXT_MODELS
    }
    full_attention = dict.fromkeys(["llama", "qwen3", "qwen3_moe"], 3)
    assert shared == dict.fromkeys(TEXT_MODELS, 0) | full_attention
