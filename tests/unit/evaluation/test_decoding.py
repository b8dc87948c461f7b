"""Tests that answers generated from a cache equal those without one."""

import pytest
import torch
from prompt_samples import ANSWERS, END, PROMPTS
from tiny_architectures import VISION_MODELS, build_model
from transformers import GenerationConfig

from blossomtune.evaluation.decoding import generate_greedy
from blossomtune.evaluation.prefix_cache import PrefixCacheScorer


@torch.inference_mode()
def generate_plainly(model, prompt, limit):
    """Return an answer, without cache and padding."""
    answer = []
    while len(answer) < limit:
        text = torch.tensor([prompt + answer])
        token = model(input_ids=text, use_cache=False).logits[0, -1].argmax().item()
        if token == END:
            break
        answer.append(token)
    return answer


def generate(model, prompts, **arguments):
    scorer = PrefixCacheScorer(model, PROMPTS)
    answers = [ANSWERS[PROMPTS.index(prompt)] for prompt in prompts]
    return generate_greedy(model, scorer.score(prompts, answers)[1], **arguments)


def test_answers_equal_those_of_single_texts(random_model):
    answers = generate(random_model, PROMPTS, end_of_turn_id=END, max_new_tokens=6)
    assert answers == [generate_plainly(random_model, prompt, 6) for prompt in PROMPTS]
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        single = generate(random_model, [prompt], end_of_turn_id=END, max_new_tokens=6)
        assert single == [answer]


@pytest.mark.parametrize("name", VISION_MODELS)
def test_models_that_read_images_answer(name):
    model = build_model(name)
    answers = generate(model, PROMPTS, end_of_turn_id=END, max_new_tokens=4)
    assert answers == [generate_plainly(model, prompt, 4) for prompt in PROMPTS]


def test_answer_stops_at_the_end_of_turn_and_at_the_maximum():
    model = build_model("llama")
    first, second = generate(model, PROMPTS[:1], end_of_turn_id=END, max_new_tokens=2)[0]
    assert generate(model, PROMPTS[:1], end_of_turn_id=first, max_new_tokens=6) == [[]]
    assert generate(model, PROMPTS[:1], end_of_turn_id=second, max_new_tokens=6) == [[first]]
    assert generate(model, PROMPTS[:1], end_of_turn_id=END, max_new_tokens=1) == [[first]]


def test_ended_answer_waits_for_the_others():
    model = build_model("llama")
    expected = generate(model, PROMPTS, end_of_turn_id=END, max_new_tokens=6)
    end = expected[0][0]
    answers = generate(model, PROMPTS, end_of_turn_id=end, max_new_tokens=6)
    assert answers == [a[: a.index(end)] if end in a else a for a in expected]


def test_generation_settings_of_the_model_are_ignored():
    model = build_model("llama")
    expected = generate(model, PROMPTS, end_of_turn_id=END, max_new_tokens=6)
    model.generation_config = GenerationConfig(
        do_sample=True, repetition_penalty=9.0, max_length=3, eos_token_id=expected[1][0]
    )
    assert generate(model, PROMPTS, end_of_turn_id=END, max_new_tokens=6) == expected


def test_answer_that_is_no_longer_needed_stops():
    calls = []

    def should_stop(index, ids):
        calls.append((index, len(ids)))
        return True

    model = build_model("llama")
    expected = generate(model, PROMPTS[:2], end_of_turn_id=END, max_new_tokens=6)
    answers = generate(
        model, PROMPTS[:2], end_of_turn_id=END, max_new_tokens=6, should_stop=should_stop
    )
    assert calls == [(0, 2), (1, 2)]
    assert [a[:2] for a in answers] == [a[:2] for a in expected]
