"""What the trainer sees, for chat templates of four families."""

import pytest
from families import CHATML, FAMILIES, MISTRAL, build, sentencepiece, tokenizers

from blossomtune.errors import UserError
from blossomtune.modeling.chat_template import detect_turn_format, render_prompt
from blossomtune.modeling.encoding import (
    IGNORE_INDEX,
    encode_example,
    encode_examples,
    encode_texts,
)
from blossomtune.modeling.tokenizer import get_end_of_turn_id, get_pad_token_id, load_tokenizer

MADE = tokenizers()


@pytest.fixture(params=MADE)
def family(request):
    return MADE[request.param]


def test_the_template_decides_what_ends_a_turn(family):
    tokenizer, end = family
    assert get_end_of_turn_id(tokenizer) == tokenizer.convert_tokens_to_ids(end)


def test_what_the_template_writes_with_one_bos_and_the_loss_on_the_completion(family):
    tokenizer, end = family
    prompt = render_prompt(tokenizer, "Good or bad?")
    ids, labels = encode_example(tokenizer, prompt, "good")
    turns = [("user", "Good or bad?"), ("assistant", "good")]
    written = tokenizer.apply_chat_template(
        [{"role": role, "content": content} for role, content in turns], tokenize=False
    )
    assert ids == tokenizer(written.rstrip(), add_special_tokens=False)["input_ids"]
    answer = [label for label in labels if label != IGNORE_INDEX]
    assert tokenizer.decode(answer) == written.removeprefix(prompt).rstrip()
    assert tokenizer.decode(answer).strip() == f"good{end}"
    assert labels == [IGNORE_INDEX] * (len(ids) - len(answer)) + answer
    assert ids.count(tokenizer.bos_token_id) == (tokenizer.bos_token is not None)
    assert ids[-1] == tokenizer.convert_tokens_to_ids(end)


def test_white_space_before_an_answer_is_the_models_where_the_template_writes_some(family):
    tokenizer, _ = family
    spaced = tokenizer.chat_template == MISTRAL
    assert detect_turn_format(tokenizer).answer_prefix == (" " if spaced else "")


def test_white_space_before_the_end_of_a_turn_is_the_models_too():
    """Llama-2 writes " answer </s>"."""
    tokenizer = build(MISTRAL.replace("{{ eos_token }}", " {{ eos_token }}"), "<s>", "</s>", [])
    ids, _ = encode_example(tokenizer, render_prompt(tokenizer, "x"), "good")
    assert tokenizer.decode(ids) == "<s>[INST] x [/INST] good </s>"


def test_all_at_once_is_the_same_as_one_by_one(family):
    tokenizer, _ = family
    prompts = [render_prompt(tokenizer, text) for text in ("a", "Longer? Yes.", "ünï çødé 🌸")]
    completions = ["good", " bad", "🌸"]
    one_by_one = [
        encode_example(tokenizer, p, c) for p, c in zip(prompts, completions, strict=True)
    ]
    assert encode_examples(tokenizer, prompts, completions) == one_by_one


def test_the_prompts_ids_are_those_seen_when_asked():
    """Here "] " is one token, so that tokenising the whole would move the prompt's border."""
    tokenizer = build(MISTRAL, "<s>", "</s>", [], merges=[("]", "Ġ")])
    prompt = render_prompt(tokenizer, "x")
    asked = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    ids, labels = encode_example(tokenizer, prompt, "good")
    assert tokenizer(prompt + " good", add_special_tokens=False)["input_ids"][: len(asked)] != asked
    assert ids[: len(asked)] == asked
    assert labels[: len(asked)] == [IGNORE_INDEX] * len(asked)
    assert tokenizer.decode(ids[len(asked) :]) == " good</s>"


def test_a_border_that_a_token_straddles_gets_no_mark_of_a_text_begun():
    tokenizer = sentencepiece(MISTRAL, "<s>", "</s>", [], merges=[("]", "▁")])
    ids, _ = encode_example(tokenizer, render_prompt(tokenizer, "x"), "bad")
    assert tokenizer.decode(ids) == "<s>[INST] x [/INST] bad</s>"


@pytest.mark.parametrize("flag", ["single_word", "lstrip", "rstrip", "normalized"])
def test_special_tokens_that_are_not_plain_part_nothing_wrongly(flag):
    from tokenizers import AddedToken

    tokenizer = build(CHATML, None, "<|im_end|>", [], merges=[("Ċ", "g")])
    tokenizer.add_tokens([AddedToken("<|im_start|>", **{"normalized": False, flag: True})])
    prompt = render_prompt(tokenizer, "a \n b")
    ids, labels = encode_example(tokenizer, prompt, "good")
    asked = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    assert ids[: labels.count(IGNORE_INDEX)] == asked
    assert tokenizer.decode(ids[len(asked) :]) == "good<|im_end|>"


