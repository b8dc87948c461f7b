"""Tests of token ids and labels, for chat templates of four families."""

import pytest
from chat_examples import encode_example, render_prompt
from tiny_models import (
    CHATML,
    MISTRAL,
    build_all_tokenizers,
    build_byte_tokenizer,
    build_sentencepiece_tokenizer,
)

from blossomtune.modeling.chat_template import ChatTemplate
from blossomtune.modeling.encoding import (
    IGNORE_INDEX,
    encode_texts,
    encode_turns,
    find_completion_start,
    format_answer,
)


def encode_examples(tokenizer, prompts, completions):
    template = ChatTemplate(tokenizer)
    pairs = zip(prompts, completions, strict=True)
    turns = encode_turns(template, [format_answer(template, *pair) for pair in pairs])
    return [([*c, *a], [IGNORE_INDEX] * len(c) + a) for c, a in turns]


TOKENIZERS = build_all_tokenizers()


@pytest.fixture(params=TOKENIZERS)
def family(request):
    return TOKENIZERS[request.param]


def test_ids_are_the_templates_with_one_bos_and_loss_on_the_completion(family):
    tokenizer, end = family
    prompt = render_prompt(tokenizer, "Good or bad?")
    ids, labels = encode_example(tokenizer, prompt, "good")
    turns = [("user", "Good or bad?"), ("assistant", "good")]
    rendered = tokenizer.apply_chat_template(
        [{"role": role, "content": content} for role, content in turns], tokenize=False
    )
    assert ids == tokenizer(rendered.rstrip(), add_special_tokens=False)["input_ids"]
    answer = [label for label in labels if label != IGNORE_INDEX]
    assert tokenizer.decode(answer) == rendered.removeprefix(prompt).rstrip()
    assert tokenizer.decode(answer).strip() == f"good{end}"
    assert labels == [IGNORE_INDEX] * (len(ids) - len(answer)) + answer
    assert ids.count(tokenizer.bos_token_id) == (tokenizer.bos_token is not None)
    assert ids[-1] == tokenizer.convert_tokens_to_ids(end)


def test_white_space_before_the_end_of_turn_belongs_to_the_answer():
    """Llama-2 writes " answer </s>"."""
    tokenizer = build_byte_tokenizer(
        MISTRAL.replace("{{ eos_token }}", " {{ eos_token }}"), "<s>", "</s>", []
    )
    ids, _ = encode_example(tokenizer, render_prompt(tokenizer, "x"), "good")
    assert tokenizer.decode(ids) == "<s>[INST] x [/INST] good </s>"


def test_batch_encoding_equals_single_encoding(family):
    tokenizer, _ = family
    prompts = [render_prompt(tokenizer, text) for text in ("a", "Longer? Yes.", "ünï çødé 🌸")]
    completions = ["good", " bad", "🌸"]
    one_by_one = [
        encode_example(tokenizer, p, c) for p, c in zip(prompts, completions, strict=True)
    ]
    assert encode_examples(tokenizer, prompts, completions) == one_by_one


def test_prompt_has_the_same_ids_as_at_inference():
    """Here "] " is one token, so that tokenizing the whole text would move the prompt's end."""
    tokenizer = build_byte_tokenizer(MISTRAL, "<s>", "</s>", [], merges=[("]", "Ġ")])
    prompt = render_prompt(tokenizer, "x")
    prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    ids, labels = encode_example(tokenizer, prompt, "good")
    assert (
        tokenizer(prompt + " good", add_special_tokens=False)["input_ids"][: len(prompt_ids)]
        != prompt_ids
    )
    assert ids[: len(prompt_ids)] == prompt_ids
    assert labels[: len(prompt_ids)] == [IGNORE_INDEX] * len(prompt_ids)
    assert tokenizer.decode(ids[len(prompt_ids) :]) == " good</s>"


