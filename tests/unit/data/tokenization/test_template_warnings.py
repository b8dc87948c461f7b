"""Tests of warnings where training and inference differ."""

import json

from tiny_models import CHATML, build_byte_tokenizer

from blossomtune.config.preprocessing import PreprocessingSettings
from blossomtune.data.tokenization.template_warnings import describe_chat_template
from blossomtune.modeling.chat_template import ChatTemplate

THINKING = CHATML.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
MARKS = ["<|im_start|>", "<|im_end|>"]


def describe(folder, source=CHATML, eos="<|im_end|>", files=None, **settings):
    for name, content in (files or {}).items():
        (folder / name).write_text(json.dumps(content))
    config = PreprocessingSettings.model_validate(settings).model_dump()
    template = ChatTemplate(build_byte_tokenizer(source, None, eos, MARKS))
    return describe_chat_template(template, config, folder)


def test_template_that_fits_has_no_warnings(tmp_path):
    use = describe(tmp_path, chat_template_arguments={"enable_thinking": False})
    assert (use.end_of_turn, use.unseen_prompt_end, use.warnings) == ("<|im_end|>", "", [])
    assert use.arguments == {"enable_thinking": False}


def test_prompt_end_that_training_never_shows_is_warned_about(tmp_path, caplog):
    use = describe(tmp_path, THINKING, prompt_mismatch="warn")
    assert use.unseen_prompt_end == "<think>\n"
    assert "prompts end with '<think>\\n' at inference" in use.warnings[0]
    assert use.warnings[0] in caplog.text


def test_end_of_turn_that_the_template_does_not_write_is_warned_about(tmp_path):
    source = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    (warning,) = describe(tmp_path, source, eos="<eos>").warnings
    assert "writes no token at the end of a turn; '<eos>' is learnt there" in warning


def test_generation_that_does_not_stop_at_the_end_of_turn_is_warned_about(tmp_path):
    (warning,) = describe(tmp_path, eos="<eos>").warnings
    assert "turns end with '<|im_end|>', at which the model's generation settings do not" in warning
    stops = {"generation_config.json": {"eos_token_id": [0, 2]}}
    assert describe(tmp_path, eos="<eos>", files=stops).warnings == []
