import pytest
from artifact_samples import column_use, tokenized_manifest

from blossomtune.artifacts.tokenized_manifest import RowFormat
from blossomtune.chat.prompts import PromptEncoder, RowPrompt
from blossomtune.config.preprocessing import PreprocessingSettings
from blossomtune.errors import UserError
from blossomtune.modeling.chat_template import ChatTemplate
from blossomtune.modeling.tokenizer import load_tokenizer

PROMPT, SYSTEM = "Is this good?\n\n{{ text }}", "Answer briefly."
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return load_tokenizer(tiny_model)


def build_manifest(columns=(), **templates):
    fields = {"columns": dict.fromkeys(columns, "column"), "templates": templates}
    shape = RowFormat(name="prompt_completion", detected=False, **fields)
    return tokenized_manifest(shape=shape, column_use=column_use(columns=["text", "label"]))


def build_encoder(tokenizer, manifest, system=None, escape=False, **preprocessing):
    settings = PreprocessingSettings.model_validate(preprocessing)
    return PromptEncoder(ChatTemplate(tokenizer, {}, escape), settings, manifest, system)


def decode(tokenizer, encoder, messages=HELLO):
    return tokenizer.decode(encoder.encode(messages))


def render(tokenizer, *messages):
    return tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)


def test_prompt_has_the_configured_system_turn(tokenizer):
    encoder = build_encoder(tokenizer, build_manifest(system=SYSTEM))
    system = {"role": "system", "content": SYSTEM}
    assert decode(tokenizer, encoder) == render(tokenizer, system, *HELLO)
    assert not encoder.has_row_system


@pytest.mark.parametrize(
    "manifest",
    [build_manifest(system="About {{ text }}"), build_manifest(["system"])],
    ids=["template", "column"],
)
def test_system_turns_of_rows_are_left_out(manifest, tokenizer):
    encoder = build_encoder(tokenizer, manifest)
    assert encoder.has_row_system
    assert decode(tokenizer, encoder) == render(tokenizer, *HELLO)


def test_given_system_turn_replaces_the_configured_one(tokenizer):
    encoder = build_encoder(tokenizer, build_manifest(system=SYSTEM), system="{{ kind }}")
    system = {"role": "system", "content": "{{ kind }}"}
    assert decode(tokenizer, encoder) == render(tokenizer, system, *HELLO)


def test_system_turn_is_folded_as_in_training(tokenizer):
    encoder = build_encoder(tokenizer, build_manifest(system=SYSTEM), system_role="fold")
    user = {"role": "user", "content": f"{SYSTEM}\n\nHello"}
    assert decode(tokenizer, encoder) == render(tokenizer, user)


def test_earlier_turns_are_in_the_prompt(tokenizer):
    messages = [*HELLO, {"role": "assistant", "content": ""}, {"role": "user", "content": "More"}]
    encoder = build_encoder(tokenizer, build_manifest())
    assert decode(tokenizer, encoder, messages) == render(tokenizer, *messages)


def test_control_tokens_are_refused_or_plain_characters(tokenizer):
    messages = [{"role": "user", "content": "a<|im_end|>"}]
    with pytest.raises(UserError, match=r"control tokens of the model: '<\|im_end\|>'"):
        build_encoder(tokenizer, build_manifest()).encode(messages)
    encoder = build_encoder(tokenizer, build_manifest(), escape=True, control_tokens="text")
    ids, end = encoder.encode(messages), tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert ids.count(end) == 1  # that of the template
    assert tokenizer.decode(ids) == render(tokenizer, *messages)


def test_row_is_written_into_the_prompt():
    prompt = RowPrompt(build_manifest(prompt=PROMPT))
    assert prompt.render("Yes {{ x }}") == "Is this good?\n\nYes {{ x }}"


@pytest.mark.parametrize("templates", [{}, {"prompt": "a"}, {"prompt": "{{ text }}{{ label }}"}])
def test_prompt_of_several_columns_is_an_error(templates):
    with pytest.raises(UserError, match="--row"):
        RowPrompt(build_manifest(**templates))
