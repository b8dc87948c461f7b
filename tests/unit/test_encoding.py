"""Four families of chat templates, with small tokenizers that know their special tokens."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from blossomtune.encoding import (
    IGNORED,
    encode,
    encode_all,
    end_of_turn,
    load_tokenizer,
    pad_id,
    prompt_text,
)
from blossomtune.errors import UserError

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)

# name: chat template, BOS, EOS, other special tokens, token that ends a turn
FAMILIES = {
    "chatml": (CHATML, None, "<|im_end|>", ["<|im_start|>"], "<|im_end|>"),
    "llama3": (
        LLAMA3,
        "<|begin_of_text|>",
        "<|end_of_text|>",
        ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        "<|eot_id|>",
    ),
    "gemma": (GEMMA, "<bos>", "<eos>", ["<start_of_turn>", "<end_of_turn>"], "<end_of_turn>"),
    "mistral": (MISTRAL, "<s>", "</s>", [], "</s>"),
}


def build(template, bos, eos, others, merges=()):
    from transformers import PreTrainedTokenizerFast

    special = [token for token in (bos, eos, *others) if token]
    pieces = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet()), *map("".join, merges)]
    plain = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, list(merges)))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    plain.decoder = decoders.ByteLevel()
    plain.add_special_tokens(special)
    if bos:  # as real tokenizers do unless asked not to: that is how a second BOS comes about
        plain.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, special.index(bos))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=plain, bos_token=bos, eos_token=eos, chat_template=template
    )


@pytest.fixture(params=FAMILIES)
def family(request):
    *parts, end = FAMILIES[request.param]
    return build(*parts), end


def test_the_template_decides_what_ends_a_turn(family):
    tokenizer, end = family
    assert end_of_turn(tokenizer) == tokenizer.convert_tokens_to_ids(end)


def test_one_bos_and_the_loss_on_the_completion_alone(family):
    tokenizer, end = family
    prompt = prompt_text(tokenizer, "Good or bad?")
    ids, labels = encode(tokenizer, prompt, "good")
    answer = [label for label in labels if label != IGNORED]
    assert tokenizer.decode(ids) == f"{prompt}good{end}"
    assert tokenizer.decode(answer) == f"good{end}"
    assert labels == [IGNORED] * (len(ids) - len(answer)) + answer
    assert ids.count(tokenizer.bos_token_id) == (tokenizer.bos_token is not None)
    assert ids[-1] == tokenizer.convert_tokens_to_ids(end)


def test_all_at_once_is_the_same_as_one_by_one(family):
    tokenizer, _ = family
    prompts = [prompt_text(tokenizer, text) for text in ("a", "Longer? Yes.", "ünï çødé 🌸")]
    completions = ["good", " bad", "🌸"]
    one_by_one = [encode(tokenizer, p, c) for p, c in zip(prompts, completions, strict=True)]
    assert encode_all(tokenizer, prompts, completions) == one_by_one


def test_the_prompts_ids_are_those_seen_when_asked():
    """Here " g" is one token, so that tokenising the whole would move the prompt's border."""
    tokenizer = build(MISTRAL, "<s>", "</s>", [], merges=[("Ġ", "g")])
    asked = tokenizer("[INST] x ", add_special_tokens=False)["input_ids"]
    ids, labels = encode(tokenizer, "[INST] x ", "good")
    assert ids[: len(asked)] == asked
    assert labels[: len(asked)] == [IGNORED] * len(asked)
    assert tokenizer.decode(ids[len(asked) :]) == "good</s>"


def test_a_template_without_a_mark_falls_back_on_eos():
    tokenizer = build("{% for m in messages %}{{ m.content }}{% endfor %}", None, "<eos>", [])
    assert end_of_turn(tokenizer) == tokenizer.eos_token_id


def test_a_tokenizer_without_any_mark():
    tokenizer = build("{% for m in messages %}{{ m.content }}{% endfor %}", None, None, [])
    with pytest.raises(UserError, match="no token that ends a turn\n  hint: add eos_token"):
        end_of_turn(tokenizer)


def test_a_system_turn_comes_first():
    tokenizer = build(*FAMILIES["chatml"][:-1])
    assert prompt_text(tokenizer, "Hi", "Be brief.") == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_a_template_that_knows_no_system_turn():
    tokenizer = build(*FAMILIES["gemma"][:-1])
    with pytest.raises(
        UserError, match=r"refuses these turns: System role not supported(.|\n)*hint"
    ):
        prompt_text(tokenizer, "Hi", "Be brief.")


def test_a_template_that_writes_the_date_writes_the_same_one_every_day():
    dated = build("\nIt is {{ strftime_now('%d %b %Y') }}\n" + CHATML, None, "<|im_end|>", [])
    assert prompt_text(dated, "Hi").startswith("\nIt is 01 Jan 2025\n<|im_start|>user")


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
    assert pad_id(tokenizer) == tokenizer.pad_token_id
    tokenizer.pad_token = None
    assert pad_id(tokenizer) == 0
