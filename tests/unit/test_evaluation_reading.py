import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from blossomtune.evaluation.prefix_cache import PrefixCacheScorer

SMALL = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
SMALL |= {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.3}
END, PAD = 2, 0

PROMPTS = [[1, 7, 8, 9], [1, 7, 8, 10, 11, 12, 13, 14], [1, 7, 8, 15, 16]]
ANSWERS = [[[20, END], [21, 22, 23, END]], [[END], [24, END]], [[25, END], [26, END]]]


def llama():
    return LlamaForCausalLM(LlamaConfig(**SMALL))


def sliding():  # sees four tokens: whoever counts padding as distance is found out
    return MistralForCausalLM(MistralConfig(**SMALL, sliding_window=4))


def gpt2():
    config = GPT2Config(vocab_size=50, n_positions=64, n_embd=32, n_layer=2, n_head=4)
    config.initializer_range = 0.3
    return GPT2LMHeadModel(config)


@pytest.fixture(scope="module", params=[llama, sliding, gpt2], ids=["llama", "sliding", "gpt2"])
def model(request):
    torch.manual_seed(0)
    return request.param().eval()


@torch.inference_mode()
def alone(model, prompt, answer):
    """The textbook way: one whole text at a time, no cache, no padding."""
    logits = model(input_ids=torch.tensor([prompt + answer]), use_cache=False).logits[0]
    chances = logits.log_softmax(dim=-1)
    return -sum(chances[len(prompt) - 1 + k, token].item() for k, token in enumerate(answer))


@torch.inference_mode()
def greedy_alone(model, prompt, limit):
    answer = []
    while len(answer) < limit:
        text = torch.tensor([prompt + answer])
        token = model(input_ids=text, use_cache=False).logits[0, -1].argmax().item()
        if token == END:
            break
        answer.append(token)
    return answer


def test_likelihoods_are_those_of_each_text_alone(model):
    reader = PrefixCacheScorer(model, PROMPTS, PAD)
    context = reader.prefill(PROMPTS)
    for choice in (0, 1, 0):  # twice the first: an answer leaves the context as it was
        found = reader.compute_nll(context, [answers[choice] for answers in ANSWERS])
        for i, value in enumerate(found.tolist()):
            expected = alone(model, PROMPTS[i], ANSWERS[i][choice])
            assert value == pytest.approx(expected, abs=1e-4)


def test_greedy_answers_are_those_of_each_text_alone(model):
    reader = PrefixCacheScorer(model, PROMPTS, PAD)
    found = reader.generate_greedy(reader.prefill(PROMPTS), END, max_new_tokens=6)
    assert found == [greedy_alone(model, prompt, 6) for prompt in PROMPTS]


def test_greedy_stops_at_the_end_of_a_turn(model):
    reader = PrefixCacheScorer(model, PROMPTS, PAD)
    context = reader.prefill(PROMPTS)
    first = context.next_token_logits.argmax(dim=-1).tolist()
    assert reader.generate_greedy(context, first[0], max_new_tokens=6)[0] == []
    assert all(
        len(answer) <= 6 for answer in reader.generate_greedy(context, END, max_new_tokens=6)
    )


@pytest.mark.parametrize(
    "prompts",
    [[[5]], [[5], [6, 7]], [[5, 6], [5, 6]], [[5, 6], [5, 6, 7]]],
    ids=["one token", "nothing shared", "equal", "one begins the other"],
)
def test_any_prompts_can_be_read(model, prompts):
    reader = PrefixCacheScorer(model, prompts, PAD)
    found = reader.compute_nll(reader.prefill(prompts), [[9, END]] * len(prompts))
    expected = [alone(model, prompt, [9, END]) for prompt in prompts]
    assert found.tolist() == pytest.approx(expected, abs=1e-4)


def test_the_shared_beginning_is_read_once():
    reader = PrefixCacheScorer(llama().eval(), PROMPTS, PAD)
    assert reader.prefix_length == 3