def test_answer_after_a_spanning_token_has_no_first_word_mark():
    tokenizer = build_sentencepiece_tokenizer(MISTRAL, "<s>", "</s>", [], merges=[("]", "▁")])
    ids, _ = encode_example(tokenizer, render_prompt(tokenizer, "x"), "bad")
    assert tokenizer.decode(ids) == "<s>[INST] x [/INST] bad</s>"


@pytest.mark.parametrize("flag", ["single_word", "lstrip", "rstrip", "normalized"])
def test_special_tokens_with_unusual_flags_do_not_split_wrongly(flag):
    from tokenizers import AddedToken

    tokenizer = build_byte_tokenizer(CHATML, None, "<|im_end|>", [], merges=[("Ċ", "g")])
    tokenizer.add_tokens([AddedToken("<|im_start|>", **{"normalized": False, flag: True})])
    prompt = render_prompt(tokenizer, "a \n b")
    ids, labels = encode_example(tokenizer, prompt, "good")
    prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    assert ids[: labels.count(IGNORE_INDEX)] == prompt_ids
    assert tokenizer.decode(ids[len(prompt_ids) :]) == "good<|im_end|>"


@pytest.mark.parametrize("text", ["good", " good ", "{bos}good", "good{eos}", "{bos}good{eos}"])
def test_plain_text_has_one_eos_and_one_bos_if_the_tokenizer_has_one(family, text):
    tokenizer, _ = family
    bos, eos = tokenizer.bos_token or "", tokenizer.eos_token
    (ids,) = encode_texts(ChatTemplate(tokenizer), [text.format(bos=bos, eos=eos)])
    inside = ids[1:-1] if bos else ids[:-1]
    assert ids[: len(ids) - len(inside) - 1] == ([tokenizer.bos_token_id] if bos else [])
    assert ids[-1] == tokenizer.eos_token_id
    assert not set(inside) & {tokenizer.bos_token_id, tokenizer.eos_token_id}
    assert tokenizer.decode(inside).strip() == "good"


def test_eos_of_the_tokenizer_is_not_repeated():
    from tokenizers import processors

    tokenizer = build_byte_tokenizer(CHATML, "<s>", "</s>", [])
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    both = encode_texts(ChatTemplate(tokenizer), ["good", "good</s>"])
    assert [tokenizer.decode(ids) for ids in both] == ["<s>good</s>"] * 2


def test_plain_text_without_eos_token_ends_with_end_of_turn():
    tokenizer = build_byte_tokenizer(CHATML, None, None, ["<|im_start|>", "<|im_end|>"])
    assert tokenizer.decode(encode_texts(ChatTemplate(tokenizer), ["good"])[0]) == "good<|im_end|>"


def test_saved_truncation_and_padding_are_ignored():
    tokenizer = build_byte_tokenizer(CHATML, None, "<|im_end|>", ["<|im_start|>"])
    prompt = render_prompt(tokenizer, "Hi")
    expected = encode_examples(tokenizer, [prompt, prompt], ["good", "very good"])
    tokenizer.backend_tokenizer.enable_truncation(4)
    tokenizer.backend_tokenizer.enable_padding(length=99)
    assert encode_examples(tokenizer, [prompt, prompt], ["good", "very good"]) == expected


def test_tokenizer_without_compiled_backend_works():
    from transformers import ByT5Tokenizer

    tokenizer = ByT5Tokenizer(chat_template=CHATML)
    ids, labels = encode_example(tokenizer, render_prompt(tokenizer, "Hi"), "good")
    assert tokenizer.decode(ids) == render_prompt(tokenizer, "Hi") + "good</s>"
    assert tokenizer.decode([label for label in labels if label != IGNORE_INDEX]) == "good</s>"


def test_completion_starts_after_the_last_ignored_label():
    ignored = [-100] * 3
    assert find_completion_start([*ignored, 5, 6]) == 3
    assert find_completion_start([*ignored, 5, *ignored, 6, 7]) == 7
    assert find_completion_start([5, 6, 7]) == 1  # plain text: nothing predicts its first token
    assert find_completion_start([-100, 6]) == 1
