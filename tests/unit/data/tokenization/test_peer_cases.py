"""Rows that other fine-tuning tools learn wrongly in silence: here each is right, or refused."""

import pytest
from chat_families import build_tokenizer
from chat_oracle import decode_learnt_turns
from chat_rows import assistant, call, result, save_tokenizer, tokenize_rows, tool, user

from blossomtune.errors import UserError

TOOLS = [tool("get_weather", "Get the weather of a city.", city="Name of the city.")]
CALL = call("get_weather", {"city": "Turin"})


@pytest.fixture
def learn(models, tmp_path):
    """Return a function that returns what each turn of rows teaches."""

    def learn_rows(name, *rows, **config):
        examples, _ = tokenize_rows(tmp_path, save_tokenizer(name, models), rows, **config)
        return [learnt for _, learnt in decode_learnt_turns(build_tokenizer(name), examples)]

    return learn_rows


@pytest.fixture
def refuse(learn):
    """Return a function that returns the error of rows."""

    def refuse_rows(name, *rows, **config):
        with pytest.raises(UserError) as error:
            learn(name, *rows, **config)
        return str(error.value)

    return refuse_rows


def test_case_01_completion_of_turns_is_learnt(learn):
    row = {"prompt": [user("Sky?")], "completion": [assistant("blue")]}
    assert learn("chatml", row) == ["blue<|im_end|>"]


def test_case_02_thought_is_learnt_where_the_template_writes_it(learn):
    row = {"messages": [user("1 + 1?"), assistant("2", reasoning_content="Add them.")]}
    assert learn("qwen3", row) == ["<think>\nAdd them.\n</think>\n\n2<|im_end|>"]


def test_case_02_thought_is_refused_where_the_template_ignores_it(refuse):
    row = {"messages": [user("1 + 1?"), assistant("2", reasoning_content="Add them.")]}
    message = refuse("chatml", row)
    assert "reasoning_content" in message
    assert "ignore_columns" in message


def make_tool_row(content):
    turns = [user("Weather in Turin?"), assistant(content, tool_calls=[CALL])]
    return {"messages": [*turns, result("9 °C"), assistant("Cold.")], "tools": TOOLS}


JSON_CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Turin"}}\n</tool_call>'


def test_case_03_call_beside_text_is_learnt(learn):
    assert learn("qwen2_5", make_tool_row("Let me look.")) == [
        f"Let me look.\n{JSON_CALL}<|im_end|>",
        "Cold.<|im_end|>",
    ]


def test_case_03_call_without_text_is_learnt(learn):
    assert learn("qwen2_5", make_tool_row(None)) == [f"{JSON_CALL}<|im_end|>", "Cold.<|im_end|>"]


@pytest.mark.parametrize("content", ["Let me look.", None])
def test_case_03_call_is_refused_where_the_template_ignores_it(refuse, content):
    assert "choose a model that calls tools" in refuse("chatml", make_tool_row(content))


def test_case_04_turn_of_weight_0_is_not_learnt(learn):
    turns = [user("a?"), assistant("BAD", weight=0), user("b?"), assistant("good", weight=1)]
    assert learn("chatml", {"messages": turns}) == ["good<|im_end|>"]


def test_case_05_system_and_history_of_alpaca_are_read(models, tmp_path):
    row = {"instruction": "b?", "input": "", "output": "good", "system": "Be brief."}
    row["history"] = [["a?", "fine"]]
    examples, _ = tokenize_rows(tmp_path, save_tokenizer("chatml", models), [row])
    (first, second) = decode_learnt_turns(build_tokenizer("chatml"), examples)
    assert "system\nBe brief.<|im_end|>" in first[0]
    assert (first[1], second[1]) == ("fine<|im_end|>", "good<|im_end|>")


def test_case_13_system_turn_without_a_system_role_is_refused_with_the_cure(refuse):
    turns = [{"role": "system", "content": "Be brief."}, user("Sky?"), assistant("blue")]
    assert "system_role: fold" in refuse("gemma2", {"messages": turns})


def test_case_13_system_turn_is_folded_on_request(learn):
    turns = [{"role": "system", "content": "Be brief."}, user("Sky?"), assistant("blue")]
    assert learn("gemma2", {"messages": turns}, system_role="fold") == ["blue<end_of_turn>"]


def test_case_14_parts_of_content_are_joined(learn):
    turns = [
        user([{"type": "text", "text": "Sky?"}]),
        assistant([{"type": "text", "text": "blue"}]),
    ]
    assert learn("chatml", {"messages": turns}) == ["blue<|im_end|>"]


def test_case_19_prompt_that_opens_a_thought_is_refused_for_plain_answers(refuse):
    message = refuse("deepseek_r1", {"messages": [user("Sky?"), assistant("blue")]})
    assert "<think>" in message
    assert "prompt_mismatch" in message


def test_case_19_thought_that_the_template_cuts_is_refused(refuse):
    turns = [user("1 + 1?"), assistant("<think>\nAdd them.\n</think>\n\n2")]
    assert "Add them." in refuse("deepseek_r1", {"messages": turns}, prompt_mismatch="warn")


def test_case_19_thought_is_learnt_after_a_prompt_that_opens_it(learn):
    turns = [user("1 + 1?"), assistant("<think>\nAdd them.\n</think>\n\n2")]
    assert learn("qwen3_thinking", {"messages": turns}) == ["Add them.\n</think>\n\n2<|im_end|>"]


def test_case_20_channel_is_learnt(learn):
    turns = [user("Sky?"), assistant("blue")]
    assert learn("gpt_oss", {"messages": turns}) == ["<|channel|>final<|message|>blue<|return|>"]


def test_case_21_rows_that_do_not_alternate_are_named(refuse, learn):
    good, bad = [user("a?"), assistant("b")], [user("a?"), user("c?"), assistant("b")]
    rows = [{"messages": turns} for turns in (good, bad, good, bad)]
    message = refuse("gemma2", *rows)
    assert "rows 1, 3" in message
    assert "must alternate" in message