@pytest.mark.parametrize("text", ["good", " good ", "{bos}good", "good{eos}", "{bos}good{eos}"])
def test_plain_text_has_one_bos_where_the_tokenizer_has_one_and_one_eos(family, text):
    tokenizer, _ = family
    bos, eos = tokenizer.bos_token or "", tokenizer.eos_token
    (ids,) = encode_texts(tokenizer, [text.format(bos=bos, eos=eos)])
    inside = ids[1:-1] if bos else ids[:-1]
    assert ids[: len(ids) - len(inside) - 1] == ([tokenizer.bos_token_id] if bos else [])
    assert ids[-1] == tokenizer.eos_token_id
    assert not set(inside) & {tokenizer.bos_token_id, tokenizer.eos_token_id}
    assert tokenizer.decode(inside).strip() == "good"


def test_a_tokenizer_that_writes_an_eos_itself():
    from tokenizers import processors

    tokenizer = build(CHATML, "<s>", "</s>", [])
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    both = encode_texts(tokenizer, ["good", "good</s>"])
    assert [tokenizer.decode(ids) for ids in both] == ["<s>good</s>"] * 2


def test_plain_text_without_eos_ends_as_a_turn_does():
    tokenizer = build(CHATML, None, None, ["<|im_start|>", "<|im_end|>"])
    assert tokenizer.decode(encode_texts(tokenizer, ["good"])[0]) == "good<|im_end|>"


def test_a_template_without_a_mark_falls_back_on_eos():
    tokenizer = build("{% for m in messages %}{{ m.content }}{% endfor %}", None, "<eos>", [])
    assert get_end_of_turn_id(tokenizer) == tokenizer.eos_token_id


def test_a_tokenizer_without_any_mark():
    tokenizer = build("{% for m in messages %}{{ m.content }}{% endfor %}", None, None, [])
    with pytest.raises(UserError, match="no token that ends a turn\n  hint: add eos_token"):
        get_end_of_turn_id(tokenizer)


def test_a_system_turn_comes_first():
    tokenizer = build(*FAMILIES["chatml"][:-1])
    assert render_prompt(tokenizer, "Hi", "Be brief.") == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_a_template_that_knows_no_system_turn():
    tokenizer = build(*FAMILIES["gemma"][:-1])
    with pytest.raises(
        UserError, match=r"refuses these turns: System role not supported(.|\n)*hint"
    ):
        render_prompt(tokenizer, "Hi", "Be brief.")


def test_a_template_that_writes_the_date_writes_the_same_one_every_day():
    dated = build("\nIt is {{ strftime_now('%d %b %Y') }}\n" + CHATML, None, "<|im_end|>", [])
    assert render_prompt(dated, "Hi").startswith("\nIt is 01 Jan 2025\n<|im_start|>user")


def test_a_model_without_chat_template(tmp_path):
    build(None, None, "<eos>", []).save_pretrained(tmp_path)
    with pytest.raises(UserError) as error:
        load_tokenizer(tmp_path)
    assert str(error.value) == (
        "the model has no chat template, so there is no right way to write a prompt for it\n"
        "  hint: choose an instruction-tuned model, "
        "or add chat_template.jinja to the model's folder"
    )


def test_a_tokenizer_without_a_pad_token_pads_all_the_same(tiny_model):
    tokenizer = load_tokenizer(tiny_model)
    assert get_pad_token_id(tokenizer) == tokenizer.pad_token_id
    tokenizer.pad_token = None
    assert get_pad_token_id(tokenizer) == 0


def test_a_tokenizer_that_is_saved_with_truncation_and_padding():
    tokenizer = build(CHATML, None, "<|im_end|>", ["<|im_start|>"])
    prompt = render_prompt(tokenizer, "Hi")
    expected = encode_examples(tokenizer, [prompt, prompt], ["good", "very good"])
    tokenizer.backend_tokenizer.enable_truncation(4)
    tokenizer.backend_tokenizer.enable_padding(length=99)
    assert encode_examples(tokenizer, [prompt, prompt], ["good", "very good"]) == expected


def test_a_tokenizer_without_a_compiled_backend():
    from transformers import ByT5Tokenizer

    tokenizer = ByT5Tokenizer(chat_template=CHATML)
    ids, labels = encode_example(tokenizer, render_prompt(tokenizer, "Hi"), "good")
    assert tokenizer.decode(ids) == render_prompt(tokenizer, "Hi") + "good</s>"
    assert tokenizer.decode([label for label in labels if label != IGNORE_INDEX]) == "good</s>"
